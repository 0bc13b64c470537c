"""`minillm inspect`: look inside a model with minillm/insight."""

import numpy as np

from minillm.cli.generation import read_stdin
from minillm.cli.opening import open_trained
from minillm.cli.terminal import progress_bar, say, table
from minillm.cli.visible import visible
from minillm.figures import write_figure
from minillm.files import expand
from minillm.insight import attention, attribution, contributions, geometry, importance, lens, patching
from minillm.insight.anatomy import Anatomy
from minillm.insight.subject import Subject
from minillm.insight.target import Logit
from minillm.json_files import write_json
from minillm.nn.module import no_grad

MOST_FLOWS = 48  # tokens of a text whose attention flows are computed: they take seconds


class Inspected(Subject):
    """The model of --model, and the text of the command line as it reads it.

    reading: a Reading;  ids, tokens, position: those of the reading, `tokens` fit for a terminal
    """

    @classmethod
    def of(cls, options, text=None):
        subject = cls.open(options.model, open_trained)
        if not subject.predicts_tokens:
            raise ValueError(f"{options.model} is a {type(subject.model).__name__}, wanted a decoder "
                             "or a BERT that fills in masks")
        text = options.text if text is None else text
        subject.reading = subject.read(text if text is not None else read_stdin("text"))
        subject.ids, subject.position = subject.reading.ids, subject.reading.position
        subject.tokens = subject.names(subject.ids)
        is_masked = not hasattr(subject.model, "lm_head")
        mask = subject.tokenizer.mask_token
        if is_masked and mask not in subject.reading.tokens and options.needs_target:
            raise ValueError(f"the text has no {mask}, wanted one: it is what a "
                             f"{subject.model.config.model_type!r} model predicts")
        return subject

    def names(self, ids):
        return [visible(name) for name in super().names(ids)]

    def target(self, options):
        """-> Logit: of --token, or of the token that the model says, against --against if given"""
        token = self._spelled("token", options.token)
        token = self.said(self.reading) if token is None else token
        return Logit(token, self._spelled("against", options.against), self.position)

    def _spelled(self, name, text):
        return None if text is None else self.token(f"--{name}", text)

    def describe(self, target):
        said = f"{self.names([target.token])[0]!r}"
        if target.other is not None:
            said += f" - {self.names([target.other])[0]!r}"
        return f"the logit of {said} after {self.tokens[:target.position + 1][-1]!r}"


def inspect_attention(options):
    subject = Inspected.of(options)
    weights = [w[0] for w in attention.attention_weights(subject.model, subject.ids[None])]
    summaries = attention.summarize_heads([w[None] for w in weights])
    induction = attention.induction_scores(subject.model)
    rows = [(f"layer {layer}, head {h}", *(f"{value:.2f}" for value in found[:4]),
             f"{induction[layer, h]:.2f}") for (layer, h), found in summaries.items()]
    table(f"where the heads look: {subject.reading.text}", rows,
          ("head", "previous token", "first token", "itself", "entropy", "induction"))
    _write(options, lambda: attention.plot_attention(weights, subject.tokens),
           {"tokens": subject.tokens, "weights": weights, "heads": [
               {"layer": layer, "head": h, **found._asdict(),
                "induction": induction[layer, h]}
               for (layer, h), found in summaries.items()]})


def inspect_rollout(options):
    subject = Inspected.of(options)
    weights = attention.attention_weights(subject.model, subject.ids[None])
    rollout = attention.rollout(weights)[-1][0]
    position = subject.position
    if len(subject.tokens) <= MOST_FLOWS:
        flow = attention.flow([w[0] for w in weights], position)
    else:
        flow = [None] * len(subject.tokens)
        say(f"no flow: the text has {len(flow)} tokens, and each needs a maximum flow of its own; "
            f"wanted at most {MOST_FLOWS}")
    rows = [(f"{t} {token}", f"{rollout[position, t]:.3f}",
             "–" if flow[t] is None else f"{flow[t]:.3f}")
            for t, token in enumerate(subject.tokens)]
    table(f"what reaches the vector of {subject.tokens[position]!r} in the last layer", rows,
          ("token", "rollout", "flow"))
    _write(options, lambda: attention.plot_rollout(rollout, subject.tokens),
           {"tokens": subject.tokens, "position": position, "rollout": rollout, "flow": flow})


