"""Layers, forward and backward: the time around the matrix products."""

from benchmarks.cases import TRAINING_SHAPES
from benchmarks.results import Section, from_timings

KINDS = {"linear": "linear (d, 4d)", "layer_norm": "layer norm", "gelu": "GELU (tanh)",
         "embedding": "embedding", "attention": "multi-head attention", "block": "block",
         "cross_entropy": "cross-entropy"}


def layers(context):
    section = Section("layers", "Layers, forward + backward", "ms", False)
    threads = context.most_threads
    for model in list(TRAINING_SHAPES)[: 1 if context.quick else None]:
        shape = TRAINING_SHAPES[model]
        for kind, name in KINDS.items():
            arguments = {"kind": kind, "B": shape["B"], "T": shape["T"], "d": shape["n_embd"],
                         "V": shape["V"], "n_head": shape["n_head"]}
            if kind == "gelu":
                arguments["d"] *= 4  # its width in the model
            _measure(section, context, "layer", arguments, f"{name}, {model}", threads)
    _measure(section, context, "adamw", {"size": 1_000_000 if context.quick else 38_000_000},
             "AdamW step, 1M" if context.quick else "AdamW step, 38M", threads)
    section.notes.append(f"{threads} threads; the shapes are those of the training steps")
    return section


def _measure(section, context, case, arguments, name, threads):
    timings = context.arena.measure(case, arguments, [context.minillm(threads),
                                                      context.torch(threads)])
    section.add(from_timings(name, timings, scale=1e3, threads=threads))
