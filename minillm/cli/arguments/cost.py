"""The command cost, with plan and scale."""

import argparse

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.settings import add_recompute, add_setting, add_sizes
from minillm.cli.arguments.values import path, positive


def cost(commands):
    parser = command(
        commands, "cost", "cost:cost",
        "say what training and generating cost, before they run: operations, memory, time, energy",
        ["minillm cost --n-layer 6 --n-embd 192            # the sizes of minillm train",
         "minillm cost --config config.json --batch-size 4",
         "minillm cost --model pydoc-tiny",
         "minillm cost --task sentiment                    # or --text FILE, --demo, --run RUN",
         "minillm cost --config config.json --flops-per-second 1e13 --watts 300 --co2 400",
         "minillm cost plan --hours 8                      # how large a model, on how many tokens",
         "minillm cost plan --flops 1e18",
         "minillm cost plan --data 1e8",
         "minillm cost scale --model gpt2-xl --flops-per-second 1e14     # on 8 to 1,024 machines",
         "minillm cost scale --params 7e9 --flops-per-second 1e15 --network 10Gbit "
         "--local-steps 500",
         "minillm cost scale --model gpt2 --scaling strong --batch-size 1024 --compare"],
        "\n" + paragraph(
            "Operations, bytes and memory are formulas of the configuration. Time is measured on "
            "this machine, by models of one and of three layers of the same shape, in seconds; "
            "what was measured is remembered in ~/.cache/minillm. Energy is measured where the "
            "processor's counters (RAPL) are readable, and otherwise an estimate."),
    )
    parser.add_argument("what", nargs="?", choices=("plan", "scale"),
                        help="plan: a compute-optimal model size and number of tokens "
                             "(Hoffmann et al. 2022); scale: a step on many machines")
    parser.add_argument("--config", metavar="FILE", type=path, help="a config.json")
    parser.add_argument("--model", type=path, help="a run folder, a directory or a name")
    parser.add_argument("--run", type=path, help="a run folder: its settings, and its own batches")
    parser.add_argument("--task", metavar="NAME", help="a task of train-task, with its defaults")
    parser.add_argument("--text", type=path, help="a text, as for minillm train")
    parser.add_argument("--demo", action="store_true", help="what minillm demo trains")
    parser.add_argument("--calibrate", action="store_true",
                        help="measure this machine again, whatever is remembered")
    parser.add_argument("--flops-per-second", type=float, metavar="N",
                        help="take this rate, of another machine, and measure nothing")
    parser.add_argument("--watts", type=float, help="the power to count with")
    parser.add_argument("--co2", type=float, metavar="GRAMS",
                        help="grams of CO₂ for a kWh, where your electricity comes from")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    parser.add_argument("--flops", type=float, help="plan: the operations that may be spent")
    parser.add_argument("--hours", type=float, help="plan: the hours on this machine")
    parser.add_argument("--data", type=float, metavar="TOKENS", help="plan: the tokens you have")
    _add_scale(parser)
    add_sizes(parser, "the architecture, such as gpt2, llama, bert or transformer")
    for name, explanation in (("block_size", "context in tokens"),
                              ("batch_size", "sequences per batch"),
                              ("grad_accum", "batches per step"),
                              ("steps", "updates of the weights"),
                              ("optimizer", "adamw or muon"),
                              ("muon_steps", "steps of Newton–Schulz in each of Muon's")):
        add_setting(parser, name, explanation)
    add_recompute(parser)


def _add_scale(parser):
    """Add the options of `minillm cost scale`; `of_scale` of the Namespace lists those given."""
    group = parser.add_argument_group("scale", paragraph(
        "A step of data-parallel training, simulated: each machine computes the gradients of its "
        "own batch, and buckets of them are summed over the network while the backward goes on. "
        "--flops-per-second is what a machine really does (default: this machine's rate of "
        "products). --model also takes gpt2, gpt2-medium, gpt2-large and gpt2-xl, of which nothing "
        "is downloaded. Weak scaling: --batch-size is that of each machine (default: 8). Strong: "
        "it is that of all together."))

    class Given(argparse.Action):
        def __call__(self, _, namespace, value, option=None):
            setattr(namespace, self.dest, value if self.nargs != 0 else True)
            namespace.of_scale = [*namespace.of_scale, self.dest.replace("_", "-")]

    def add(name, **options):
        group.add_argument(name, action=Given, **options)

    parser.set_defaults(of_scale=[])
    add("--params", type=float, metavar="N", help="a model of which only the size is known")
    add("--nodes", type=positive, nargs="+", metavar="N",
        default=[8, 16, 32, 64, 128, 256, 512, 1024], help="machines (default: 8 to 1024)")
    add("--network", nargs="+", metavar="RATE", default=["10Gbit", "100Gbit"],
        help="of each machine, with or without a latency: 10Gbit, 100Gbit/5us (default: 10Gbit "
             "100Gbit, of 20us)")
    add("--scaling", choices=("weak", "strong"), default="weak", help="(default: weak)")
    add("--algorithm", choices=("best", "ring", "tree", "halving"), default="best",
        help="of the all-reduce (default: the fastest for each bucket)")
    add("--bucket", type=float, metavar="MB", default=25.0,
        help="gradients that travel together (default: 25)")
    add("--no-overlap", nargs=0, default=False, help="send when the backward is over")
    add("--shard-optimizer", nargs=0, default=False, help="ZeRO-1: each machine updates its share")
    add("--compress", metavar="HOW", default="none",
        help="gradients: none, bfloat16, int8 or topk:SHARE (default: none)")
    add("--local-steps", type=positive, metavar="H", default=1,
        help="DiLoCo: steps of each machine on its own, between two means of all")
    add("--jitter", type=float, metavar="SHARE", default=0.0,
        help="standard deviation of a machine's time, as a share of it: all wait for the slowest")
    add("--critical-batch", type=float, metavar="TOKENS",
        help="also tell how much sooner a loss is reached: tokens a step from which on more are "
             "wasted (McCandlish et al. 2018), such as 1e6 for a loss of 3")
    add("--compare", nargs=0, default=False,
        help="the efficiency of all kinds of compression, larger batches and local steps")
    add("--picture", type=path, metavar="FILE", help="write a .png or .svg")