def inspect_lens(options):
    subject = Inspected.of(options)
    found = lens.logit_lens(subject.model, subject.ids[None])
    n = len(found.ids)
    names = ["embedding", *(f"block {i}" for i in range(n - 1))][-n:]
    position = subject.position
    rows = []
    for layer in reversed(range(n)):
        best = [f"{token!r} {p:.0%}" for token, p in zip(
            subject.names(found.ids[layer, 0, position]), found.probabilities[layer, 0, position])]
        rows.append((names[layer], *best[:3], f"{found.of_final[layer, 0, position]:.1%}",
                     f"{found.entropy[layer, 0, position]:.2f}"))
    table(f"what the model would say after {subject.tokens[position]!r}, layer by layer", rows,
          ("after", "first", "second", "third", "of the final token", "entropy"))
    _write(options, lambda: lens.plot_lens(found, subject.tokens, subject.tokenizer.decode),
           {"tokens": subject.tokens, "layers": names, "ids": found.ids[:, 0],
            "probabilities": found.probabilities[:, 0], "of_final": found.of_final[:, 0],
            "entropy": found.entropy[:, 0]})


def inspect_contributions(options):
    subject = Inspected.of(options)
    target = subject.target(options)
    shares = contributions.logit_contributions(
        subject.model, subject.ids, target.token, target.other, target.position)
    title = f"shares of {subject.describe(target)}"
    order = sorted(shares, key=lambda name: -abs(shares[name]))
    table(title, [*((name, f"{shares[name]:+.3f}") for name in order[: options.top]),
                  ("all together", f"{sum(shares.values()):+.3f}")], ("part", "share"))
    _write(options, lambda: contributions.plot_contributions(shares, title),
           {"tokens": subject.tokens, "token": target.token, "against": target.other,
            "shares": shares})


def inspect_patch(options):
    subject = Inspected.of(options)
    corrupt = subject.encode(options.corrupt)
    target = subject.target(options)
    if target.other is None and len(corrupt) == len(subject.ids):
        with no_grad():  # the question is between the two answers
            other = int(subject.model(corrupt[None]).logits[0, subject.position].argmax())
        target = Logit(target.token, None if other == target.token else other, target.position)
    names = patching.sites(subject.model, options.kind)
    with progress_bar("patching", len(names) * len(corrupt)) as advance:
        found = patching.patching(subject.model, subject.ids, corrupt, target, names,
                                  report=lambda done, total: advance(done))
    order = np.argsort(-np.abs(found.exact), axis=None)[: options.top]
    rows = [(names[i], f"{t} {subject.tokens[t]}", f"{found.exact[i, t]:+.3f}",
             f"{found.estimate[i, t]:+.3f}")
            for i, t in zip(*np.unravel_index(order, found.exact.shape))]
    table(f"clean values in the corrupt text: {subject.describe(target)}, {found.clean:.2f} and "
          f"{found.corrupt:.2f}", rows, ("value", "position", "effect", "by the gradient"))
    say(f"The gradient's estimates correlate with the effects: {found.correlation():.2f}.")
    _write(options, lambda: patching.plot_effects(found, subject.tokens),
           {"tokens": subject.tokens, "corrupt_tokens": subject.names(corrupt), "sites": names,
            "exact": found.exact, "estimate": found.estimate, "clean": found.clean,
            "corrupt": found.corrupt})


