"""`minillm cost scale`: a training step on many machines, before there are any."""

import json
import math
from dataclasses import replace

from minillm.cli.arguments.settings import given_settings
from minillm.cli.cost import config_of_files, config_of_sizes, duration, quantity, size
from minillm.cli.terminal import say, table
from minillm.figures import COLORS, LINES, new_figure, write_figure
from minillm.files import require_folder_of
from minillm.models.gpt2_config import GPT2Config
from minillm.training.settings import Settings
from minillm.trust.cost import calibration
from minillm.trust.cost.step import StepCost
from minillm.trust.cost.workloads import default_workload
from minillm.trust.scale.batch_size import steps_needed, useful
from minillm.trust.scale.cluster import Cluster, factor_for, step_time
from minillm.trust.scale.compression import BFLOAT16, INT8, read_compression, top_k
from minillm.trust.scale.network import read_network
from minillm.trust.scale.profile import profile_of_rate, profile_of_size

PUBLISHED = {  # Radford et al. 2019, table 2: width, layers, heads
    "gpt2": (768, 12, 12), "gpt2-medium": (1024, 24, 16), "gpt2-large": (1280, 36, 20),
    "gpt2-xl": (1600, 48, 25),
}
BATCH, LENGTH = 8, 1024  # of each machine, where nothing is said
LOCAL_STEPS, LARGER = 100, 4  # of --compare
RATED_TOKENS = 1024  # of the product whose rate is measured


def scale(options):
    _check(options)
    model = _Model(options)
    options.nodes = sorted(set(options.nodes))
    options.network = list(dict.fromkeys(options.network))
    rows = [_row(options, model, network, n) for network in options.network for n in options.nodes]
    report = {"model": model.name, "parameters": model.parameters, "tokens_per_node": model.tokens,
              "flops_per_second": model.rate, "rate_source": model.rate_source,
              "scaling": options.scaling, "compression": _cluster(options, 1).compression.known,
              "steps": rows}
    if options.compare:
        report["comparison"] = [
            {"network": network, "variant": name, "nodes": n, "efficiency": efficiency}
            for network in options.network for n in options.nodes
            for name, efficiency in _variants(options, model, network, n).items()]
    if options.picture:
        _draw(options, model, rows)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(options, report)
    return 0


def _check(options):
    for name in ("run", "task", "text", "demo"):
        if getattr(options, name):
            raise ValueError(f"--{name} isn't for minillm cost scale, wanted --model, --config, "
                             "--params or sizes such as --n-layer")
    chosen = [name for name in ("config", "model", "params") if getattr(options, name)]
    if len(chosen) > 1:
        raise ValueError(f"--{chosen[0]} and --{chosen[1]} are given, wanted one of them")
    for name in ("params", "flops_per_second", "bucket", "critical_batch"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} is {value}, wanted a number over 0")
    # Errors come before anything is measured.
    if options.picture:
        require_folder_of(options.picture, "--picture")
    for network in options.network:
        _cluster(options, 1, network)
    sequences = given_settings(options).get("batch_size", BATCH)
    if options.scaling == "strong" and max(options.nodes) > sequences:
        raise ValueError(f"--nodes has {max(options.nodes):,}, and the batch has {sequences:,} "
                         "sequences: wanted --batch-size of at least a sequence for each")


