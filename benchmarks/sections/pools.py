"""Threads: the gain of a second thread, and the interference of NumPy's thread pool."""

from benchmarks.results import Section, from_timings


def pools(context):
    section = Section("threads", "Threads", "GFLOP/s", True)
    if context.most_threads == 1:
        section.notes.append("one core: nothing to measure")
        return section
    # One process with two threads each for minillm and NumPy: alone, or right after NumPy's matmul.
    threads = context.most_threads
    sides = [context.minillm(threads, f"{threads} threads", after_numpy=False),
             context.minillm(threads, f"{threads} threads, after NumPy", after_numpy=True),
             context.minillm(1, "1 thread", after_numpy=False),
             context.minillm(1, "1 thread, after NumPy", after_numpy=True)]
    for n in (128, 512) if context.quick else (64, 128, 256, 512, 1024):
        timings = context.arena.measure("matmul_after", {"n": n}, sides)
        section.add(from_timings(f"{n}³", timings, amount=2 * n**3, scale=1e-9),
                    ("never slower with threads", sides[0].label, "1 thread", 0.95),
                    ("after NumPy not slower than one thread", sides[1].label, sides[3].label, 0.95))
    section.notes.append("after NumPy: NumPy's threads have just finished a product of their own")
    return section
