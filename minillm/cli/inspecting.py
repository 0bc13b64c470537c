"""`minillm inspect`: look inside a model with minillm/insight.

Here is what looks at one text; inspecting_texts.py has what learns from many.
"""

from dataclasses import replace

import numpy as np

from minillm.cli.generation import read_stdin
from minillm.cli.opening import open_trained
from minillm.cli.terminal import progress_bar, say, table
from minillm.cli.visible import visible
from minillm.files import expand
from minillm.insight import (
    ablation,
    attention,
    attribution,
    circuits,
    contributions,
    geometry,
    importance,
    lens,
    patching,
    scores,
)
from minillm.insight.anatomy import Anatomy, plot_anatomy, plot_heads, stacks_of
from minillm.insight.export import export, require_picture
from minillm.insight.lesson import lesson_of
from minillm.insight.subject import Subject
from minillm.insight.target import Likeness, Logit
from minillm.insight.texts import texts_for

LARGE = 2e7  # parameters of a model whose deletion curves are compared with fewer random orders
MOST_FLOWS = 48  # tokens of a text whose attention flows are computed: they take seconds
REFERENCES = 16  # texts whose values take the place of a text's own


class Inspected(Subject):
    """The model of --model, and the text of the command line as it reads it.

    reading: a Reading; its position is that of the prediction to explain
    of: "encoder", "decoder" or "cross", what is looked at;  stack: the name of the list of blocks
    tokens: of the vectors in that stack;  position: the one to look at
    """

    @classmethod
    def open_for(cls, options):
        """-> Inspected, without a text; refuses at once what could only be refused at the end"""
        if options.picture:
            require_picture(options.picture, "--picture")
        for name in ("picture", "json", "save"):
            path = getattr(options, name, None)
            if path and not expand(path).parent.is_dir():
                raise FileNotFoundError(f"--{name} is {path!r}, but there is no folder "
                                        f"{expand(path).parent}")
        subject = cls.open(options.model, open_trained)
        subject.of = getattr(options, "stack", None) or "decoder"
        stacks = list(stacks_of(subject.model))
        if getattr(options, "stack", None) and not subject.is_encoder_decoder:
            raise ValueError(f"--stack is {options.stack!r}, but {options.model} is a "
                             f"{subject.architecture}, which has one stack of blocks")
        subject.stack = stacks[0] if subject.of == "encoder" else stacks[-1]
        return subject

    @classmethod
    def of_text(cls, options):
        subject = cls.open_for(options)
        text = options.text if options.text is not None else read_stdin("text")
        reading = subject.read(text, options.target_text)
        subject.tokens = reading.source_tokens if subject.of == "encoder" else reading.tokens
        position = getattr(options, "position", None)
        if subject.of == "encoder" and not options.needs_target:
            subject.position = _place(-1 if position is None else position, subject.tokens)
        else:  # what is explained is a prediction, which is the decoder's
            place = reading.position if position is None else position
            reading = replace(reading, position=_place(place, reading.tokens))
            subject.position = reading.position
        subject.reading = reading
        mask = subject.tokenizer.mask_token
        if (options.needs_target and subject.says == "token" and position is None
                and not subject.is_causal and mask not in reading.tokens):
            raise ValueError(f"the text has no {mask}, wanted one: it is what a "
                             f"{subject.model.config.model_type!r} model predicts")
        return subject

    @property
    def is_causal(self):
        return Anatomy(self.model).blocks[-1].module.attention.causal

    @property
    def anatomy(self):
        return Anatomy(self.model, self.stack)

    def names(self, ids):
        return [visible(name) for name in super().names(ids)]

    def answer_names(self, ids):
        return [visible(name) for name in super().answer_names(ids)]

    def target(self, options):
        """-> what is explained: --token against --against, or the likeness to --like"""
        if self.says == "vector":
            given = next((name for name in ("token", "against") if getattr(options, name)), None)
            if given is not None:
                raise ValueError(f"--{given} is {getattr(options, given)!r}, but a "
                                 f"{self.architecture} says no token: it makes a vector of a text; "
                                 "wanted --like TEXT")
            return super().target(self.reading, options.like and self.read(options.like))
        if options.like:
            raise ValueError(f"--like is {options.like!r}, wanted none: a {self.architecture} "
                             "makes no vector of a text, it says something")
        return super().target(self.reading, self._spelled("token", options.token),
                              self._spelled("against", options.against))

    def _spelled(self, name, text):
        return None if text is None else self.token(f"--{name}", text)

    def describe(self, target):
        """-> what a target is, in words"""
        if isinstance(target, Likeness):
            return "the likeness of the text's vector"
        ids = [getattr(target, "token", getattr(target, "label", None)), target.other]
        names = " - ".join(f"{name!r}" for name in self.answer_names(
            [id for id in ids if id is not None]))
        if not isinstance(target, Logit):
            return f"the score of {names}"
        where = f"{self.reading.tokens[target.position]!r}"
        if self.says != "token" or not self.is_causal:
            return f"the score of {names} at {where}"
        return f"the logit of {names} after {where}"

    def facts(self):
        """-> dict: what every file of numbers says about the text"""
        reading = self.reading
        source = {} if reading.source_tokens is None else {"source_tokens": reading.source_tokens}
        return {"tokens": reading.tokens, **source, "position": reading.position}