class _Model:
    """What is trained, on one machine: `profile` of a step with `sequences` × `length` tokens."""

    def __init__(self, options):
        given = given_settings(options)
        settings = Settings(**given)
        self.sequences = given.get("batch_size", BATCH)
        self.accumulate = settings.grad_accum
        if options.params is not None:
            self._of_size(options, given.get("block_size", LENGTH), settings)
        else:
            self._of_config(options, given, settings)
        self.tokens = self.sequences * self.length * self.accumulate

    def _of_size(self, options, length, settings):
        if options.flops_per_second is None:
            raise ValueError("--params has no shapes to measure, wanted --flops-per-second as well")
        if settings.optimizer != "adamw":
            raise ValueError(f"--optimizer is {settings.optimizer!r}, and --params has no shapes "
                             "to count its products by, wanted --model, --config or sizes")
        self.name, self.parameters, self.length = "by its size", options.params, length
        self.rate, self.rate_source = options.flops_per_second, "given"
        self.profile = profile_of_size(options.params, self.sequences * length, self.rate)

    def _of_config(self, options, given, settings):
        if options.model in PUBLISHED:
            d, L, H = PUBLISHED[options.model]
            config, head = GPT2Config(n_embd=d, n_layer=L, n_head=H), "causal_lm"
        elif options.config or options.model:
            config, head = config_of_files(options, "config" if options.config else "model")
        else:
            config, head = config_of_sizes(settings)
        limit = config.position_limit
        self.length = given.get("block_size", limit or LENGTH)
        if limit is not None and self.length > limit:
            raise ValueError(f"--block-size is {self.length}, and the model has {limit} positions")
        cost = StepCost(config, head, default_workload(config, head, self.sequences, self.length),
                        optimizer=settings.optimizer, muon_steps=settings.muon_steps)
        self.name = options.model or config.model_type
        self.parameters = cost.parameters
        self.rate, self.rate_source = _rate(options, cost)
        self.profile = profile_of_rate(cost, self.rate)


def _rate(options, cost):
    """-> operations a second of one machine, and where the number is from"""
    if options.flops_per_second is not None:
        return options.flops_per_second, "given"
    block = cost._block()
    shape = {"width": block.attention.d_model, "d_ff": block.feed_forward.contract.weight.shape[0],
             "tokens": min(RATED_TOKENS, cost.workload.tokens), "heads": block.attention.n_heads,
             "length": min(RATED_TOKENS, cost.workload.length)}
    say("measuring this machine for some seconds, unless it was measured before")
    found = calibration.remembered({"rates": shape}, lambda: calibration.measure_rates(**shape),
                                   options.calibrate)
    return found["matmul"] * 1e9, "that of matrix products on this machine, measured"


def _cluster(options, nodes, network=None):
    try:
        return Cluster(nodes, read_network(network or options.network[0]), options.algorithm,
                       int(1e6 * options.bucket), not options.no_overlap, options.shard_optimizer,
                       read_compression(options.compress), options.jitter, options.local_steps)
    except ValueError as error:
        raise ValueError(f"--{str(error).replace('_', '-')}") from None


# ---- numbers


def _profile(options, model, nodes):
    """-> StepProfile of one machine's part of the batch"""
    return model.profile if options.scaling == "weak" else model.profile.batch_times(1 / nodes)


def _row(options, model, network, nodes):
    """-> dict of one step"""
    profile, cluster = _profile(options, model, nodes), _cluster(options, nodes, network)
    step = step_time(profile, cluster, model.accumulate)
    tokens = model.tokens * (nodes if options.scaling == "weak" else 1)
    own = model.tokens / (1 if options.scaling == "weak" else nodes)
    row = {"network": network, "nodes": nodes, "seconds": step.seconds, "compute": step.compute,
           "communication": step.communication, "exposed": step.exposed, "share": step.share,
           "efficiency": step.efficiency, "tokens_per_second": tokens / step.seconds,
           "tokens_per_step": tokens, "sent": step.sent,
           "tokens_for_half": own * factor_for(0.5, profile, cluster) / model.accumulate,
           "tokens_for_nine_tenths": own * factor_for(0.9, profile, cluster) / model.accumulate}
    if options.critical_batch is not None:
        row["useful"] = useful(tokens, options.critical_batch)
        row["sooner"] = _time_to_loss(options, model, network, 1) / _time_to_loss(
            options, model, network, nodes)
    return row


def _time_to_loss(options, model, network, nodes):
    """-> seconds, in units of the least number of steps"""
    profile, cluster = _profile(options, model, nodes), _cluster(options, nodes, network)
    tokens = model.tokens * (nodes if options.scaling == "weak" else 1)
    return steps_needed(tokens, options.critical_batch) * step_time(
        profile, cluster, model.accumulate).seconds


