"""The ladder: the same product in every step from three Python loops to the kernel in use."""

from benchmarks.peers import Side
from benchmarks.results import Row, Section

# Measure rungs in the interpreter on smaller matrices. Their speed hardly depends on the size.
SIZES = {"Python loops": 64, "NumPy broadcasting": 256, "NumPy row by row": 256}
SIZE, QUICK_SIZE = 1024, 256


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