def _place(position, tokens, name="--position"):
    """-> position, counted from the front; ValueError for one outside the text"""
    n = len(tokens)
    if not -n <= position < n:
        raise ValueError(f"{name} is {position}, wanted 0 … {n - 1} (or -1, the last): the text "
                         f"has {n} tokens")
    return position % n


# ---- attention


def inspect_attention(options):
    subject = Inspected.of_text(options)
    inputs, keys = subject.reading.inputs, None
    if subject.of == "cross":
        keys = subject.reading.source_tokens
        weights = attention.cross_attention_weights(subject.model, **inputs)
        _cross_attention(options, subject, weights)
        return
    weights = attention.attention_weights(subject.model, stack=subject.stack, **inputs)
    summaries = attention.summarize_heads(weights)
    induction = attention.induction_scores(subject.model, subject.stack)
    summaries = {head: found._replace(induction=induction[head])
                 for head, found in summaries.items()}
    rows = [(f"layer {layer}, head {h}", *(f"{value:.2f}" for value in found))
            for (layer, h), found in summaries.items()]
    table(f"where the heads look: {subject.reading.text}", rows,
          ("head", "previous token", "first token", "itself", "entropy", "induction"))
    weights = [w[0] for w in weights]
    _write(options, lambda: attention.plot_attention(weights, subject.tokens),
           {**subject.facts(), "weights": weights, "heads": _by_head(summaries)})


def _cross_attention(options, subject, weights):
    weights, sources = [w[0] for w in weights], subject.reading.source_tokens
    rows = []
    for layer, W in enumerate(weights):
        for h, head in enumerate(W):
            best = np.argsort(-head[subject.position], kind="stable")[:3]
            rows.append((f"layer {layer}, head {h}", *(
                f"{sources[s]!r} {head[subject.position, s]:.0%}" for s in best)))
    n = min(3, len(sources))
    table(f"where the heads look in the source from {subject.tokens[subject.position]!r}", rows,
          ("head", "first", "second", "third")[: n + 1])
    _write(options, lambda: attention.plot_attention(weights, subject.tokens, sources),
           {**subject.facts(), "weights": weights})


