"""Plots: the loss curve of a training run, and the attention weights of a model."""

from pathlib import Path

import numpy as np

from minillm.files import atomic_write

TRAIN, VALID = "#3b7ea1", "#d1495b"  # colors that also differ in brightness
# Lines that can be told apart in grey and by the color-blind (Okabe and Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = "os^Dv*"
ATTENTION = "magma_r"
SCALE = np.array([0, 0.05, 0.2, 0.5, 1])


def plot_loss(records, path):
    """Draw the loss curve of the records of metrics.jsonl as a PNG.

    The loss of single steps is faint, its running mean bold. The validation loss has a dot for each
    evaluation; its lowest value is labeled.
    """
    train = np.array([(r["step"], r["loss"]) for r in records if "loss" in r]).reshape(-1, 2)
    valid = np.array(
        [(r["step"], r["valid_loss"]) for r in records if "valid_loss" in r]
    ).reshape(-1, 2)
    figure, grid = _figure(7, 4.2)
    axes = grid[0, 0]
    if len(train):
        axes.plot(*train.T, color=TRAIN, alpha=0.35, linewidth=0.9)
        axes.plot(train[:, 0], running_mean(train[:, 1]), color=TRAIN, label="training")
    if len(valid):
        axes.plot(*valid.T, "o-", color=VALID, markersize=3.5, linewidth=1.3, label="validation")
        step, lowest = valid[valid[:, 1].argmin()]
        axes.annotate(f"{lowest:.3f}", (step, lowest), textcoords="offset points", xytext=(0, 9),
                      ha="center", color=VALID, fontsize=9)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats per token")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(train) or len(valid):
        axes.legend(frameon=False)
    _save(figure, path)


def plot_lengths(losses, trained_length, path):
    """Draw how well models read windows that are longer than those they were trained on, as a PNG.

    losses: {name: ({length: loss of the last tokens, or None}, loss at each position of the longest
    window)}
    """
    figure, grid = _figure(9.5, 4.2, columns=2)
    ends, positions = grid[0]
    for number, (name, (at_end, by_position)) in enumerate(losses.items()):
        style = {"color": COLORS[number % len(COLORS)], "label": name, "linewidth": 1.5,
                 "linestyle": DASHES[number % len(DASHES)]}
        found = [(length, loss) for length, loss in at_end.items() if loss is not None]
        ends.plot(*zip(*found), marker=MARKERS[number % len(MARKERS)], markersize=5, **style)
        bins = np.array_split(np.array(by_position), max(1, len(by_position) // 16))
        middles = np.cumsum([len(each) for each in bins]) - len(bins[0]) / 2
        positions.plot(middles, [each.mean() for each in bins], **style)
    lengths = list(next(iter(losses.values()))[0])
    ends.set_xscale("log", base=2)
    ends.set_xticks(lengths, map(str, lengths))
    ends.set_xlabel("tokens in the window")
    ends.set_ylabel("loss of its last tokens, nats per token")
    ends.set_title("the same tokens, after longer and longer contexts", fontsize=9)
    positions.set_xlabel("position in the longest window")
    positions.set_ylabel("loss, nats per token")
    positions.set_title("means of about 16 positions", fontsize=9)
    for axes in (ends, positions):
        axes.axvline(trained_length, color="#888888", linewidth=0.9)
        axes.annotate("trained", (trained_length, 1), xycoords=("data", "axes fraction"),
                      xytext=(3, -10), textcoords="offset points", fontsize=8, color="#666666")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*ends.get_legend_handles_labels(), loc="outside lower center", ncols=6,
                  frameon=False, fontsize=8)
    _save(figure, path)


def plot_family(results, tokens_per_step, path):
    """Draw what `minillm experiment family` compares, as a PNG.

    results: {variant: Comparison}. Variants whose names are years are complete decoders; they have
    a learning curve, and stand out from the single changes in the bars.
    """
    names = list(results)
    figure, grid = _figure(12.5, 1.6 + 0.3 * max(9, len(names)), columns=4)
    curves, *bars = grid[0]
    for number, name in enumerate(name for name in names if name.isdigit()):
        steps, losses = zip(*results[name].curve)
        curves.plot(np.multiply(steps, tokens_per_step) / 1000, losses, label=name, linewidth=1.5,
                    color=COLORS[number % len(COLORS)], linestyle=DASHES[number % len(DASHES)])
    if any(name.isdigit() for name in names):
        curves.legend(frameon=False)
    curves.set_xlabel("thousands of tokens read")
    curves.set_ylabel("loss of held-out text, nats per token")
    for axes, title, value in (
        (bars[0], "loss at the end", lambda each: each.loss),
        (bars[1], "ms per step", lambda each: each.ms_per_step),
        (bars[2], "peak memory, MB", lambda each: each.peak_bytes and each.peak_bytes / 1e6),
    ):
        values = [value(results[name]) or 0 for name in names]
        drawn = axes.barh(names, values, height=0.7,
                          color=[TRAIN if name.isdigit() else "#b9cfdc" for name in names])
        axes.bar_label(drawn, [f"{each:.3f}" if each < 10 else f"{each:.1f}" for each in values],
                       padding=3, fontsize=8)
        # Losses are close to each other: their bars don't start at 0, which the axis says.
        low = 0.97 * min(values) if title.startswith("loss") else 0
        axes.set_xlim(low, max(values) + 0.25 * (max(values) - low) or 1)
        axes.set_title(title, fontsize=9)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0, labelsize=8)
        if axes is not bars[0]:
            axes.set_yticklabels([])
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
    curves.grid(alpha=0.25)
    _save(figure, path)


