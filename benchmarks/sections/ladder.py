"""The ladder: the same product in every step from three Python loops to the kernel in use; and
what happens to two of its steps when the rows of a matrix are a power of two apart."""

from benchmarks.peers import Side
from benchmarks.results import Row, Section

# Measure rungs in the interpreter on smaller matrices. Their speed hardly depends on the size, as
# long as the array of products of broadcasting fits into the cache.
SIZES = {"Python loops": 64, "NumPy broadcasting": 250, "NumPy row by row": 250}
# At these sizes B is larger than most L2 caches, and its rows aren't a power of two apart.
SIZE, QUICK_SIZE = 1500, 750
# n near 1,024: there, and only there, all rows of a column of B compete for one set of L1.
CONFLICT_SIZES = 1000, 1008, 1016, 1024, 1032, 1040, 1048
QUICK_CONFLICT_SIZES = 1016, 1024, 1032
CONFLICT_RUNGS = ("C: cache-blocked", "C: register-tiled", "C: packed")


def ladder(context):
    section = Section("ladder", "The ladder of matmul", "GFLOP/s", True)
    rungs = context.arena.call(context.minillm(context.most_threads), "matmul_rungs") or []
    size = QUICK_SIZE if context.quick else SIZE
    for rung in rungs:
        n = SIZES.get(rung, SIZE) * size // SIZE
        threads = context.most_threads if rung == rungs[-1] else 1
        side = Side("GFLOP/s", "minillm", threads)
        timings = context.arena.measure("matmul_rung", {"rung": rung, "n": n}, [side])
        if "GFLOP/s" not in timings:
            continue
        timing = timings["GFLOP/s"]
        values = {"GFLOP/s": 2 * n**3 / timing.median / 1e9}
        if threads in context.fma_peak:
            values["% of peak"] = 100 * values["GFLOP/s"] / context.fma_peak[threads]
        section.add(Row(rung, values, {"GFLOP/s": timing.spread},
                        details={"n": n, "threads": threads}))
        values["n"] = n
        values["threads"] = threads
    section.notes.append("the peak is that of as many threads as the rung uses; n: size of the "
                         "matrices (smaller for rungs that run in the interpreter)")
    return section


def conflicts(context):
    """GFLOP/s of three rungs over n, around a power of two."""
    section = Section("conflicts", "Rows a power of two apart: rungs by size", "GFLOP/s", True)
    side = context.minillm(1)
    existing = context.arena.call(side, "matmul_rungs") or []
    rungs = [rung for rung in CONFLICT_RUNGS if rung in existing]
    for n in QUICK_CONFLICT_SIZES if context.quick else CONFLICT_SIZES:
        values, spreads = {}, {}
        for rung in rungs:
            timings = context.arena.measure("matmul_rung", {"rung": rung, "n": n}, [side])
            if side.label in timings:
                timing = timings[side.label]
                values[rung] = 2 * n**3 / timing.median / 1e9
                spreads[rung] = timing.spread
        if values:
            section.add(Row(f"n={n}", values, spreads, details={"n": n}))
    section.notes.append("with n = 1,024 a row of B starts 4,096 bytes after the last one, so a "
                         "column of B lies in one set of the L1 cache")
    return section
