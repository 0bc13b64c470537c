"""Matrix products: squares, every shape of a GPT-2 training step, and matrix times vector."""

from benchmarks.results import FMA_BOUND, Section, from_timings

# C -> rows of the activations in the training shapes of cases.py
STEP_ROWS = {128: 12 * 64, 384: 12 * 256, 768: 4 * 64}
VOCABULARY = 50257


def shapes(quick):
    """-> list of (name, M, N, K, transpose_A, transpose_B)"""
    rows = [(f"{n}³", n, n, n, False, False) for n in (64, 128, 256, 512, 1024)]
    for C, N in STEP_ROWS.items():
        if quick and C != 128:
            continue
        layers = {"QKV": (C, 3 * C), "output": (C, C), "expand": (C, 4 * C), "contract": (4 * C, C)}
        for layer, (d_in, d_out) in layers.items():
            if not quick or layer == "QKV":
                rows += step_products(f"C={C} {layer}", N, d_in, d_out)
    if not quick:
        # The head's table is (V, C): its forward is a product with the transpose.
        C, N = 768, STEP_ROWS[768]
        rows += [("head A·Bᵀ", N, VOCABULARY, C, False, True),
                 ("head A·B (dx)", N, C, VOCABULARY, False, False),
                 ("head Aᵀ·B (dW)", VOCABULARY, C, N, True, False)]
    return rows


def step_products(name, N, d_in, d_out):
    """The three products of a linear layer: y = x W, dx = dy Wᵀ, dW = xᵀ dy."""
    return [(f"{name} A·B", N, d_out, d_in, False, False),
            (f"{name} A·Bᵀ (dx)", N, d_in, d_out, False, True),
            (f"{name} Aᵀ·B (dW)", d_in, d_out, N, True, False)]


def matmul(context):
    section = Section("matmul", "Matrix products", "GFLOP/s", True)
    if context.quick:
        section.notes.append("--quick: only some of the shapes of a GPT-2 step")
    for name, M, N, K, transpose_A, transpose_B in shapes(context.quick):
        arguments = {"M": M, "N": N, "K": K, "transpose_A": transpose_A, "transpose_B": transpose_B}
        for threads in context.threads:
            sides = [context.minillm(threads), context.numpy(threads),
                     *context.numpy_core_types(threads), context.torch(threads)]
            timings = context.arena.measure("matmul", arguments, sides)
            row = from_timings(f"{name}, {threads}t", timings, amount=2 * M * N * K, scale=1e-9,
                               flops=2 * M * N * K, shape=[M, N, K], threads=threads)
            add_best_and_peak(context, row, threads)
            section.add(row, *goals(context, row, threads, is_small=M * N * K < 256**3 and M == N))
    return section


def add_best_and_peak(context, row, threads):
    """Two more columns: the best of NumPy's kernels at this shape, and the peak of the chip."""
    numpys = [value for label, value in row.values.items() if label.startswith("NumPy")]
    if numpys:
        row.values["NumPy, best core type"] = max(numpys)
    if threads in context.fma_peak:
        row.values[FMA_BOUND] = context.fma_peak[threads]


def goals(context, row, threads, is_small):
    if is_small:
        return [("matmul 64³ and 128³", "minillm", "NumPy", 1.3)]
    found = [(f"matmul, {threads}t", "minillm", "NumPy", context.blas_goal()),
             (f"matmul, {threads}t", "minillm", "NumPy, best core type", 1.0)]
    if threads == 1:
        found.append(("matmul, 1t", "minillm", FMA_BOUND, 0.88))
    return found


def matrix_vector(context):
    """y = x Wᵀ for one x: each weight is read once and used once, so memory is the limit."""
    section = Section("vector", "Matrix times vector", "GB/s of weights", True)
    shapes = {"768 → 3072": (3072, 768), "3072 → 768": (768, 3072), "head": (VOCABULARY, 768)}
    if context.quick:
        shapes = {"8192 → 4096": (4096, 8192)}
        section.notes.append("--quick: one matrix that no cache holds")
    for name, (N, K) in shapes.items():
        for threads in context.threads:
            sides = [context.minillm(threads), context.numpy(threads), context.torch(threads),
                     context.minillm(threads, "only reading", only_read=True)]
            timings = context.arena.measure("matrix_vector", {"N": N, "K": K}, sides)
            size = 4 * N * K
            row = from_timings(f"{name}, {threads}t", timings, amount=size, scale=1e-9,
                               flops=2 * N * K, bytes=size, threads=threads)
            # Memory is the limit only for a matrix larger than the caches.
            wanted = [("matrix × vector", "minillm", "only reading", 0.85)] if size > 64e6 else []
            section.add(row, *wanted)
    if not context.quick:
        section.notes.append("the first two stay in the cache when they are read again and again; "
                             "in decoding, where all weights take turns, they don't. only reading: "
                             "the sum of the squares of the weights")
    return section


def sizes(context):
    """GFLOP/s of square products over their size, one thread."""
    section = Section("sizes", "Square products by size, 1 thread", "GFLOP/s", True)
    for n in (32, 64, 128, 256, 512) if context.quick else (
            16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048):
        sides = [context.minillm(1), context.numpy(1), *context.numpy_core_types(1),
                 context.torch(1)]
        timings = context.arena.measure("matmul", {"M": n, "N": n, "K": n}, sides)
        row = from_timings(f"{n}³", timings, amount=2 * n**3, scale=1e-9, n=n)
        if 1 in context.fma_peak:
            row.values[FMA_BOUND] = context.fma_peak[1]
        section.add(row)
    return section