def inspect_scores(options):
    subject = Inspected.of_text(options)
    crosses = subject.of == "cross"
    found = scores.attention_scores(subject.model, stack=subject.stack, cross=crosses,
                                    **subject.reading.inputs)
    keys = subject.reading.source_tokens if crosses else subject.tokens
    heads = [f"{layer}.{h}" for layer, each in enumerate(found) for h in range(each.n_heads)]
    if options.head not in heads:
        raise ValueError(f"--head is {options.head!r}, wanted LAYER.HEAD, one of {heads[0]} … "
                         f"{heads[-1]}")
    layer, h = map(int, options.head.split("."))
    one, i = found[layer], subject.position
    weights = one.weights(h)[0, 0, i]
    j = int(weights.argmax()) if options.key is None else _place(options.key, keys, "--key")
    products, bias = one.products(h, i)[j], one.bias()[h, j - i + len(subject.tokens) - 1]
    steps = {"sum": products.sum(), "scale": one.scale, "bias": bias,
             "score": one.scale * products.sum() + bias, "weight": float(weights[j]),
             "value_norm": float(one.value_norms()[0, h, j])}
    title = f"head {options.head}, from {subject.tokens[i]!r} at {keys[j]!r}"
    order = np.argsort(-np.abs(products), kind="stable")[: options.top]
    table(f"why it looks there: {title}", [
        *((f"dimension {d}", f"{products[d]:+.4f}") for d in order),
        ("sum of all dimensions", f"{steps['sum']:+.4f}"), ("times", f"{steps['scale']:.4f}"),
        ("bias of the position", f"{bias:+.4f}"), ("score", f"{steps['score']:+.4f}"),
        ("weight, the softmax over all keys", f"{steps['weight']:.4f}"),
        ("length of the value behind W_O", f"{steps['value_norm']:.4f}")], ("part", "number"))
    _write(options, lambda: scores.plot_score(products, title),
           {**subject.facts(), "layer": layer, "head": h, "query": i, "key": j,
            "products": products, **steps, "weights": weights})


def _by_head(values):
    """{(layer, head): NamedTuple} -> list of dicts"""
    return [{"layer": layer, "head": h, **found._asdict()} for (layer, h), found in values.items()]


def inspect_rollout(options):
    subject = Inspected.of_text(options)
    inputs, position, flow = subject.reading.inputs, subject.position, None
    weights = attention.attention_weights(subject.model, stack=subject.stack, **inputs)
    keys = subject.tokens
    if subject.of == "cross":
        encoder, decoder = stacks_of(subject.model)
        rollout = attention.rollout_across(
            attention.attention_weights(subject.model, stack=encoder, **inputs), weights,
            attention.cross_attention_weights(subject.model, **inputs))[-1][0]
        keys = subject.reading.input_tokens
    else:
        rollout = attention.rollout(weights)[-1][0]
        if len(keys) <= MOST_FLOWS:
            with progress_bar("maximum flows", len(keys)) as advance:
                flow = attention.flow([w[0] for w in weights], position,
                                      report=lambda done, total: advance(done))
        else:
            say(f"no flow: the text has {len(keys)} tokens, and each needs a maximum flow of its "
                f"own; wanted at most {MOST_FLOWS}")
    columns = [rollout[position]] if flow is None else [rollout[position], flow]
    rows = [(f"{t} {token}", *(f"{values[t]:.3f}" for values in columns))
            for t, token in enumerate(keys)]
    table(f"what reaches the vector of {subject.tokens[position]!r} in the last layer", rows,
          ("token", "rollout", "flow")[: 1 + len(columns)])
    _write(options, lambda: attention.plot_rollout(rollout, subject.tokens, keys),
           {**subject.facts(), "columns": keys, "rollout": rollout, "flow": flow})


def inspect_induction(options):
    subject = Inspected.open_for(options)
    found = attention.induction_scores(subject.model, subject.stack)
    order = sorted(found, key=lambda head: -found[head])[: options.top]
    rows = [(f"layer {layer}, head {h}", f"{found[layer, h]:.3f}") for layer, h in order]
    table("on random tokens that are repeated, how much a head looks at the token that followed "
          "the last time", rows, ("head", "induction"))
    scores = subject.anatomy.by_head(found)
    _write(options, lambda: plot_heads(scores, "induction", "share of the weight",
                                        limits=(0, 1)),
           {"induction": scores})


