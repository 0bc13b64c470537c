"""All that a training and a generation will cost, before they run."""

import math
import tracemalloc
from dataclasses import dataclass, field, replace

import numpy as np

from minillm.hardware import available_cores, available_memory
from minillm.ops.orthogonalize import STEPS
from minillm.trust.cost import calibration
from minillm.trust.cost.step import StepCost
from minillm.trust.cost.workloads import (
    default_workload,
    random_batches,
    workload_of,
    workloads_of_run,
)

# Where nothing can be measured: the power of one busy core of a server with its share of the memory
# and the rest. 100 to 350 W for 16 to 64 cores, as processors of the last years are specified.
WATTS_PER_CORE = 10.0
PROMPT, NEW = 32, 100  # tokens, as far as the model has positions
JOULES_PER_KWH = 3.6e6


@dataclass
class Plan:
    """What will be trained: `steps` steps of `accumulate` batches like `workloads`."""

    config: object
    head: str
    workloads: list
    steps: int
    accumulate: int = 1
    evaluations: int = 0
    checkpoints: int = 0
    run: object = None  # whose batches are measured; None: random ones are
    data: int = 0  # bytes of the examples and the tokenizer, as Python's objects
    optimizer: str = "adamw"
    muon_steps: int = STEPS

    def __post_init__(self):
        by_tokens = sorted(self.workloads, key=lambda work: work.tokens)
        # All costs are of the median batch, but the memory is of the largest.
        how = {"optimizer": self.optimizer, "muon_steps": self.muon_steps}
        self.cost = StepCost(self.config, self.head, by_tokens[len(by_tokens) // 2], **how)
        self.largest = StepCost(self.config, self.head, by_tokens[-1], self.cost.model, **how)

    @property
    def flops(self):
        """Of a step: the mean of all batches, and the update of the weights"""
        each = [StepCost(self.config, self.head, work, self.cost.model).flops
                for work in set(self.workloads)]
        counts = [self.workloads.count(work) for work in set(self.workloads)]
        batches = self.accumulate * float(np.average(each, weights=counts))
        return batches + self.cost.update_flops

    @property
    def tokens(self):
        """Of a step, padding included"""
        return self.accumulate * float(np.mean([work.tokens for work in self.workloads]))


def plan_of_config(config, head, *, batch=16, length=128, steps=1000, recompute=False,
                   **optimizer):
    """-> Plan of a new model; optimizer: the fields of a Plan that say which one it is"""
    limit = config.position_limit
    length = length if limit is None else min(length, limit)
    work = default_workload(config, head, batch, length)
    return Plan(config, head, [replace(work, recompute=recompute)], steps, **optimizer)


def plan_of_run(run, data=0):
    """-> Plan of a training.run.Run; data: see `bytes_of_data`"""
    settings = run.settings

    def times(every):
        return math.ceil(settings.steps / every)

    workloads = [replace(work, recompute=settings.recompute) for work in workloads_of_run(run)]
    return Plan(run.config, run.task_class.head, workloads, settings.steps,
                settings.grad_accum, 1 + times(settings.eval_every),
                times(settings.checkpoint_every), run, data, settings.optimizer,
                settings.muon_steps)


def bytes_of_data(run):
    """-> bytes that a run's examples take in memory, by loading them; a text stays in its file"""
    if tracemalloc.is_tracing():
        return 0
    tracemalloc.start()
    try:
        task = run.task()
        batches = task.batches(run.settings)
        workload_of(task, next(batches), run.config)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@dataclass
class Times:
    """Seconds; and where they are from."""

    step: float
    whole: float
    prompt: float | None = None
    token: float | None = None
    watts: float | None = None  # measured during the calibration
    source: str = ""
    rates: dict = field(default_factory=dict)
    busy: bool = False  # whether other programs ran during the calibration


def times_by_rate(plan, flops_per_second, source="the rate that was given"):
    """-> Times if all operations run at one rate, and the memory is never waited for"""
    step = plan.flops / flops_per_second
    prompt, token = None, None
    if plan.cost.generates:
        n, new, source_length = generated_lengths(plan)
        prompt = plan.cost.prompt(n).forward_flops / flops_per_second
        token = plan.cost.token(n + new // 2, source=source_length).forward_flops / flops_per_second
    return Times(step, step * plan.steps, prompt, token, source=source)


def measured_times(plan, again=False):
    """-> Times by a calibration of this machine: some seconds, unless it is remembered"""
    key = {"config": plan.config.to_dict(), "head": plan.head}
    if plan.run is None:
        work = plan.workloads[0]
        how = {} if plan.optimizer == "adamw" else {"optimizer": plan.optimizer,
                                                    "muon_steps": plan.muon_steps}
        found = calibration.remembered(
            {**key, "workload": str(work), **how}, lambda: calibration.measure_training(
                plan.config, plan.head, random_batches(plan.config, plan.head, work), **how), again)
        step = plan.accumulate * found["step"]
        whole = plan.steps * step + plan.evaluations * found["forward"]
    else:
        found = calibration.remembered(
            {**key, "settings": plan.run.settings.to_dict(), "data": plan.run.data},
            lambda: calibration.measure_run(plan.run), again)
        step = found["step"]
        whole = (plan.steps * step + plan.evaluations * found["evaluation"]
                 + plan.checkpoints * found["checkpoint"])
    times = Times(step, whole, watts=found["watts"],
                  source=f"measured on this machine at {found['date']}, load {found['load']}",
                  busy=(found["load"] or 0) > available_cores())
    if plan.cost.generates:
        n, new, _ = generated_lengths(plan)
        generating = calibration.remembered(
            {**key, "prompt": n, "past": n + new // 2}, lambda: calibration.measure_generating(
                plan.config, plan.head, n, n + new // 2), again)
        times.prompt, times.token = generating["prompt"], generating["token"]
    times.rates = rates(plan, again)
    return times


def rates(plan, again=False):
    """-> GFLOP/s of matrix products and attention at the model's shapes; the machine's limits"""
    block, work = plan.cost._block(), plan.cost.workload
    attention = block.attention
    shape = {"width": attention.d_model, "d_ff": block.feed_forward.contract.weight.shape[0],
             "tokens": work.batch * work.length, "heads": attention.n_heads, "length": work.length}
    return calibration.remembered({"rates": shape},
                                  lambda: calibration.measure_rates(**shape), again)


def generated_lengths(plan):
    """-> the tokens of a prompt, of what is written after it, and of a decoder's source"""
    limit = plan.config.position_limit or PROMPT + NEW
    if plan.head == "seq2seq_lm":
        source = plan.cost.workload.source
        return source, min(NEW, limit - 1), source
    prompt = min(PROMPT, max(1, limit // 4))
    return prompt, min(NEW, limit - prompt), 0


@dataclass
class Energy:
    """Joules of `seconds` at `watts`; `source` says whether these were measured."""

    seconds: float
    watts: float
    source: str
    grams_per_kwh: float | None = None  # of CO₂, from where the electricity comes

    @property
    def joules(self):
        return self.seconds * self.watts

    @property
    def grams(self):
        if self.grams_per_kwh is None:
            return None
        return self.joules / JOULES_PER_KWH * self.grams_per_kwh


def energy(seconds, cores, watts=None, measured=None, grams_per_kwh=None):
    """-> Energy: at `watts`, if given; as measured; or an estimate by WATTS_PER_CORE"""
    if watts is not None:
        return Energy(seconds, watts, f"an estimate, from the {watts:g} W that were given",
                      grams_per_kwh)
    if measured is not None:
        return Energy(seconds, measured, f"from {measured:.0f} W, measured (RAPL) during the "
                                         "calibration, everything on the machine included",
                      grams_per_kwh)
    watts = WATTS_PER_CORE * cores
    return Energy(seconds, watts, f"an estimate, not a measurement: {WATTS_PER_CORE:g} W for each "
                                  f"of {cores} cores; --watts sets another figure", grams_per_kwh)


def memory_to_use():
    """-> bytes that a training on this machine can get; None if the system doesn't tell"""
    return available_memory()