def plot_speedrun(results, target, n_steps, path):
    """Draw what `minillm experiment speedrun` measures, as a PNG.

    results: {variant: Speed};  target: bits per byte;  n_steps: of a run that misses the target
    """
    results = {name: each for name, each in results.items() if each.seeds}
    names = list(results)
    figure, grid = _figure(11, 1.6 + 0.3 * max(9, len(names)), columns=3)
    curves, loss, steps = grid[0]
    shown = [name for name in ("baseline", "only-muon", "without-muon", "all") if name in results]
    for number, name in enumerate(shown):
        for run, curve in enumerate(results[name].curves):
            curves.plot(*zip(*curve), label=None if run else name, linewidth=1,
                        color=COLORS[number % len(COLORS)], linestyle=DASHES[number % len(DASHES)])
    curves.axhline(target, color="gray", linewidth=0.8)
    curves.set_ylim(top=2.6)
    curves.set_xlabel("step")
    curves.set_ylabel("held-out text, bits per byte")
    if shown:
        curves.legend(frameon=False)
    for axes, title, of in (
        (loss, f"bits per byte after {n_steps} steps, or at the target",
         lambda each: each.bits_per_byte),
        (steps, f"steps to {target:g} bits per byte",
         lambda each: [crossed for crossed in each.crossed if crossed is not None])):
        for place, name in enumerate(names):
            values = of(results[name])
            axes.plot(values, [place] * len(values), "o", markersize=4, alpha=0.6, color=TRAIN)
            if values:
                axes.plot(sum(values) / len(values), place, "|", markersize=14, color="black")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=9)
        axes.grid(axis="x", alpha=0.25)
    steps.set_yticklabels([])
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def running_mean(values, weight=0.7):
    """m_t = weight · m_(t-1) + (1 - weight) · x_t, divided by the sum of the weights so far."""
    means, mean, total = [], 0.0, 0.0
    for value in values:
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        means.append(mean / total)
    return means


def plot_attention(attentions, labels, path, title=None):
    """Draw the attention weights of every layer and head for one text as a PNG.

    attentions: one (H, T, T) array per layer; row i says where token i looks. labels: T strings
    Masked keys, in a causal model all later ones, stay blank.
    """
    n_layers, n_heads, T = len(attentions), len(attentions[0]), len(labels)
    labels = [label.replace("$", r"\$").replace("\n", "\\n") for label in labels]
    size = max(1.7, 0.13 * T)
    figure, grid = _figure(1.1 + size * n_heads, 0.9 + size * n_layers, n_layers, n_heads)
    for layer in range(n_layers):
        for head in range(n_heads):
            axes = grid[layer, head]
            # Most weights are small; square roots make the differences between them visible.
            weights = np.asarray(attentions[layer][head])
            image = axes.imshow(np.sqrt(np.ma.masked_equal(weights, 0)), cmap=ATTENTION,
                                vmin=0, vmax=1)
            axes.set_xticks(range(T), labels if layer == n_layers - 1 else [""] * T,
                            rotation=90, fontsize=7)
            axes.set_yticks(range(T), labels if head == 0 else [""] * T, fontsize=7)
            axes.tick_params(length=0, pad=2)
            axes.spines[:].set_color("#bbbbbb")
            axes.spines[:].set_linewidth(0.6)
            if layer == 0:
                axes.set_title(f"head {head}", fontsize=9)
            if head == n_heads - 1:
                axes.yaxis.set_label_position("right")
                axes.set_ylabel(f"layer {layer}", fontsize=9)
    scale = figure.colorbar(image, ax=grid, shrink=0.35, aspect=24, pad=0.015, ticks=SCALE**0.5)
    scale.ax.set_yticklabels([f"{weight:g}" for weight in SCALE], fontsize=7)
    scale.outline.set_visible(False)
    scale.ax.set_title("weight", fontsize=7)
    if title:
        figure.suptitle(title, fontsize=10)
    _save(figure, path)


def _figure(width, height, rows=1, columns=1):
    # Avoid pyplot, which keeps every figure in a global list and may need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure, path):
    with atomic_write(Path(path)) as file:
        figure.savefig(file, format="png")