def inspect_composition(options):
    subject = Inspected.open_for(options)
    found, names = circuits.composition_scores(subject.model, options.kind, subject.stack)
    if np.isnan(found).all():
        raise ValueError(f"{options.model} has one block, wanted at least two: heads read what earlier "
                         "blocks have written")
    pairs = [tuple(pair) for pair in np.argwhere(~np.isnan(found))]
    order = sorted(pairs, key=lambda pair: -found[pair])[: options.top]
    table(f"{options.kind}-composition: how well a later head's weights fit what an earlier one "
          "writes", [(names[i], names[j], f"{found[i, j]:.3f}") for i, j in order],
          ("earlier head", "later head", "score"))
    _write(options, lambda: circuits.plot_composition(found, names, options.kind),
           {"kind": options.kind, "heads": names, "scores": found})


# ---- layers


def _require_lens(subject):
    if not subject.predicts_tokens:
        says = {"vector": "makes a vector of a text", None: "has no head"}.get(
            subject.says, "predicts labels")
        raise ValueError(f"a lens reads each layer with the head that predicts tokens, and "
                         f"{subject.name} is a {subject.architecture}, which {says}; wanted a "
                         "model with such a head")


def inspect_lens(options):
    subject = Inspected.of_text(options)
    _require_lens(subject)
    found = lens.logit_lens(subject.model, **subject.reading.inputs)
    table(f"what the model would say after {subject.tokens[subject.position]!r}, layer by layer",
          lens_rows(subject, found),
          ("after", "first", "second", "third", "of the final token", "entropy"))
    _write(options, lambda: lens.plot_lens(found, subject.tokens, subject.tokenizer.decode),
           {**subject.facts(), **lens_facts(subject, found)})


def lens_rows(subject, found):
    """found: a Lens -> the rows of a table at the subject's position, the last layer first"""
    rows = []
    for layer, name in reversed(list(enumerate(subject.anatomy.stream_labels))):
        at = layer, 0, subject.position
        best = [f"{token!r} {p:.0%}"
                for token, p in zip(subject.names(found.ids[at]), found.probabilities[at])]
        rows.append((name, *best[:3], f"{found.of_final[at]:.1%}", f"{found.entropy[at]:.2f}"))
    return rows


def lens_facts(subject, found):
    return {"layers": subject.anatomy.stream_labels,
            **{name: values[:, 0] for name, values in found._asdict().items()}}


def inspect_contributions(options):
    subject = Inspected.of_text(options)
    _require_lens(subject)
    target = subject.target(options)
    shares = contributions.logit_contributions(
        subject.model, subject.reading.inputs, target.token, target.other, target.position)
    title = f"shares of {subject.describe(target)}"
    order = sorted(shares, key=lambda name: -abs(shares[name]))
    table(title, [*((name, f"{shares[name]:+.3f}") for name in order[: options.top]),
                  ("all together", f"{sum(shares.values()):+.3f}")], ("part", "share"))
    _write(options, lambda: contributions.plot_contributions(shares, title),
           {**subject.facts(), "token": target.token, "against": target.other, "shares": shares})


# ---- two texts


def _pair(options, subject):
    """-> the arguments of the forward on --corrupt; the target, by default clean against corrupt"""
    corrupt = subject.read(options.corrupt, None if subject.reading.source_ids is None else "")
    inputs, target = dict(corrupt.inputs), subject.target(options)
    if subject.is_encoder_decoder:  # another source, the same target
        inputs["decoder_input_ids"] = subject.reading.inputs["decoder_input_ids"]
    elif len(corrupt.ids) != len(subject.reading.ids):
        raise ValueError(f"corrupt has {len(corrupt.ids)} tokens, wanted "
                         f"{len(subject.reading.ids)}, as many as clean")
    if isinstance(target, Likeness) or target.other is not None:
        return inputs, target
    other = subject.said(replace(subject.reading, inputs=inputs))
    said = getattr(target, "token", getattr(target, "label", None))
    return inputs, replace(target, other=None if other == said else other)


