"""Results on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table



def section_table(section):
    """-> Table with a line for each row of the section, and a column for each competitor

    Beside a competitor's number stands how many times better minillm is, and in the last column how
    far the quartiles of the most restless competitor are from its median.
    """
    columns = list(dict.fromkeys(label for row in section.rows for label in row.values))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for label in columns:
        table.add_column(label, justify="right")
    table.add_column("±", justify="right", style="dim")
    for row in section.rows:
        cells = []
        for label in columns:
            ratio = section.ratio(row, "minillm", label) if label != "minillm" else None
            times = "" if ratio is None else f" [cyan]{ratio:.2f}×[/]"
            cells.append(_number(row.values.get(label)) + times)
        spread = max(row.spreads.values(), default=None)
        cells.append("" if spread is None else f"{50 * spread:.0f}%")
        table.add_row(row.name, *cells)
    return table


def goals_table(results):
    """-> Table with a line for each kind of work: its goal, and the worst of its rows

    `possible` is what the chip's peak of multiply-adds, or the memory, would allow in that worst row.
    """
    table = Table(title="Wanted and measured (the worst row of each kind of work)",
                  title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    numbers = ("wanted", "worst", "possible", "median")
    for name in ("work", "against", *numbers, "met", "worst row"):
        table.add_column(name, justify="right" if name in numbers else "left")
    for goal in summarize_goals(results):
        style = None if goal["worst"] >= goal["wanted"] else "yellow"
        table.add_row(goal["work"], goal["against"], f"{goal['wanted']:.2f}×",
                      f"{goal['worst']:.2f}×",
                      "" if goal["possible"] is None else f"{goal['possible']:.2f}×",
                      f"{goal['median']:.2f}×",
                      f"{goal['met']} of {goal['rows']}", goal["worst row"], style=style)
    return table


def summarize_goals(results):
    """-> list of dicts, most missed goal first"""
    groups = {}
    for section in results.sections:
        for row in section.rows:
            for goal in row.goals:
                groups.setdefault((goal.work, goal.against), []).append((goal, row.name))
    summary = []
    for (work, against), found in groups.items():
        found.sort(key=lambda pair: pair[0].reached)
        worst, name = found[0]
        summary.append({
            "work": work, "against": against, "wanted": worst.ratio, "worst": worst.measured,
            "possible": worst.possible,
            "median": found[len(found) // 2][0].measured, "rows": len(found),
            "met": sum(goal.reached >= 1 for goal, _ in found), "worst row": name,
        })
    return sorted(summary, key=lambda goal: goal["worst"] / goal["wanted"])


def compare(before, after):
    """-> Table of ratios: how many times better `after` is, for every number both runs have"""
    table = Table(title="How many times better the second run is", title_justify="left",
                  title_style="bold", box=SIMPLE_HEAD)
    for name in ("section", "row", "competitor", "first", "second", "ratio"):
        table.add_column(name, justify="right" if name in ("first", "second", "ratio") else "left")
    for section, row, label, a, b, ratio in comparisons(before, after):
        noise = max(row.spreads.get(label, 0), 0.02)
        style = "green" if ratio > 1 + noise else "red" if ratio < 1 - noise else None
        table.add_row(section.key, row.name, label, _number(a), _number(b), f"{ratio:.2f}",
                      style=style)
    return table


def comparisons(before, after):
    """Yield (section, row, competitor, first, second, ratio); a ratio above 1 is an improvement."""
    for section in after.sections:
        other = before.section(section.key)
        rows = {} if other is None else {row.name: row for row in other.rows}
        for row in section.rows:
            if row.name not in rows:
                continue
            for label, b in row.values.items():
                a = rows[row.name].values.get(label)
                if a and b:
                    yield section, row, label, a, b, b / a if section.higher_is_better else a / b


def machine_lines(machine):
    """-> a few lines about the machine"""
    kernels, blas = machine["kernels"], machine["blas"]
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    packages = machine["packages"].items()
    versions = ", ".join(f"{name} {number}" for name, number in packages if number)
    return [
        f"{machine['cpu']}, {machine['cores']} cores, {caches}, {machine['memory_gb']} GB",
        f"minillm: {kernels['implementation']}, {kernels.get('instruction set', 'no C')}, "
        f"{kernels.get('compiler', '')}; commit {machine['commit']}",
        f"NumPy's BLAS: {blas['name']} {blas['version']}, kernels for {blas['kernel']}",
        f"{versions}; Python {machine['python']}; load {machine['load']}; {machine['date']}",
    ]


def _number(value):
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
