"""`minillm inspect`: the lens, and what each layer contributes."""

from minillm.cli.inspecting.inspected import Inspected, write
from minillm.cli.terminal import table
from minillm.insight import contributions, lens


def require_lens(subject):
    if not subject.predicts_tokens:
        says = {"vector": "makes a vector of a text", None: "has no head"}.get(
            subject.says, "predicts labels")
        raise ValueError(f"a lens reads each layer with the head that predicts tokens, and "
                         f"{subject.name} is a {subject.architecture}, which {says}; wanted a "
                         "model with such a head")


def inspect_lens(options):
    subject = Inspected.of_text(options)
    require_lens(subject)
    found = lens.logit_lens(subject.model, **subject.reading.inputs)
    table(f"what the model would say after {subject.tokens[subject.position]!r}, layer by layer",
          lens_rows(subject, found),
          ("after", "first", "second", "third", "of the final token", "entropy"))
    write(options, lambda: lens.plot_lens(found, subject.tokens, subject.tokenizer.decode),
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
    require_lens(subject)
    target = subject.target(options)
    shares = contributions.logit_contributions(
        subject.model, subject.reading.inputs, target.token, target.other, target.position)
    title = f"shares of {subject.describe(target)}"
    order = sorted(shares, key=lambda name: -abs(shares[name]))
    table(title, [*((name, f"{shares[name]:+.3f}") for name in order[: options.top]),
                  ("all together", f"{sum(shares.values()):+.3f}")], ("part", "share"))
    write(options, lambda: contributions.plot_contributions(shares, title),
          {**subject.facts(), "token": target.token, "against": target.other, "shares": shares})