def inspect_patch(options):
    subject = Inspected.of_text(options)
    corrupt, target = _pair(options, subject)
    names = patching.sites(subject.model, options.kind, subject.stack)
    if not names:
        raise ValueError(f"--kind is {options.kind!r}, but {options.model} is a "
                         f"{subject.architecture}, whose blocks have none")
    tokens = [f"{t} {token}" for t, token in enumerate(subject.tokens)]
    tokens = ["all"] if options.whole else tokens
    with progress_bar("patching", len(names) * len(tokens)) as advance:
        found = patching.patching(subject.model, subject.reading.inputs, corrupt, target, names,
                                  by_position=not options.whole,
                                  report=lambda done, total: advance(done))
    exact, estimate = (values.reshape(len(names), -1) for values in (found.exact, found.estimate))
    order = np.argsort(-np.abs(exact), axis=None)[: options.top]
    rows = [(subject.anatomy.label(names[i]), tokens[t], f"{exact[i, t]:+.3f}",
             f"{estimate[i, t]:+.3f}") for i, t in zip(*np.unravel_index(order, exact.shape))]
    table(f"clean values in the corrupt text: {subject.describe(target)}, {found.clean:.2f} and "
          f"{found.corrupt:.2f}", rows, ("value", "position", "effect", "by the gradient"))
    say(f"The gradient's estimates correlate with the effects: {found.correlation():.2f}.")
    _write(options, lambda: patching.plot_effects(
        found, None if options.whole else subject.tokens),
           {**subject.facts(), "corrupt_tokens": subject.names(np.ravel(corrupt["input_ids"])),
            **found._asdict()})


def inspect_path(options):
    subject = Inspected.of_text(options)
    corrupt, target = _pair(options, subject)
    receiver = _head(subject, "--receiver", options.receiver)
    with progress_bar("paths", len(list(subject.anatomy.heads()))) as advance:
        found = patching.path_effects(
            subject.model, subject.reading.inputs, corrupt, target, receiver, stack=subject.stack,
            report=lambda done, total: advance(done))
    if not found:
        raise ValueError(f"--receiver is {options.receiver!r}, wanted a head above the lowest "
                         "block: nothing is below it")
    effects = subject.anatomy.by_head(found)
    order = sorted(found, key=lambda name: -abs(found[name]))[: options.top]
    to = "the output" if receiver is None else f"head {options.receiver}"
    title = f"what each head says directly to {to}"
    table(f"{title}: {subject.describe(target)}",
          [(subject.anatomy.label(name), f"{found[name]:+.3f}") for name in order],
          ("sender", "effect"))
    _write(options, lambda: plot_heads(effects, title, "effect", signed=True),
           {**subject.facts(), "receiver": options.receiver, "effects": effects})


def _head(subject, name, given):
    """given: "layer.head", or None -> the head's name in a trace"""
    if given is None:
        return None
    heads = {f"{block.index}.{h}": block.head(h) for block, h in subject.anatomy.heads()}
    if given not in heads:
        raise ValueError(f"{name} is {given!r}, wanted LAYER.HEAD, one of {next(iter(heads))} … "
                         f"{list(heads)[-1]}")
    return heads[given]


# ---- what matters


