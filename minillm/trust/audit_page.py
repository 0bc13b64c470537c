"""The page of an audit: tables, pictures, and what they mean. See audit.py for the numbers."""

import html
import math

import numpy as np

from minillm.figures import COLORS, LINES, figure_svg, new_figure

STYLE = """body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.5;
  font-family: system-ui, sans-serif; color: #1b1b1b; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: 1rem 0 } caption { text-align: left; color: #555 }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } svg { max-width: 100%; height: auto }
.scroll { overflow-x: auto } pre { white-space: pre-wrap; background: #f4f4f4; padding: .8rem }
.note { color: #555 }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #16181b }
  pre { background: #24272b } .note, caption { color: #aaa } th, td { border-color: #3a3d42 } }"""


def page(report):
    """-> the report of `audit` as one HTML file, without scripts and without other files"""
    parts = [_exposure(report["exposure"]), _extraction(report["extraction"]),
             _membership(report["membership"])]
    title = f"What the model of {html.escape(report['run'])} remembers"
    return "\n".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>", f"<h1>{title}</h1>",
        f"<p>{html.escape(report['architecture'])}, {report['steps']:,} steps of "
        f"{html.escape(report['task'])}. This page may quote the training text: keep it as private "
        "as that.</p>", *parts, "</body></html>\n"])


def _exposure(part):
    heading = "<h2>Canaries: are inserted secrets given away?</h2>"
    if "skipped" in part:
        return f"{heading}<p>Not measured: {html.escape(part['skipped'])}.</p>"
    rows = [(each["format"], each["secret"], str(each["times"]), f"{each['bits']:.1f}",
             f"{each['most']:.1f}", {True: "yes", False: "no", None: "–"}[each["greedy"]])
            for each in part["canaries"]]
    return "".join([
        heading, "<p>Exposure is how many bits of a secret the model gives away: with n bits, a "
        "guesser who follows the model finds it 2<sup>n</sup> times sooner than by trying all. A "
        f"secret that was never seen has {part['unseen_bits']:.1f} bits on average.</p>",
        _svg(exposure_figure(part)),
        _table(("format", "secret", "inserted", "exposure", "at most", "said greedily"), rows)])


def exposure_figure(part):
    """-> matplotlib Figure: exposure of each canary by how often it was inserted"""
    figure, axes = new_figure(6, 3)
    found = part["canaries"]
    times = [each["times"] for each in part["by_times"]]
    axes.plot([times.index(each["times"]) for each in found], [each["bits"] for each in found], "o",
              color=COLORS[1], alpha=0.6, markersize=5, label="a canary")
    axes.plot([each["bits"] for each in part["by_times"]], "-", color=COLORS[0], label="mean")
    exposure_axis(axes, part["unseen_bits"], max(each["most"] for each in found))
    axes.set_xticks(range(len(times)), [f"{n}" if n else "by hand" for n in times])
    axes.set_xlabel("times inserted")
    axes.legend()
    return figure


def exposure_axis(axes, unseen, most):
    """Draw the y axis of exposures, with the lines of a secret never seen and of one given away."""
    axes.axhline(unseen, color="#888888", linestyle=":", linewidth=1)
    axes.annotate("never seen", (1, unseen), xycoords=("axes fraction", "data"), ha="right",
                  va="bottom", fontsize=8, color="#666666")
    axes.axhline(most, color="#888888", linestyle="--", linewidth=1)
    axes.annotate("given away", (0.02, most), xycoords=("axes fraction", "data"), va="bottom",
                  fontsize=8, color="#666666")
    axes.set(ylabel="exposure, bits", ylim=(0, most * 1.12))


def _extraction(part):
    heading = "<h2>Extraction: does it recite its training text?</h2>"
    if "skipped" in part:
        return f"{heading}<p>Not measured: {html.escape(part['skipped'])}.</p>"
    suffix = part["suffix"]
    rows = [(str(row["prefix"]), _share(row["training"]), _share(row["held_out"]),
             f"{row['training']['elsewhere']:.1%}", f"{row['training']['matched']:.1f}",
             str(row["training"]["longest"])) for row in part["prefixes"]]
    text = part["longest_text"]
    quote = "" if not text else (
        f"<p>The longest continuation that was right, {part['longest']} tokens:</p><pre>"
        f"{html.escape(text['prefix'])}<mark>{html.escape(text['continuation'])}</mark></pre>")
    return "".join([
        heading, f"<p>The model reads a few tokens of its training text and continues greedily. "
        f"How often are the next {suffix} tokens those of the text, all of them? Held-out text "
        "shows what is easy to guess; <em>elsewhere</em>, how many continuations stand in the "
        "training text at another place too.</p>", _svg(extraction_figure(part)),
        _table(("prefix, tokens", "training text", "held-out text", "elsewhere", "right, mean",
                "longest"), rows), quote])


