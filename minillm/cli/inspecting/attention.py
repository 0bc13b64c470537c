"""`minillm inspect`: attention, scores, rollout, induction, composition."""

import numpy as np

from minillm.cli.inspecting.inspected import Inspected, place_of, write
from minillm.cli.terminal import progress_bar, say, table
from minillm.insight import attention, circuits, scores
from minillm.insight.anatomy import plot_heads, stacks_of

MOST_FLOWS = 48  # tokens of a text whose attention flows are computed: they take seconds


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
    write(options, lambda: attention.plot_attention(weights, subject.tokens),
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
    write(options, lambda: attention.plot_attention(weights, subject.tokens, sources),
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
    j = int(weights.argmax()) if options.key is None else place_of(options.key, keys, "--key")
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
    write(options, lambda: scores.plot_score(products, title),
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
    write(options, lambda: attention.plot_rollout(rollout, subject.tokens, keys),
          {**subject.facts(), "columns": keys, "rollout": rollout, "flow": flow})


def inspect_induction(options):
    subject = Inspected.open_for(options)
    found = attention.induction_scores(subject.model, subject.stack)
    order = sorted(found, key=lambda head: -found[head])[: options.top]
    rows = [(f"layer {layer}, head {h}", f"{found[layer, h]:.3f}") for layer, h in order]
    table("on random tokens that are repeated, how much a head looks at the token that followed "
          "the last time", rows, ("head", "induction"))
    scores = subject.anatomy.by_head(found)
    write(options, lambda: plot_heads(scores, "induction", "share of the weight",
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
    write(options, lambda: circuits.plot_composition(found, names, options.kind),
          {"kind": options.kind, "heads": names, "scores": found})
