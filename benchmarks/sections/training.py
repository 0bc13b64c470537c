"""Training steps: time against PyTorch, memory, and the time by op."""

from benchmarks.cases import TRAINING_SHAPES, step_operations
from benchmarks.harness import Effort
from benchmarks.programs import LlmC
from benchmarks.results import FMA_BOUND, Goal, Row, Section, from_timings

LONG = Effort("full", min_rounds=5, max_rounds=21, seconds=20, sample_seconds=0.1)
WANTED = {"4 layers, d=128": 2.0, "6 layers, d=384": 2.0, "GPT-2 124M": 2.2}


def train_steps(context):
    section = Section("train", "Training step: zero_grad, forward, backward, clip, AdamW", "ms",
                      False)
    threads = context.most_threads
    for name in models(context):
        sides = [context.minillm(threads),
                 context.minillm(threads, "minillm on NumPy", implementation="numpy"),
                 context.torch(threads)]
        if not context.quick:
            sides.append(context.torch(threads, "PyTorch compiled", compiled=True))
        beside = context.llm_c and TRAINING_SHAPES[name] is LlmC.shape
        llm_c = LlmC(context.llm_c, threads) if beside else None
        timings = context.arena.measure("train_step", TRAINING_SHAPES[name], sides,
                                        context.effort if context.quick else LONG,
                                        {LlmC.label: llm_c.seconds} if llm_c else None)
        if llm_c:
            llm_c.close()
        work = f"train step, {name}"
        operations = step_operations(**TRAINING_SHAPES[name])
        row = from_timings(describe(name), timings, scale=1e3, threads=threads, flops=operations)
        if threads in context.fma_peak:
            row.values[FMA_BOUND] = operations / context.fma_peak[threads] / 1e6
        section.add(row,
                    (work, "minillm", "PyTorch", WANTED[name]),
                    (work, "minillm", "PyTorch compiled", WANTED[name]),
                    (work, "minillm", LlmC.label, 1.0))
        context.arena.release()  # the models are large
    section.notes.append("FMA bound: what the matrix products and attention alone would take at "
                         "the peak; no float32 program can be faster")
    if context.llm_c and not context.quick:
        section.notes.append("llm.c: its own train_gpt2, stopped between its turns; it doesn't clip "
                             "gradients")
    if context.quick:
        section.notes.append("--quick: the smallest model only, and without torch.compile"
                             + " and llm.c" * bool(context.llm_c))
    return section


def models(context):
    return list(TRAINING_SHAPES)[: 1 if context.quick else None]


def describe(name):
    shape = TRAINING_SHAPES[name]
    return f"{name}, B={shape['B']}, T={shape['T']}, V={shape['V']}"


def train_memory(context):
    section = Section("memory", "Memory of a training step, at its highest", "MB", False)
    threads = context.most_threads
    for name in models(context):
        sides = [context.minillm(threads), context.torch(threads)]
        used = context.arena.memory("train_step", TRAINING_SHAPES[name], sides, calls=3)
        work = "memory of the train step" if name == "GPT-2 124M" else None
        with_library = {label: m["peak"] / 1e6 for label, m in used.items()}
        without = {label: (m["peak"] - m["imported"]) / 1e6 for label, m in used.items()}
        section.add(Row(f"{describe(name)}: whole process", with_library))
        section.add(Row(f"{describe(name)}: without the libraries", without),
                    *([(work, "minillm", "PyTorch", 1.0)] if work else []))
    if not context.quick:
        _add_ways(context, section)
    section.notes.append("three steps in a new process; the resident set as the system counts it")
    return section


def _add_ways(context, section):
    """A row of GPT-2 124M on long texts, with all that less memory can be had by."""
    threads, shape = context.most_threads, {**TRAINING_SHAPES["GPT-2 124M"], "T": 1024}
    sides = [
        context.minillm(threads, "minillm", in_chunks=False),
        context.minillm(threads, "minillm, loss in chunks", in_chunks=True),
        context.minillm(threads, "minillm, recompute", in_chunks=False, recompute=True),
        context.minillm(threads, "minillm, both", in_chunks=True, recompute=True),
        context.torch(threads),
        context.torch(threads, "PyTorch, checkpoint", checkpoint=True),
    ]
    used = context.arena.memory("train_step", shape, sides, calls=2)
    section.add(Row(f"GPT-2 124M, B={shape['B']}, T=1024, V={shape['V']}: whole process, two steps",
                    {label: m["peak"] / 1e6 for label, m in used.items()}))


def step_profiles(context):
    """The time of a training step by op, with the work and memory traffic of each kernel."""
    section = Section("profile", "Where a training step's time goes", "ms", False)
    for name in models(context):
        side = context.minillm(context.most_threads)
        found = context.arena.call(side, "step_profile", steps=2 if context.quick else 5,
                                   **TRAINING_SHAPES[name])
        context.arena.release()
        if found is None:
            continue
        seconds = found["seconds"]
        products = sum(part["seconds"] for part in found["parts"] if part["is_product"])
        section.add(Row(f"{name}: step", {"ms": seconds * 1e3, "% of step": 100.0},
                        details={"model": name, **found}))
        row = section.add(Row(f"{name}: matmul + attention kernels",
                              {"ms": products * 1e3, "% of step": 100 * products / seconds},
                              details={"model": name}))
        if name == "6 layers, d=384":
            row.goals.append(Goal("share of matmul and attention, d=384", "whole step", 0.8,
                                  products / seconds))
        for part in found["parts"]:
            values = {"ms": part["seconds"] * 1e3,
                      "% of step": 100 * part["seconds"] / found["seconds"]}
            if part["flops"]:
                values["GFLOP/s"] = part["flops"] / part["seconds"] / 1e9
                values["flop/byte"] = part["flops"] / part["bytes"]
            section.add(Row(f"{name}: {part['name']}", values, details={"model": name}))
    return section