def _share(group):
    if group is None:
        return "–"
    low, high = group["interval"]
    return f"{group['share']:.1%} ({low:.1%} – {high:.1%})"


def extraction_figure(part):
    """-> matplotlib Figure: the share of exact continuations by the length of the prefix"""
    figure, axes = new_figure(6, 2.8)
    lengths = [row["prefix"] for row in part["prefixes"]]
    for color, style, group, label in ((1, 0, "training", "training text"),
                                       (2, 1, "held_out", "held-out text")):
        if part["prefixes"][0][group] is None:
            continue
        shares = np.array([row[group]["share"] for row in part["prefixes"]])
        axes.plot(lengths, shares, "o", color=COLORS[color], linestyle=LINES[style], label=label,
                  markersize=4)
        low, high = zip(*(row[group]["interval"] for row in part["prefixes"]))
        axes.fill_between(lengths, low, high, color=COLORS[color], alpha=0.12)
    axes.plot(lengths, [row["training"]["elsewhere"] for row in part["prefixes"]], color="#888888",
              linestyle=":", label="stands elsewhere too")
    axes.set(xlabel="tokens of the prefix", ylabel="share recited", xscale="log")
    axes.set_xticks(lengths, map(str, lengths))
    axes.minorticks_off()
    axes.set_ylim(0, max(axes.get_ylim()[1], 0.02))
    axes.legend()
    return figure


def _membership(part):
    heading = "<h2>Membership: do its losses tell what it was trained on?</h2>"
    if "skipped" in part:
        return f"{heading}<p>Not measured: {html.escape(part['skipped'])}.</p>"
    rows = [(name, f"{each['auc']:.3f} ({each['interval'][0]:.3f} – {each['interval'][1]:.3f})",
             *(f"{each['tpr'][level]['value']:.1%}" for level in each["tpr"]))
            for name, each in part["attacks"].items()]
    few = 1 / part["others"]
    coarse = "" if few <= 0.001 else (
        f" With {part['others']:,} texts of the second kind, one false alarm is {few:.2%}: a lower "
        "rate means none at all.")
    return "".join([
        heading, f"<p>{part['members']:,} pieces of the training text against "
        f"{part['others']:,} of held-out text. AUC 0.5 is a coin. TPR is the share of the training "
        "pieces that a threshold with so few false alarms finds; an attacker wants these. "
        "<em>blind</em> never asks the model: what it finds is a difference between the two texts, "
        "and no memory.</p>",
        _svg(roc_figure(part)),
        _table(("score", "AUC (95 %)", "TPR at 1 % FPR", "TPR at 0.1 % FPR"), rows),
        f'<p class="note">The intervals draw documents anew.{coarse}</p>'])


def roc_figure(part):
    """-> matplotlib Figure: the ROC curves, with logarithmic axes"""
    figure, axes = new_figure(4.6, 4)
    lowest = 10 ** -max(2, math.ceil(math.log10(max(part["members"], part["others"]))))
    for number, (name, each) in enumerate(part["attacks"].items()):
        fpr = np.maximum(each["fpr"], lowest)
        axes.plot(fpr, np.maximum(each["tpr_curve"], lowest), color=COLORS[number % len(COLORS)],
                  linestyle=LINES[number % len(LINES)], label=name, linewidth=1.3,
                  drawstyle="steps-post")
    axes.plot([lowest, 1], [lowest, 1], color="#bbbbbb", linewidth=1, linestyle="-")
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1),
             xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right")
    return figure


def _svg(figure):
    """-> the figure without the first lines of an XML file"""
    text = figure_svg(figure)
    return text[text.index("<svg"):]


def _table(headings, rows):
    cells = "".join(f"<th scope=\"col\">{html.escape(each)}</th>" for each in headings)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
                    for row in rows)
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{headings[0]}"><table>'
            f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>")
