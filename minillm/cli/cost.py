"""`minillm cost`: what a training and a generation will cost, before they run."""

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

from minillm import kernels
from minillm.cli.arguments.settings import given_settings
from minillm.cli.terminal import progress_bar, say, table
from minillm.hub import find_pretrained
from minillm.models.auto import AutoConfig, config_class, head_of
from minillm.models.config import read_config
from minillm.training.architecture import new_config
from minillm.training.run import Run, create_run, model_folder, pretraining_task
from minillm.training.settings import Settings
from minillm.training.task import task_class
from minillm.trust.cost import calibration, estimate, planning

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def cost(options):
    if options.what == "plan":
        return _plan_compute(options)
    if options.what == "scale":
        from minillm.cli.scaling import scale

        return scale(options)
    if options.of_scale:
        raise ValueError(f"--{options.of_scale[0]} is for minillm cost scale")
    with _plan(options) as plan:
        report = _report(plan, options)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


# ---- what is asked about


@contextmanager
def _plan(options):
    """A context of the estimate.Plan that the options name."""
    given = given_settings(options)
    chosen = [name for name in ("config", "model", "run", "task", "text", "demo")
              if getattr(options, name)]
    if len(chosen) > 1:
        raise ValueError(f"--{chosen[0]} and --{chosen[1]} are given, wanted one of them")
    source = chosen[0] if chosen else None
    if source in ("config", "model"):
        yield _plan_of_files(options, given, source)
    elif source == "run":
        run = Run(options.run)
        run.settings = Settings(**{**run.settings.to_dict(), **given})
        yield estimate.plan_of_run(run, estimate.bytes_of_data(run))
    elif source is None:
        yield _plan_of_sizes(given)
    else:  # the batches of a text or a task are made as for a run, in a folder that goes away
        task, settings = _settings(options, given, source)
        with tempfile.TemporaryDirectory() as folder:
            with progress_bar("preparing", 100) as advance:
                run = create_run(Path(folder) / "run", settings, lambda message, share=None:
                                 advance(int(100 * (share or 0)), message), task)
            yield estimate.plan_of_run(run, estimate.bytes_of_data(run))


def _settings(options, given, source):
    """-> the name of a task, or None, and the Settings of a run that would be"""
    if source == "demo":
        from minillm.cli.training import DEMO

        return None, Settings(**{**DEMO, **given})
    if source == "text":
        return None, Settings(**{**given, "text": options.text})
    cls = task_class(options.task)
    defaults = {"model_type": getattr(cls, "model_type", "gpt2"), **getattr(cls, "defaults", {})}
    return options.task, Settings(**{**defaults, **given})


def _plan_of_files(options, given, source):
    return _plan_of_config(*config_of_files(options, source), given)


def config_of_files(options, source):
    """-> the config and the head of --config or --model, whichever `source` is"""
    if source == "config":
        path = Path(options.config)
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        if not isinstance(content, dict):
            raise ValueError(f"{options.config} is no JSON file of an object, wanted a config.json")
        config = config_class(content.get("model_type")).from_dict(content, options.config)
    else:
        folder = find_pretrained(model_folder(options.model))
        config, content = AutoConfig.from_pretrained(folder), read_config(folder)
    head = head_of(config.model_type, content.get("architectures"))
    if head == "base":
        head = "pretraining" if config.model_type == "bert" else head
    return config, head


def _plan_of_sizes(given):
    return _plan_of_config(*config_of_sizes(Settings(**given)), given)


def config_of_sizes(settings):
    """-> the config and the head of a new model that these Settings would train"""
    head = task_class(pretraining_task(settings.model_type)).head if (
        settings.model_type not in ("transformer", "marian")) else "seq2seq_lm"
    return new_config(settings, head, settings.vocab_size), head


def _plan_of_config(config, head, given):
    settings = Settings(**{name: value for name, value in given.items()
                           if name in ("batch_size", "block_size", "steps", "grad_accum",
                                       "recompute", "optimizer", "muon_steps")})
    plan = estimate.plan_of_config(config, head, batch=settings.batch_size,
                                   length=settings.block_size, steps=settings.steps,
                                   recompute=settings.recompute, optimizer=settings.optimizer,
                                   muon_steps=settings.muon_steps)
    plan.accumulate = settings.grad_accum
    return plan


# ---- the report


