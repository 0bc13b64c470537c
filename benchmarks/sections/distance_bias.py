"""What positions inside causal attention cost: ALiBi, T5's relative bias, and a sliding window."""

from benchmarks.results import Section, from_timings

NONE = "none"
KINDS = {"ALiBi": "alibi", "T5": "t5", "window of 64": "window"}
# B falls as T grows, so that all rows take a similar time.
LENGTHS = {64: 16, 128: 8, 256: 4, 512: 2, 1024: 1}
HEADS, WIDTHS = 6, (32, 64)
MOST = 1.15  # times the time without


def distance_bias(context):
    section = Section("distance_bias", "Causal attention with a bias for the distance (B, H, T, D)",
                      "ms", False)
    lengths = list(LENGTHS)[::2] if context.quick else LENGTHS
    for D in WIDTHS[:1] if context.quick else WIDTHS:
        for T in lengths:
            for backward in (False, True):
                for threads in context.threads[-1:] if context.quick else context.threads:
                    section.add(*_row(context, LENGTHS[T], T, D, backward, threads))
    section.notes.append("T5's backward includes the gradient of its bias, which is learned. Goal: "
                         f"at most {MOST} times the time without a bias")
    return section


def _row(context, B, T, D, backward, threads):
    """-> Row, goal, goal"""
    arguments = {"B": B, "H": HEADS, "T": T, "D": D, "backward": backward}
    sides = [context.minillm(threads, NONE, kind="none")]
    sides += [context.minillm(threads, name, kind=kind) for name, kind in KINDS.items()]
    timings = context.arena.measure("biased_attention", arguments, sides)
    what = "backward" if backward else "forward"
    row = from_timings(f"{B, HEADS, T, D} {what}, {threads}t", timings, scale=1e3, threads=threads)
    return row, *((f"{name}, {what}", name, NONE, 1 / MOST) for name in ("ALiBi", "T5"))