def inspect_attribution(options):
    subject = Inspected.of_text(options)
    target, inputs = subject.target(options), subject.reading.inputs
    tokens = subject.reading.input_tokens
    scores = {}
    with progress_bar("taking tokens away", 100) as advance:
        for done, (name, method) in enumerate(attribution.METHODS.items(), 1):
            scores[name] = method(subject.model, inputs, target)
            advance(5 * done)
        n_random = 20 if subject.model.num_parameters() < LARGE else 5
        deletion = attribution.deletion(subject.model, inputs, target, scores, n_random=n_random,
                                        report=lambda done, total: advance(20 + 80 * done // total))
    trust = deletion.faithfulness()
    rows = [(f"{t} {token}", *(f"{values[t]:+.3f}" for values in scores.values()))
            for t, token in enumerate(tokens)]
    rows.append(("faithfulness", *(f"{value:+.3f}" for value in trust.values())))
    table(f"which tokens speak for {subject.describe(target)}", rows, ("token", *scores))
    _write(options, lambda: attribution.plot_attributions(scores, tokens),
           {**subject.facts(), "input_tokens": tokens, "scores": scores, "faithfulness": trust,
            "deletion": deletion})


def inspect_importance(options):
    subject = Inspected.of_text(options)
    if subject.says in (None, "vector"):
        raise ValueError(f"{options.model} is a {subject.architecture}, which says nothing that "
                         "could be right or wrong; wanted a model with a head")
    if subject.says == "token" and subject.is_causal and len(subject.reading.input_tokens) < 2:
        raise ValueError("the text has one token, wanted two or more: a loss needs a next token")
    model, inputs = subject.model, _lesson(subject, options)

    def loss():
        return model(**inputs).loss

    references = None if options.kind == "zero" else _references(subject, options)
    by_gradient = importance.importance_by_gradient(model, loss, subject.stack)
    with progress_bar("switching heads off", by_gradient.size) as advance:
        by_ablation = importance.importance_by_ablation(
            model, loss, options.kind, references, stack=subject.stack,
            report=lambda done, total: advance(done))
    order = np.argsort(-by_ablation, axis=None)[: options.top]
    rows = [(f"layer {layer}, head {h}", f"{by_ablation[layer, h]:+.4f}",
             f"{by_gradient[layer, h]:.4f}")
            for layer, h in zip(*np.unravel_index(order, by_ablation.shape))]
    table("which heads the loss of this text needs", rows,
          ("head", "loss without it, more", "by the gradient"))
    _write(options, lambda: importance.plot_importance(by_gradient, by_ablation),
           {**subject.facts(), "kind": options.kind, "by_gradient": by_gradient,
            "by_ablation": by_ablation})


def _lesson(subject, options):
    """-> the arguments of the forward with labels: what the text, or the model, says is right"""
    return lesson_of(subject, subject.reading.text, options.target_text or "").inputs


def _references(subject, options):
    """-> list of the forward's arguments for other texts, as long as the text

    An encoder-decoder reads other sources, and the same target.
    """
    reading = subject.reading
    own = reading.ids if reading.source_ids is None else reading.source_ids
    length = max(1, len(own) - subject.tokenizer.num_special_tokens_to_add())
    texts = texts_for(subject, REFERENCES * len(own), length, options.text_file, of="encoder",
                      seed=options.seed)
    if not subject.is_encoder_decoder:
        return texts.batches
    target = reading.inputs["decoder_input_ids"]
    return [{**inputs, "decoder_input_ids": np.repeat(target, len(inputs["input_ids"]), axis=0)}
            for inputs in texts.batches]


def inspect_ablate(options):
    subject = Inspected.of_text(options)
    model, target, inputs = subject.model, subject.target(options), subject.reading.inputs
    names = [name for kind in ("head", *_layers(subject))
             for name in patching.sites(model, kind, subject.stack)]
    references = _references(subject, options)
    effects, estimates = {}, {}
    with progress_bar("taking parts away", len(ablation.KINDS) * len(names)) as advance:
        for number, kind in enumerate(ablation.KINDS):
            changes = ablation.replacements(model, names, kind, references, seed=options.seed)
            effects[kind] = ablation.effects_of(
                model, inputs, target, changes,
                report=lambda done, total, before=number * len(names): advance(before + done))
            if kind != "resample":  # a drawn text can't be foretold
                estimates[kind] = ablation.ablation_estimates(model, inputs, target, changes)
    order = np.argsort(-np.abs(effects["mean"]), kind="stable")
    columns = [values for kind in effects for values in
               (effects[kind], *([estimates[kind]] if kind in estimates else []))]
    labels = [subject.anatomy.label(name) for name in names]
    rows = [(labels[i], *(f"{values[i]:+.3f}" for values in columns)) for i in order[: options.top]]
    table(f"what {subject.describe(target)} loses without a part", rows,
          ("part", "zero", "∇ zero", "mean", "∇ mean", "resample"))
    said = ", ".join(f"{kind} {np.corrcoef(effects[kind], estimate)[0, 1]:.2f}"
                     for kind, estimate in estimates.items())
    say(f"∇: the gradient's estimates, whose correlation with the effects is: {said}.")
    shown = order[: max(options.top, 24)]
    _write(options, lambda: ablation.plot_ablation(
        [labels[i] for i in shown], {kind: values[shown] for kind, values in effects.items()},
        {kind: values[shown] for kind, values in estimates.items()}),
        {**subject.facts(), "parts": names, "effects": effects, "estimates": estimates})


def _layers(subject):
    """-> the kinds of layers that the stack's blocks have"""
    crosses = subject.anatomy.blocks[0].cross_attention is not None
    return ["attention", *["cross_attention"] * crosses, "feed_forward"]


# ---- embeddings and the model itself


def _own_tokens(subject):
    """-> ids, names of the tokens that the embeddings are of: an encoder-decoder's source"""
    reading = subject.reading
    if reading.source_ids is None:
        return reading.ids, reading.tokens
    return reading.source_ids, reading.source_tokens


def inspect_neighbors(options):
    subject = Inspected.of_text(options)
    vectors = subject.model.get_input_embeddings().weight.data
    data, shown = {}, []
    for id, token in zip(*_own_tokens(subject)):
        rows, cosines = geometry.nearest(vectors, int(id), options.top)
        names = subject.names(rows)
        data[token] = [{"token": name, "cosine": float(c)} for name, c in zip(names, cosines)]
        shown.append((repr(token), ", ".join(f"{name!r} {c:.2f}"
                                             for name, c in zip(names, cosines))))
        if len(shown) == 1:
            first = np.concatenate([[int(id)], rows])
    table("the tokens with the most similar embeddings", shown, ("token", "neighbors (cosine)"))
    _write(options, lambda: geometry.plot_plane(geometry.pca(vectors[first]), subject.names(first)),
           {"neighbors": data})


def inspect_embeddings(options):
    subject = Inspected.of_text(options)
    ids = list(dict.fromkeys(int(id) for id in _own_tokens(subject)[0]))
    if len(ids) < 3:
        raise ValueError(f"the text has {len(ids)} different tokens, wanted three or more: two "
                         "points span no plane")
    found = geometry.pca(subject.model.get_input_embeddings().weight.data[ids])
    names = subject.names(ids)
    table("the embeddings of the tokens in the plane that shows most of them: "
          + ", ".join(f"{share:.0%}" for share in found.explained) + " of the variance",
          [(repr(name), *(f"{x:+.3f}" for x in row))
           for name, row in zip(names, found.coordinates)],
          ("token", "axis 1", "axis 2"))
    _write(options, lambda: geometry.plot_plane(found, names),
           {"tokens": names, "coordinates": found.coordinates, "explained": found.explained})


def inspect_anatomy(options):
    subject = Inspected.open_for(options)
    rows = [(block.name, "pre" if block.is_pre_norm else "post", block.n_heads, block.head_dim,
             sum(p.size for p in block.module.parameters()))
            for stack in stacks_of(subject.model).values() for block in stack]
    table(f"{options.model}: {subject.architecture}, "
          f"{subject.model.num_parameters():,} parameters",
          [(*row[:-1], f"{row[-1]:,}") for row in rows],
          ("block", "norm", "heads", "numbers a head", "parameters"))
    _write(options, lambda: plot_anatomy(subject.model), {"blocks": [dict(zip(
        ("name", "norm", "n_heads", "head_dim", "parameters"), row)) for row in rows]})


def _write(options, plot, data):
    """Write the picture and the numbers where the command line asks for them."""
    if options.picture:
        say(f"picture: {export(options.picture, plot())}")
    if options.json:
        export(options.json, {"model": str(options.model), **data})
        say(f"numbers: {options.json}")