def _report(plan, options):
    """-> dict of all numbers"""
    cost, memory = plan.cost, plan.largest.memory()
    times = _times(plan, options)
    process = calibration.remembered({"process": "training"}, calibration.measure_process,
                                     options.calibrate)["bytes"]
    room = estimate.memory_to_use()
    report = {
        "model_type": plan.config.model_type, "head": plan.head,
        "parameters": cost.parameters,
        "parts": {name: {"parameters": part.parameters, "forward_flops": part.forward,
                         "backward_flops": part.backward} for name, part in cost.parts.items()},
        "training": {
            "batch": cost.workload.batch, "length": cost.workload.length,
            "source_length": cost.workload.source, "tokens_per_step": plan.tokens,
            "steps": plan.steps, "flops_per_step": plan.flops, "flops": plan.flops * plan.steps,
            "newton_schulz_flops_per_step": cost.update_flops,
            "six_n_d_per_step": cost.rule_of_thumb * plan.accumulate,
            "bytes_moved_per_step": cost.bytes_moved(),
            "memory": {"weights": memory.weights, "gradients": memory.gradients,
                       "optimizer": memory.optimizer, "activations": memory.activations,
                       "logits": memory.logits, "temporary": memory.temporary,
                       "data": plan.data, "peak": plan.largest.peak(), "process": process,
                       "peak_of_process": plan.largest.peak() + plan.data + process},
            "available_memory": room,
            "largest_batch": room and plan.largest.largest_batch(
                room - process - plan.data),
            "seconds_per_step": times.step, "seconds": times.whole,
            "flops_per_second": plan.flops / times.step,
            "energy": _energy(times.whole, times, options),
        },
        "time_source": times.source, "rates": times.rates, "busy": times.busy,
    }
    if cost.generates:
        report["generating"] = _generating(plan, times, options)
    return report


def _times(plan, options):
    if options.flops_per_second is not None:
        if not options.flops_per_second > 0:
            raise ValueError(f"--flops-per-second is {options.flops_per_second}, wanted a number "
                             "over 0")
        return estimate.times_by_rate(plan, options.flops_per_second)
    # Models of few layers are trained for the calibration: where not even these fit, a rate serves.
    room = estimate.memory_to_use()
    if room is not None and plan.largest.peak() > room:
        rates = estimate.rates(plan, options.calibrate)
        return estimate.times_by_rate(plan, rates["matmul"] * 1e9, (
            "the rate of matrix products on this machine, which is at best the rate of the whole: "
            "the training doesn't fit into its memory"))
    say("measuring this machine for some seconds, unless it was measured before")
    return estimate.measured_times(plan, options.calibrate)


def _energy(seconds, times, options):
    found = estimate.energy(seconds, kernels.get_num_threads(), options.watts, times.watts,
                            options.co2)
    return {"joules": found.joules, "watts": found.watts, "source": found.source,
            "co2_grams": found.grams}


def _generating(plan, times, options):
    prompt, new, source = estimate.generated_lengths(plan)
    past = new // 2 if source else prompt + new // 2
    reading, token = plan.cost.prompt(prompt), plan.cost.token(past, source=source)
    found = {
        "prompt": prompt, "new": new, "prompt_flops": reading.forward_flops,
        "token_flops": token.forward_flops, "token_bytes": plan.cost.token_bytes(past),
        "cache_bytes": plan.cost.cache_bytes(new if source else prompt + new, 1, source),
        "peak_memory": plan.cost.generating_memory(prompt, new),
        "seconds_of_prompt": times.prompt, "seconds_per_token": times.token,
    }
    if times.token is not None:
        found["energy_per_token"] = _energy(times.token, times, options)
    return found


# ---- on the screen