def inspect_attribution(options):
    subject = Inspected.of(options)
    target = subject.target(options)
    scores = attribution.attributions(subject.model, subject.ids, target)
    with progress_bar("taking tokens away", 100) as advance:
        trust = attribution.faithfulness(subject.model, subject.ids, target, scores,
                                         report=lambda done, total: advance(100 * done // total))
    rows = [(f"{t} {token}", *(f"{values[t]:+.3f}" for values in scores.values()))
            for t, token in enumerate(subject.tokens)]
    rows.append(("faithfulness", *(f"{value:+.3f}" for value in trust.values())))
    table(f"which tokens speak for {subject.describe(target)}", rows, ("token", *scores))
    _write(options, lambda: attribution.plot_attributions(scores, subject.tokens),
           {"tokens": subject.tokens, "scores": scores, "faithfulness": trust})


def inspect_importance(options):
    subject = Inspected.of(options)
    model, ids = subject.model, subject.ids[None]
    if not hasattr(model, "lm_head"):
        raise ValueError(f"{options.model} predicts masks, wanted a decoder, whose loss every text has")
    if ids.shape[1] < 2:
        raise ValueError("the text has one token, wanted two or more: a loss needs a next token")

    def loss():
        return model(ids, labels=ids).loss

    by_gradient = importance.importance_by_gradient(model, loss)
    with progress_bar("switching heads off", by_gradient.size) as advance:
        by_ablation = importance.importance_by_ablation(
            model, loss, report=lambda done, total: advance(done))
    order = np.argsort(-by_ablation, axis=None)[: options.top]
    rows = [(f"layer {layer}, head {h}", f"{by_ablation[layer, h]:+.4f}",
             f"{by_gradient[layer, h]:.4f}")
            for layer, h in zip(*np.unravel_index(order, by_ablation.shape))]
    table("which heads the loss of this text needs", rows,
          ("head", "loss without it, more", "by the gradient"))
    _write(options, lambda: importance.plot_importance(by_gradient, by_ablation),
           {"by_gradient": by_gradient, "by_ablation": by_ablation})


def inspect_neighbors(options):
    subject = Inspected.of(options)
    vectors = subject.model.get_input_embeddings().weight.data
    data, shown = {}, []
    for token, id in zip(subject.tokens, subject.ids):
        rows, cosines = geometry.nearest(vectors, int(id), options.top)
        names = subject.names(rows)
        data[token] = [{"token": name, "cosine": float(c)} for name, c in zip(names, cosines)]
        shown.append((repr(token), ", ".join(f"{name!r} {c:.2f}" for name, c in zip(names, cosines))))
        if len(shown) == 1:
            first = np.concatenate([[int(id)], rows])
    table("the tokens with the most similar embeddings", shown, ("token", "neighbors (cosine)"))
    _write(options, lambda: geometry.plot_plane(geometry.pca(vectors[first]), subject.names(first)),
           {"neighbors": data})


def inspect_anatomy(options):
    subject = Inspected.of(options)
    rows = [(block.name, "pre" if block.is_pre_norm else "post", block.n_heads, block.head_dim,
             sum(p.size for p in block.module.parameters()))
            for block in Anatomy(subject.model).blocks]
    table(f"{options.model}: {type(subject.model).__name__}, "
          f"{subject.model.num_parameters():,} parameters",
          [(*row[:-1], f"{row[-1]:,}") for row in rows],
          ("block", "norm", "heads", "numbers a head", "parameters"))
    _write(options, None, {"blocks": [dict(zip(("name", "norm", "n_heads", "head_dim",
                                                "parameters"), row)) for row in rows]})


def _write(options, plot, data):
    """Write the picture and the numbers where the command line asks for them."""
    if options.picture:
        path = expand(options.picture)
        if path.suffix.lower() not in (".png", ".svg"):
            raise ValueError(f"--picture is {options.picture!r}, wanted a name that ends in .png or "
                             ".svg")
        if plot is None:
            raise ValueError("--picture: there is no picture of this")
        write_figure(path, plot())
        say(f"picture: {path}")
    if options.json:
        write_json(expand(options.json), _plain({"model": str(options.model), **data}),
                   ensure_ascii=False)
        say(f"numbers: {options.json}")


def _plain(value):
    """-> the value with arrays as lists, for JSON"""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
