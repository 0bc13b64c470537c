"""The two limits of the machine, measured first: multiply-adds a second, and bytes a second."""

from benchmarks.results import Row, Section
from benchmarks.with_numpy import openblas_kernel


def limits(context):
    """Multiply-adds between registers (GFLOP/s), and reads of memory or the L2 cache (GB/s)."""
    section = Section("limits", "The limits of this machine", "GFLOP/s or GB/s", True)
    context.blas_kernel = openblas_kernel()
    seconds = 0.1 if context.quick else 0.5
    call = context.arena.call
    peaks, memory, cache = {}, {}, {}  # the last two: threads -> GB/s
    side = context.minillm(1)
    facts = call(side, "info")
    if facts is None or "instruction set" not in facts:
        section.notes.append("the C extension isn't built: no limits, and NumPy computes")
        return section
    for threads in context.threads:
        side = context.minillm(threads)
        context.fma_peak[threads] = call(side, "fma_peak", seconds=seconds)
        memory[threads] = call(side, "read_bandwidth", seconds=seconds)
        cache[threads] = call(side, "read_bandwidth", megabytes=1 * threads, seconds=seconds / 2)
    for instruction_set in facts["supported"]:
        peaks[instruction_set] = call(context.minillm(1), "fma_peak", seconds=seconds / 2,
                                      instruction_set=instruction_set)
    context.wide_vectors_pay = peaks.get("avx512", 0) > 1.5 * peaks.get("avx2", peaks["baseline"])

    def by_threads(numbers):
        return {_threads(n): value for n, value in numbers.items()}

    section.add(Row("multiply-adds, GFLOP/s", by_threads(context.fma_peak),
                    details={"by instruction set, 1 thread": peaks}))
    section.add(Row("reading memory, GB/s", by_threads(memory)))
    section.add(Row("reading L2, GB/s", by_threads(cache)))
    most = context.most_threads
    if context.fma_peak[most] < 0.8 * most * max(peaks.values()):
        section.notes.append(f"{most} threads reach less than {most} times the peak of one: other "
                             "programs use the cores, and no number with threads means much now")
    section.notes.append("1 thread, GFLOP/s: " + ", ".join(
        f"{name} {peak:.0f}" for name, peak in peaks.items()))
    section.notes.append(f"NumPy's OpenBLAS chose its kernels for {context.blas_kernel}")
    return section


def _threads(n):
    return f"{n} thread{'s' if n > 1 else ''}"