def _print(report):
    training, memory = report["training"], report["training"]["memory"]
    whole = sum(part["forward_flops"] + part["backward_flops"] for part in report["parts"].values())
    table(f"{report['model_type']}, {report['parameters']:,} parameters", [
        (name, f"{part['parameters']:,}", quantity(part["forward_flops"], "FLOP"),
         quantity(part["backward_flops"], "FLOP"),
         f"{(part['forward_flops'] + part['backward_flops']) / max(whole, 1):.1%}")
        for name, part in report["parts"].items()
    ], ("part", "parameters", "forward", "backward", "of both"))
    sources = f" from {training['source_length']}" if training["source_length"] else ""
    rule, muon = training["six_n_d_per_step"], training["newton_schulz_flops_per_step"]
    rows = [
        ("a step", f"{training['batch']} × {training['length']} tokens{sources}"),
        ("operations", quantity(training["flops_per_step"], "FLOP")),
        *([("… of Newton–Schulz", f"{quantity(muon, 'FLOP')} "
                                  f"({muon / training['flops_per_step']:.2f} of it)")]
          if muon else []),
        ("… by 6 N D", f"{quantity(rule, 'FLOP')} ({rule / training['flops_per_step']:.2f} of it)"),
        ("bytes moved, at least", size(sum(training["bytes_moved_per_step"].values()))),
        *((f"memory: {name}", size(memory[name])) for name in (
            "weights", "gradients", "optimizer", "activations", "logits", "temporary", "data")
          if memory[name]),
        ("arrays at the peak", size(memory["peak"])),
        ("the process at the peak", size(memory["peak_of_process"])),
        ("largest batch that fits here", f"{training['largest_batch']:,}"
         if training["largest_batch"] is not None else "unknown"),
        ("time of a step", duration(training["seconds_per_step"])),
        ("rate", quantity(training["flops_per_second"], "FLOP/s")),
        (f"time of {training['steps']:,} steps", duration(training["seconds"])),
        *_energy_rows("energy", training["energy"]),
    ]
    table("training", rows)
    if "generating" in report:
        _print_generating(report["generating"])
    say(f"time: {report['time_source']}")
    if report["busy"]:
        say("warning: other programs were running: the time is that of a busy machine; --calibrate "
            "measures again")
    say(f"energy: {training['energy']['source']}")
    if report["rates"]:
        rates = report["rates"]
        say("this machine: " + ", ".join(
            f"{name} {rates[name]:,.0f} {unit}" for name, unit in (
                ("matmul", "GFLOP/s"), ("attention", "GFLOP/s"), ("peak", "GFLOP/s"),
                ("memory", "GB/s")) if rates.get(name)))


def _print_generating(found):
    rows = [
        (f"a prompt of {found['prompt']} tokens", quantity(found["prompt_flops"], "FLOP")),
        ("… its time", duration(found["seconds_of_prompt"])),
        ("a token", quantity(found["token_flops"], "FLOP")),
        ("… bytes moved, at least", size(found["token_bytes"])),
        ("… its time", duration(found["seconds_per_token"])),
        *_energy_rows("… its energy", found.get("energy_per_token")),
        (f"key-value cache, {found['new']} tokens more", size(found["cache_bytes"])),
        ("arrays at the peak", size(found["peak_memory"])),
    ]
    table("generating", rows)


def _energy_rows(name, energy):
    if energy is None:
        return []
    rows = [(name, quantity(energy["joules"], "J"))]
    if energy["co2_grams"] is not None:
        rows.append(("… CO₂, by the factor given", quantity(energy["co2_grams"], "g")))
    return rows


def quantity(value, unit):
    for factor, letter in UNITS:
        if value >= factor:
            return f"{value / factor:,.3g} {letter}{unit}" if value < 1e3 * factor else (
                f"{value / factor:,.0f} {letter}{unit}")
    return f"{value:.3g} {unit}"


def size(n_bytes):
    return quantity(n_bytes, "B")


def duration(seconds):
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.3g} min" if minutes < 120 else f"{hours:,.3g} h"


# ---- planning


def _plan_compute(options):
    """Print a model and a number of tokens for an amount of computing."""
    wanted = [name for name in ("flops", "hours", "data") if getattr(options, name) is not None]
    if len(wanted) != 1:
        raise ValueError("plan needs one of --flops, --hours and --data")
    rate = options.flops_per_second  # a time is stated only by one that is given or needed
    if rate is None and wanted[0] == "hours":
        rate = _rate(options)
    rows = []
    for name, fit in planning.FITS.items():
        if wanted[0] == "data":
            plan = planning.plan_for_tokens(options.data, fit)
        else:
            flops = options.flops if wanted[0] == "flops" else options.hours * 3600 * rate
            plan = planning.plan_for_flops(flops, fit)
        rows.append((fit.source, quantity(plan.parameters, ""), quantity(plan.tokens, ""),
                     f"{plan.tokens / plan.parameters:.1f}", f"{plan.flops:.3g}",
                     "" if rate is None else duration(plan.flops / rate), f"{plan.loss:.2f}"))
    table("compute-optimal training", rows, ("law", "parameters", "tokens", "ratio", "FLOP",
                                             "time", "loss"))
    if rate is not None:
        say(f"time: at {quantity(rate, 'FLOP/s')}, counted as 6 N D" + (
            "" if options.flops_per_second else ", measured on this machine with train's default "
            "model or the sizes given; a larger model is usually faster by this count"))
    say("law: approach 3 of Hoffmann et al. 2022, as published, and as Besiroglu et al. 2024 "
        "refitted it; ratio: tokens for each parameter; loss: nats a token")
    say(planning.ASSUMPTIONS)
    return 0


def _rate(options):
    """-> the 6 N D operations a second of a training with the sizes given, measured"""
    plan = _plan_of_sizes(given_settings(options))
    times = estimate.measured_times(plan, options.calibrate)
    return plan.cost.rule_of_thumb * plan.accumulate / times.step
