"""Causal attention: against PyTorch's fused kernel, and over the length of the sequence."""

from benchmarks.results import FMA_BOUND, Row, Section, from_timings

SHAPES = [(1, 12, 1024, 64), (12, 6, 256, 64), (4, 12, 64, 64)]


def attention(context):
    section = Section("attention", "Causal attention (B, H, T, D)", "ms", False)
    for backward in (False, True):
        for B, H, T, D in SHAPES:
            arguments = {"B": B, "H": H, "T": T, "D": D, "backward": backward}
            for threads in context.threads[-1:] if context.quick else context.threads:
                sides = [context.minillm(threads), context.torch(threads)]
                timings = context.arena.measure("attention", arguments, sides)
                # Q Kᵀ and weights V, 2 operations each, for the lower half of the (T, T) pairs;
                # the backward has five such products, for S, dV, dW, dQ and dK.
                flops = B * H * T * (T + 1) / 2 * D * 4 * (3.5 if backward else 1)
                what = "forward + backward" if backward else "forward"
                row = from_timings(f"{B, H, T, D} {what}, {threads}t", timings, scale=1e3,
                                   flops=flops, threads=threads)
                if threads in context.fma_peak:
                    row.values[FMA_BOUND] = flops / context.fma_peak[threads] / 1e6
                wanted = [(f"attention {what}", "minillm", "PyTorch", 2.0)]
                section.add(row, *(wanted if threads == context.most_threads else []))
    section.notes.append("PyTorch: scaled_dot_product_attention; FMA bound: the products alone, at "
                         "the peak, without any softmax")
    return section


def attention_lengths(context):
    """Time and memory of each rung over T, for (1, 12, T, 64): does it hold the whole matrix?"""
    section = Section("lengths", "Attention over T: (1, 12, T, 64), forward", "ms / MB", False)
    side = context.minillm(context.most_threads)
    rungs = context.arena.call(side, "attention_rungs") or []
    lengths = (64, 128, 256, 512) if context.quick else (128, 256, 512, 1024, 2048, 4096)
    for T in lengths:
        shape = {"B": 1, "H": 12, "T": T, "D": 64}
        values, spreads = {}, {}
        for rung in rungs:
            arguments = {"rung": rung, **shape}
            if rung.startswith(("Python", "naive")) or T > 2048 and "stream" not in rung.lower():
                continue
            timings = context.arena.measure("attention_rung", arguments, [side])
            memory = context.arena.memory("attention_rung", arguments, [side],
                                          warm_up={**arguments, "T": 16})
            if side.label not in timings or side.label not in memory:
                continue
            values[f"{rung}: ms"] = timings[side.label].median * 1e3
            spreads[f"{rung}: ms"] = timings[side.label].spread
            used = memory[side.label]
            values[f"{rung}: MB"] = (used["peak"] - used["before"]) / 1e6
        if values:
            section.add(Row(f"T={T}", values, spreads, details={"T": T}))
    section.notes.append("MB: how far the process's memory rises during the call, result included")
    return section