def _variants(options, model, network, nodes):
    """-> {what is changed: efficiency}"""
    profile, cluster = _profile(options, model, nodes), _cluster(options, nodes, network)
    plain = replace(cluster, shard_optimizer=False, local_steps=1)
    changed = {
        "as given": (profile, cluster),
        "no overlap": (profile, replace(cluster, overlap=False)),
        "ZeRO-1": (profile, replace(plain, shard_optimizer=not plain.compression.is_sparse)),
        "bfloat16": (profile, replace(cluster, compression=BFLOAT16)),
        "int8": (profile, replace(cluster, compression=INT8)),
        "topk:0.01": (profile, replace(plain, compression=top_k(0.01))),
        f"batch × {LARGER}": (profile.batch_times(LARGER), cluster),
        f"{LOCAL_STEPS} local steps": (profile, replace(plain, local_steps=LOCAL_STEPS)),
    }
    return {name: step_time(*each, model.accumulate).efficiency for name, each in changed.items()}


# ---- on the screen


def _print(options, report):
    parameters = f"{quantity(report['parameters'], '')} parameters"
    whole = "of each machine" if report["scaling"] == "weak" else "of all together"
    for network in options.network:
        rows = [row for row in report["steps"] if row["network"] == network]
        headings = ["nodes", "step", "waits", "share", "efficiency", "tokens/s", "sent by a node"]
        if options.critical_batch is not None:
            headings += ["useful", "sooner"]
        table(f"{report['model']}, {parameters}, {network}", [(
            f"{row['nodes']:,}", duration(row["seconds"]), duration(row["exposed"]),
            f"{row['share']:.0%}", f"{row['efficiency']:.0%}",
            quantity(row["tokens_per_second"], ""), size(row["sent"]),
            *([f"{row['useful']:.0%}", f"{row['sooner']:.1f} ×"] if "sooner" in row else []),
        ) for row in rows], headings, left=())
        if options.compare:
            _print_comparison(options, report, network)
        _say_where(rows, network)
    say(f"a step: {report['tokens_per_node']:,} tokens {whole}; a machine does "
        f"{quantity(report['flops_per_second'], 'FLOP/s')}: {report['rate_source']}")
    if options.critical_batch is not None:
        say("useful: the share of the tokens that isn't wasted by too large a batch; sooner: how "
            "much faster than by one machine a loss is reached")
    if options.compress != "none":
        say(f"{options.compress}: {report['compression']}; compressing takes time that isn't "
            "counted")
    if options.local_steps > 1 or options.compare:
        say("local steps change what is learned: 8 workers with 500 steps each performed as well as "
            "a fully synchronous training in Douillard et al. 2023; for other models it's unknown")


def _print_comparison(options, report, network):
    found = [each for each in report["comparison"] if each["network"] == network]
    variants = list(dict.fromkeys(each["variant"] for each in found))
    cells = {(each["variant"], each["nodes"]): each["efficiency"] for each in found}
    table(f"efficiency, {network}", [
        (name, *(f"{cells[name, n]:.0%}" for n in options.nodes)) for name in variants
    ], ("", *(f"{n:,}" for n in options.nodes)))


def _say_where(rows, network):
    over = next((row for row in rows if row["efficiency"] < 0.5), None)
    last = rows[-1]
    if last["nodes"] == 1:
        return
    where = ("communication and waiting never take half of the time" if over is None else
             f"from {over['nodes']:,} nodes on, more than half of the time is lost")
    say(f"{network}: {where}; on {last['nodes']:,} nodes an efficiency of 50 % takes "
        f"{_tokens(last['tokens_for_half'])} a node, and 90 % takes "
        f"{_tokens(last['tokens_for_nine_tenths'])}")


def _tokens(n):
    return f"{math.ceil(n):,} tokens" if n < math.inf else "more tokens than there are"


def _draw(options, model, rows):
    figure, axes = new_figure(6, 3.2)
    for network, color, line in zip(options.network, COLORS, LINES):
        points = [(row["nodes"], row["efficiency"]) for row in rows if row["network"] == network]
        axes.plot(*zip(*points), marker="o", markersize=3, color=color, linestyle=line,
                  label=network)
    axes.set(xscale="log", ylim=(0, 1.05), xlabel="nodes", ylabel="efficiency",
             title=f"{model.name}, {quantity(model.parameters, '')} parameters, {options.scaling} "
                   "scaling")
    axes.set_xticks(options.nodes, [f"{n:,}" for n in options.nodes])
    axes.minorticks_off()
    axes.legend()
    write_figure(options.picture, figure)
