"""Plots of the results. Each function draws one section and returns a Figure, or None without data.

A color stands for the same competitor in all plots; gray is the limit of the machine.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the backend)
import numpy as np  # noqa: E402
from matplotlib.path import Path  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from matplotlib.transforms import Bbox  # noqa: E402

from benchmarks.results import FMA_BOUND  # noqa: E402

COLOURS = {"minillm": "#d1495b", "NumPy": "#30638e", "PyTorch": "#edae49",
           "NumPy (Haswell)": "#8fb3cf", "NumPy (SkylakeX)": "#8fb3cf", FMA_BOUND: "#777777"}
PRODUCT, OTHER = "#d1495b", "#8fb3cf"


def save_all(results, folder):
    """Write a PNG for every plot that the results have data for."""
    style = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
             "axes.grid": True, "grid.color": "#e5e5e5", "axes.axisbelow": True, "figure.dpi": 130,
             "axes.titlelocation": "left", "axes.titleweight": "bold"}
    with plt.rc_context(style):
        for name, draw in PICTURES.items():
            figure = draw(results)
            if figure is not None:
                figure.savefig(folder / f"{name}.png", bbox_inches="tight")
                plt.close(figure)


def ladder(results):
    """GFLOP/s of every rung beside the peak; the scale is logarithmic: five powers of ten."""
    section = results.section("ladder")
    if section is None or not section.rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(section.rows) + 1.6))
    names = [row.name for row in section.rows]
    rates = [row.values["GFLOP/s"] for row in section.rows]
    colours = [COLOURS["NumPy" if "C:" not in name else "minillm"] for name in names]
    axes.barh(range(len(names)), rates, color=colours, height=0.7)
    for i, (row, rate) in enumerate(zip(section.rows, rates)):
        threads = row.details["threads"]
        label = f"{rate:.3g}" + (f"  ({threads} threads)" if threads > 1 else "")
        axes.text(rate * 1.15, i, label, va="center", fontsize=10, zorder=3,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    for threads, peak in _limits(results, "multiply-adds, GFLOP/s").items():
        axes.axvline(peak, color="#777777", ls="--", lw=1)
        axes.text(peak * 1.06, -0.5, f"peak, {threads}", rotation=90, va="top", fontsize=8,
                  color="#555555")
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names, xlabel="GFLOP/s",
             title="From three loops to the limit of the chip: one matrix product")
    axes.set_xlim(min(rates) / 2, max(rates) * 12)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    return figure


def conflicts(results):
    """GFLOP/s over n around 1,024, for rungs that read B along its rows, its columns, and packed."""
    section = results.section("conflicts")
    if section is None or not section.rows:
        return None
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    n = [row.details["n"] for row in section.rows]
    for label, color, marker in zip(section.rows[0].values, ("#8fb3cf", "#d1495b", "#30638e"),
                                    "s^o"):
        axes.plot(n, [row.values.get(label, np.nan) for row in section.rows], marker=marker,
                  color=color, label=label)
    axes.set(xlabel="n", ylabel="GFLOP/s", xticks=n,
             title="n × n × n products around n = 1,024")
    axes.set_ylim(0)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    return figure


def sizes(results):
    """GFLOP/s over the size of the matrices, for every competitor."""
    section = results.section("sizes")
    if section is None or not section.rows:
        return None
    figure, axes = plt.subplots(figsize=(8, 4.6))
    for label in dict.fromkeys(label for row in section.rows for label in row.values):
        points = [(row.details["n"], row.values[label]) for row in section.rows
                  if label in row.values]
        n, rate = zip(*points)
        is_limit = label == FMA_BOUND
        axes.plot(n, rate, "--" if is_limit else "o-", color=COLOURS.get(label), label=label,
                  ms=4, lw=1.5 if is_limit else 2.2 if label == "minillm" else 1.6,
                  zorder=3 if label == "minillm" else 2)
    powers_of_two = {2**i for i in range(16)}
    ticks = [row.details["n"] for row in section.rows if row.details["n"] in powers_of_two]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.set(xlabel="n", ylabel="GFLOP/s", title="n × n × n matrix products, one thread, float32")
    axes.set_ylim(0)
    axes.legend(frameon=False, loc="lower right")
    return figure


def roofline(results):
    """Every kernel of a training step: operations a second over operations for each byte moved.

    A kernel can be no faster than the lower of two lines, the peak and bandwidth × intensity
    (Williams, Waterman and Patterson 2009, "Roofline").
    """
    section = results.section("profile")
    profiles = [] if section is None else [r for r in section.rows if r.name.endswith(": step")]
    peaks = list(_limits(results, "multiply-adds, GFLOP/s").values())
    if not profiles or not peaks:
        return None
    figure, axes = plt.subplots(figsize=(9.5, 6))
    intensity = np.logspace(-2, 3.2, 200)
    for name, style in (("reading memory, GB/s", "-"), ("reading L2, GB/s", ":")):
        bandwidth = list(_limits(results, name).values())[-1]
        axes.plot(intensity, np.minimum(peaks[-1], bandwidth * intensity), style, color="#777777",
                  label=f"{name.split(',')[0]}: {bandwidth:.0f} GB/s, peak {peaks[-1]:.0f} GFLOP/s")
    markers = "osD^"
    for profile, marker in zip(profiles, markers):
        kernels = [k for k in profile.details["kernels"] if k["flops"] and k["bytes"]]
        kernels = [k for k in kernels if k["seconds"] > 0.002 * profile.details["seconds"]]
        for is_product, colour in ((True, PRODUCT), (False, "#30638e")):
            chosen = [k for k in kernels if k["is_product"] == is_product]
            axes.scatter([k["flops"] / k["bytes"] for k in chosen],
                         [k["flops"] / k["seconds"] / 1e9 for k in chosen],
                         s=[16 + 500 * k["seconds"] / profile.details["seconds"] for k in chosen],
                         marker=marker, color=colour, alpha=0.65, edgecolor="white", zorder=3)
        axes.scatter([], [], marker=marker, color="#999999", label=profile.details["model"])
    axes.scatter([], [], color=PRODUCT, label="matmul and attention kernels")
    axes.scatter([], [], color="#30638e", label="everything else")
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte that must be moved",
             ylabel="GFLOP/s", title="Roofline: kernels of a training step (area: share of time)")
    axes.set_xlim(0.04, 1000)
    axes.set_ylim(0.1, peaks[-1] * 2)
    legend = axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    _name_kernels(axes, profiles[-1], legend)
    return figure


def _name_kernels(axes, profile, legend):
    """Join a name to the slowest kernel of each kind by a line, where it covers nothing else."""
    slowest_last = sorted(profile.details["kernels"], key=lambda k: k["seconds"])
    chosen = [k for k in {k["name"]: k for k in slowest_last}.values()
              if k["flops"] and k["seconds"] > 0.004 * profile.details["seconds"]]
    axes.figure.canvas.draw()  # before it, sizes in pixels are unknown
    points = [_box(at, np.sqrt([area, area]) * axes.figure.dpi / 72)
              for scatter in axes.collections
              for at, area in zip(axes.transData.transform(scatter.get_offsets()),
                                  scatter.get_sizes())]
    curves = [Path(axes.transData.transform(line.get_xydata())) for line in axes.get_lines()]
    names, leaders = [legend.get_window_extent()], []
    for kernel in chosen:
        xy = kernel["flops"] / kernel["bytes"], kernel["flops"] / kernel["seconds"] / 1e9
        name = kernel["name"].replace(" kernel", "").split(": ")[-1].replace("_", " ")
        if name == "matmul":
            name = kernel["name"].split(":")[0].replace("_", " ")
        label = axes.annotate(name, xy, xytext=(0, 0), textcoords="offset pixels", fontsize=8,
                              ha="center", va="center", color="#333333",
                              arrowprops={"arrowstyle": "-", "color": "#888888", "lw": 0.8})
        size = np.array(Text.get_window_extent(label).size) + 6
        start, least = axes.transData.transform(xy), np.inf
        for offset in _offsets_by_distance(size):
            box, leader = _box(start + offset, size), Path([start, start + offset])
            if axes.bbox.count_contains(box.corners()) < 4:
                continue
            faults = (100 * box.count_overlaps(names) + 10 * box.count_overlaps(points)
                      + sum(path.intersects_bbox(box, filled=False) for path in curves + leaders)
                      + sum(leader.intersects_bbox(other) for other in names)
                      + sum(leader.intersects_path(other) for other in leaders))
            if faults < least:
                least, place = faults, (offset, box, leader)
            if faults == 0:
                break
        offset, box, leader = place
        label.set_position(offset)
        names.append(box)
        leaders.append(leader)


def _box(middle, size):
    return Bbox.from_bounds(*(np.asarray(middle) - np.asarray(size) / 2), *size)


def _offsets_by_distance(size):
    """Yield places around a point for a label of this size, the nearest first, in pixels."""
    angles = np.radians(np.arange(0, 360, 10))
    for distance in range(20, 240, 6):
        for angle in angles:
            direction = np.array([np.cos(angle), np.sin(angle)])
            yield direction * (distance + size / 2)


def attention_lengths(results):
    """Time and memory of every rung of attention over T: squares against straight lines."""
    section = results.section("lengths")
    if section is None or not section.rows or not section.rows[-1].values:
        return None
    figure, both = plt.subplots(1, 2, figsize=(11, 4.6))
    rungs = list(dict.fromkeys(label.rsplit(":", 1)[0] for row in section.rows
                               for label in row.values))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.75, max(len(rungs) - 1, 1)))
    for axes, unit, title in ((both[0], "ms", "time"), (both[1], "MB", "memory")):
        for i, rung in enumerate(rungs):
            points = [(row.details["T"], row.values[f"{rung}: {unit}"]) for row in section.rows
                      if row.values.get(f"{rung}: {unit}", 0) > 0]
            if points:
                last = i == len(rungs) - 1
                axes.loglog(*zip(*points), "o-", ms=4, label=rung, lw=2.4 if last else 1.6,
                            color=COLOURS["minillm"] if last else colours[i])
        T = np.array([row.details["T"] for row in section.rows], float)
        if unit == "MB":
            whole = 12 * T**2 * 4 / 1e6
            axes.loglog(T, whole, "--", color="#777777", lw=1, label="12 T × T matrices")
            axes.loglog(T, 12 * 64 * T * 4 / 1e6, ":", color="#777777", lw=1,
                        label="the result alone")
        axes.set_xscale("log", base=2)
        axes.set_xticks(T, [f"{int(t)}" for t in T])
        axes.set(xlabel="T", ylabel=unit, title=f"Attention over T: {title}")
        axes.legend(frameon=False, fontsize=8.5)
    return figure


def step_by_op(results):
    """Where the time of a training step goes: one bar for each op, for every model measured."""
    section = results.section("profile")
    profiles = [] if section is None else [r for r in section.rows if r.name.endswith(": step")]
    if not profiles:
        return None
    heights = [sum(_share(p, part) >= 0.8 for part in p.details["parts"]) for p in profiles]
    figure, all_axes = plt.subplots(len(profiles), 1, squeeze=False,
                                    figsize=(9, 0.29 * sum(heights) + 1.1 * len(profiles)),
                                    gridspec_kw={"height_ratios": heights})
    for axes, profile in zip(all_axes[:, 0], profiles):
        parts = [part for part in profile.details["parts"] if _share(profile, part) >= 0.8]
        shares = [_share(profile, part) for part in parts]
        axes.barh(range(len(parts)), shares, height=0.72,
                  color=[PRODUCT if part["is_product"] else OTHER for part in parts])
        for i, (part, share) in enumerate(zip(parts, shares)):
            rate = ""
            if part["is_product"]:
                rate = f", {part['flops'] / part['seconds'] / 1e9:.0f} GFLOP/s"
            axes.text(share + 0.4, i, f"{part['seconds'] * 1e3:.3g} ms{rate}", va="center",
                      fontsize=8)
        products = sum(_share(profile, p) for p in profile.details["parts"] if p["is_product"])
        axes.set_title(f"{profile.details['model']}: {profile.details['seconds'] * 1e3:.0f} ms, "
                       f"{products:.0f} % of it in matmul and attention kernels (red)",
                       fontsize=10.5)
        axes.set_yticks(range(len(parts)), [part["name"] for part in parts], fontsize=8.5)
        axes.set_xlim(0, max(shares) * 1.25)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    all_axes[-1, 0].set_xlabel("% of the step")
    figure.tight_layout()
    return figure


def _share(profile, part):
    return 100 * part["seconds"] / profile.details["seconds"]


def _limits(results, name):
    """-> {"1 thread": …, "2 threads": …}"""
    section = results.section("limits")
    rows = {} if section is None else {row.name: row for row in section.rows}
    return rows[name].values if name in rows else {}


PICTURES = {"ladder": ladder, "conflicts": conflicts, "sizes": sizes, "roofline": roofline,
            "attention": attention_lengths, "step_by_op": step_by_op}
