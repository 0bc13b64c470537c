"""`minillm inspect`: what has to learn from many texts before it sees anything."""

import numpy as np

from minillm.cli.inspecting.inspected import Inspected, write
from minillm.cli.inspecting.layers import lens_facts, lens_rows, require_lens
from minillm.cli.terminal import progress_bar, say, table
from minillm.cli.visible import visible
from minillm.insight import lens, probes, sparse_autoencoder
from minillm.insight.properties import PROPERTIES, label
from minillm.insight.sparse_autoencoder import SparseAutoencoder
from minillm.insight.streams import residual_streams
from minillm.insight.texts import tagged_texts, texts_for
from minillm.insight.tuned_lens import TunedLens

HELD_OUT = 0.1  # of the texts, on which the tuned lens is measured
LENGTH = 64  # tokens of a text
CONTEXT = 24  # characters shown on each side of a token


def _vectors(subject, texts, **options):
    """-> the residual streams of the texts, with a progress bar"""
    with progress_bar("reading", len(texts.batches)) as advance:
        return residual_streams(subject.model, texts.batches, subject.stack,
                                report=lambda done, total: advance(done), **options)


def _texts(subject, options):
    of = "encoder" if subject.of == "encoder" else "decoder"
    return texts_for(subject, options.tokens, LENGTH, options.text_file, of, options.seed)


def inspect_tuned_lens(options):
    subject = Inspected.of_text(options)
    require_lens(subject)
    tuned = TunedLens(subject.model)
    texts = _texts(subject, options)
    streams = _vectors(subject, texts)
    n_test = max(1, int(HELD_OUT * len(streams[-1])))
    train, test = [X[n_test:] for X in streams], [X[:n_test] for X in streams]
    if not len(train[-1]):
        raise ValueError(f"the texts have {len(streams[-1])} tokens, wanted more to learn from")
    if options.load:
        tuned.load(options.load)
    else:
        with progress_bar("training the lens", options.steps * (len(streams) - 1)) as advance:
            losses = tuned.fit_streams(train, options.steps, options.batch_size, options.lr,
                                       options.seed, report=lambda done, total: advance(done))
    if options.save:
        tuned.save(options.save)
        say(f"lens: {options.save}")
    found, divergences = _tuned(subject, tuned), tuned.divergences(test)
    rows = [(*row[:3], row[4], f"{plain:.3f}", f"{own:.3f}") for row, plain, own in zip(
        lens_rows(subject, found), divergences[0, ::-1], divergences[1, ::-1])]
    table(f"what the model would say after {subject.tokens[subject.position]!r}, layer by layer, "
          "as the tuned lens reads it", rows,
          ("after", "first", "second", "of the final token", "KL, logit lens", "KL, this lens"))
    say(f"KL: to the model's own answer, in nats, the mean of {n_test:,} tokens that the lens "
        "didn't learn from.")
    write(options, lambda: lens.plot_lens(found, subject.tokens, subject.tokenizer.decode),
          {**subject.facts(), **lens_facts(subject, found), "kl_of_logit_lens": divergences[0],
           "kl_of_tuned_lens": divergences[1], "losses": [] if options.load else losses})


def _tuned(subject, tuned):
    """-> Lens of the text"""
    streams = residual_streams(subject.model, [subject.reading.inputs])
    final = tuned.logits([X[None] for X in streams])
    return lens.read_rows(final, final[-1].argmax(axis=-1))


def inspect_probes(options):
    subject = Inspected.open_for(options)
    if options.labels:
        if subject.is_encoder_decoder and subject.of != "encoder":
            raise ValueError("--labels are of the words that a model reads: with an "
                             "encoder-decoder give --stack encoder, too")
        texts, labels, names = tagged_texts(subject, options.labels)
        what = f"the tags of {options.labels}"
    else:
        texts, chosen = _texts(subject, options), PROPERTIES[options.property]
        spelled = dict(zip((unique := np.unique(texts.words)), subject.spelled(unique)))
        labels = np.concatenate([label([spelled[id] for id in row], options.property)
                                 for ids in texts.ids for row in ids])
        names, what = chosen.labels, chosen.what
    streams, layers = _vectors(subject, texts), subject.anatomy.stream_labels
    with progress_bar("probing", len(streams)) as advance:
        found = probes.probe_streams(streams, labels, texts.words, seed=options.seed,
                                     report=lambda done, total: advance(done))
    table(f"{what} ({', '.join(names)}), {int((labels >= 0).sum()):,} tokens",
          [(layer, *(f"{value:.3f}" for value in (each.accuracy, each.control, each.selectivity,
                                                  each.majority)))
           for layer, each in zip(layers, found)],
          ("after", "accuracy", "control task", "selectivity", "most frequent label"))
    write(options, lambda: probes.plot_probes(found, layers), {
        "property": what, "labels": names, "layers": layers,
        "probes": [{**each._asdict(), "selectivity": each.selectivity} for each in found]})


def inspect_features(options):
    subject = Inspected.open_for(options)
    layers = subject.anatomy.stream_labels
    layer = len(layers) // 2 if options.layer is None else options.layer
    if not 0 <= layer < len(layers):
        raise ValueError(f"--layer is {layer}, wanted 0 … {len(layers) - 1}: "
                         + ", ".join(f"{n} is {name}" for n, name in enumerate(layers)))
    texts = _texts(subject, options)
    (X,) = _vectors(subject, texts, layers=[layer])
    d = X.shape[1]
    if options.load:
        sae = SparseAutoencoder.load(options.load, d)
    else:
        sae = SparseAutoencoder(d, options.features or 4 * d, options.sparsity, options.seed)
        with progress_bar("training the autoencoder", options.steps) as advance:
            sae.fit_normalized(X, options.steps, options.batch_size, options.lr, options.seed,
                           report=lambda done, total: advance(done))
    if options.save:
        sae.save(options.save)
        say(f"autoencoder: {options.save}")
    found = sparse_autoencoder.describe(sae, X, texts.words, top=options.top)
    rows, data = [], []
    for feature in found.features:
        contexts = [_context(subject, texts, row) for row in feature.rows]
        token = subject.names([feature.token])[0]
        data.append({**feature._asdict(), "token": token, "contexts": contexts})
        rows.append((str(feature.feature), f"{feature.density:.2%}",
                     f"{token[:16]!r} {feature.of_token:.0%}", "\n".join(contexts[:3])))
    if not rows:
        raise ValueError(f"none of {len(found.densities)} features ever fires: train for more "
                         "--steps, or with a smaller --sparsity")
    table(f"features of the vectors after {layers[layer]}", rows,
          ("feature", "fires on", "most on", "strongest contexts"), left=(0, 2, 3))
    say(f"{found.explained:.1%} of the variance explained with {found.n_on:.1f} of "
        f"{len(found.densities):,} features on at a time; {found.n_dead:,} never fire.")
    write(options, lambda: sparse_autoencoder.plot_features(
        found, [f"{each['feature']}: {each['token']}" for each in data]),
        {"layer": layers[layer], "explained": found.explained, "n_on": found.n_on,
         "n_dead": found.n_dead, "features": data})


def _context(subject, texts, row):
    """-> the text around a token, which stands in brackets"""
    before, id, after = texts.context(row, before=6, after=2)
    name = subject.spelled([id])[0]
    space, name = (" ", name[1:]) if name[:1] == " " and name.strip() else ("", name)
    before, after = ("".join(subject.spelled(ids)) for ids in (before, after))
    text = f"{before[-CONTEXT:]}{space}[{name[:CONTEXT]}]{after[:CONTEXT]}"
    return visible(text.strip().replace("\n", "⏎"))
