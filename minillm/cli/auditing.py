"""`minillm audit` and `minillm card`."""

import shlex

from minillm.cli.terminal import progress_bar, say, table
from minillm.files import atomic_write
from minillm.json_files import write_json
from minillm.text.canaries import Canary, Format
from minillm.training.run import Run
from minillm.trust.audit import audit, worst
from minillm.trust.audit_page import page
from minillm.trust.model_card import write_card

LIMITS = {"auc": "the AUC of an attack", "extracted": "the share of recited continuations",
          "exposure": "the exposure of a canary"}
PARTS = ("exposure", "extraction", "membership")


def audit_run(options):
    """-> exit status: 1 if something is above what --max-… allows"""
    run = Run(options.run)
    canaries = [_canary(*each) for each in options.canary or ()]
    with progress_bar("measuring", 100) as advance:
        found = audit(run, canaries=canaries, reference=options.reference,
                      n_windows=options.windows, n_samples=options.samples, seed=options.seed,
                      report=lambda what, done, total: advance(_percent(what, done / total), what))
        advance(100, "")
    folder = run.folder / "audit"
    folder.mkdir(exist_ok=True)
    write_json(folder / "report.json", found, ensure_ascii=False)
    with atomic_write(folder / "report.html", "w", encoding="utf-8", errors="replace") as file:
        file.write(page(found))
    write_card(run)
    _show(found)
    say(f"\nIn {folder}:\n"
        "  report.html   these numbers, pictures, and what they mean; it may quote the text\n"
        "  report.json   for programs")
    return _judge(found, options)


def _percent(part, share):
    return int(100 * (PARTS.index(part) + min(share, 1)) / len(PARTS))


def _canary(form, secret):
    """-> the Canary of --canary FORMAT SECRET; the secret of several blanks has spaces between"""
    form = Format(form)
    parts = [secret] if len(form.blanks) == 1 else secret.split()
    return Canary(form, form.number(parts), 0)


def _show(found):
    part = found["exposure"]
    if "skipped" in part:
        say(f"exposure: not measured: {part['skipped']}")
    else:
        table(f"exposure, bits; never seen: {part['unseen_bits']:.1f}",
              [(each["format"], each["secret"], f"{each['times'] or '–'}", f"{each['bits']:.1f}",
                f"{each['most']:.1f}", {True: "yes", False: "no", None: "–"}[each["greedy"]])
               for each in part["canaries"]],
              ("canary", "secret", "inserted", "exposure", "at most", "said greedily"), left=(0, 1))
    part = found["extraction"]
    if "skipped" in part:
        say(f"extraction: not measured: {part['skipped']}")
    else:
        table(f"the next {part['suffix']} tokens, recited word for word",
              [(str(row["prefix"]), f"{row['training']['share']:.1%}",
                f"{row['held_out']['share']:.1%}" if row["held_out"] else "–",
                f"{row['training']['elsewhere']:.1%}",
                str(row["training"]["longest"]))
               for row in part["prefixes"]],
              ("prefix", "training text", "held-out text", "stands elsewhere", "longest"))
    part = found["membership"]
    if "skipped" in part:
        say(f"membership: not measured: {part['skipped']}")
    else:
        table(f"{part['members']:,} pieces of training text against {part['others']:,} held out",
              [(name, f"{each['auc']:.3f} ({each['interval'][0]:.3f} – {each['interval'][1]:.3f})",
                *(f"{each['tpr'][level]['value']:.1%}" for level in each["tpr"]))
               for name, each in part["attacks"].items()],
              ("score", "AUC (95 %)", "TPR at 1 % FPR", "at 0.1 %"))
        say("blind never asks the model: what it finds is a difference between the texts")


def _judge(found, options):
    status = 0
    for name, value in worst(found).items():
        limit = getattr(options, f"max_{name}")
        if limit is None:
            continue
        if value is None:
            raise ValueError(f"max-{name} is {limit:g}, but it wasn't measured: "
                             f"{_why(found, name)}")
        if value > limit:
            say(f"{LIMITS[name]} is {value:.3f}, above {limit:g}")
            status = 1
    return status


def _why(found, name):
    part = {"auc": "membership", "extracted": "extraction", "exposure": "exposure"}[name]
    return found[part].get("skipped", "nothing was found")


def card(options):
    run = Run(options.run)
    path = write_card(run)
    say(f"written: {shlex.quote(str(path))}")
