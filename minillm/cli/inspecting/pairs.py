"""`minillm inspect`: two texts, and which values of one change the answer of the other."""

from dataclasses import replace

import numpy as np

from minillm.cli.inspecting.inspected import Inspected, head_named, write
from minillm.cli.terminal import progress_bar, say, table
from minillm.insight import patching
from minillm.insight.anatomy import plot_heads
from minillm.insight.target import Likeness


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
    write(options, lambda: patching.plot_effects(
        found, None if options.whole else subject.tokens),
          {**subject.facts(), "corrupt_tokens": subject.names(np.ravel(corrupt["input_ids"])),
           **found._asdict()})


def inspect_path(options):
    subject = Inspected.of_text(options)
    corrupt, target = _pair(options, subject)
    receiver = head_named(subject, "--receiver", options.receiver)
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
    write(options, lambda: plot_heads(effects, title, "effect", signed=True),
          {**subject.facts(), "receiver": options.receiver, "effects": effects})
