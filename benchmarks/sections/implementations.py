"""The three implementations of the kernels on the same small work: naive, NumPy and C."""

from benchmarks.peers import Side
from benchmarks.results import Section, from_timings

# Small, because the naive one takes about 50 ns per multiply-add.
WORK = [
    ("matmul 64³", "matmul", {"M": 64, "N": 64, "K": 64}),
    ("attention (1, 2, 32, 16), forward + backward", "attention",
     {"B": 1, "H": 2, "T": 32, "D": 16, "backward": True}),
    ("block, d=32, B=1, T=16, forward + backward", "layer",
     {"kind": "block", "B": 1, "T": 16, "d": 32, "n_head": 2}),
    ("training step: 2 layers, d=32, B=2, T=16, V=65", "train_step",
     {"n_layer": 2, "n_embd": 32, "n_head": 2, "B": 2, "T": 16, "V": 65}),
    ("training step: 4 layers, d=128, B=12, T=64, V=65", "train_step",
     {"n_layer": 4, "n_embd": 128, "n_head": 4, "B": 12, "T": 64, "V": 65}),
]


def implementations(context):
    section = Section("implementations", "Naive, NumPy and C, one thread", "ms", False)
    sides = [Side("minillm", "minillm", 1, (("MINILLM_KERNELS", "c"),)),
             Side("on NumPy", "minillm", 1, (("MINILLM_KERNELS", "numpy"),)),
             Side("naive", "minillm", 1, (("MINILLM_KERNELS", "naive"),))]
    for name, case, arguments in WORK:
        is_large = arguments.get("n_embd") == 128
        timings = context.arena.measure(case, arguments, sides[:2] if is_large else sides)
        section.add(from_timings(name, timings, scale=1e3))
    section.notes.append("the naive kernels would need a minute or more for the last row")
    return section
