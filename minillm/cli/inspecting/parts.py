"""`minillm inspect`: which tokens, heads and layers matter."""

import numpy as np

from minillm.cli.inspecting.inspected import Inspected, write
from minillm.cli.terminal import progress_bar, say, table
from minillm.insight import ablation, attribution, importance, patching
from minillm.insight.lesson import lesson_of
from minillm.insight.texts import texts_for

LARGE = 2e7  # parameters of a model whose deletion curves are compared with fewer random orders
REFERENCES = 16  # texts whose values take the place of a text's own


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
    write(options, lambda: attribution.plot_attributions(scores, tokens),
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
    write(options, lambda: importance.plot_importance(by_gradient, by_ablation),
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
    write(options, lambda: ablation.plot_ablation(
        [labels[i] for i in shown], {kind: values[shown] for kind, values in effects.items()},
        {kind: values[shown] for kind, values in estimates.items()}),
        {**subject.facts(), "parts": names, "effects": effects, "estimates": estimates})


def _layers(subject):
    """-> the kinds of layers that the stack's blocks have"""
    crosses = subject.anatomy.blocks[0].cross_attention is not None
    return ["attention", *["cross_attention"] * crosses, "feed_forward"]
