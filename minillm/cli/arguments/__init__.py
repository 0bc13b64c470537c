"""The arguments of the command line. Imports little more than argparse, so `--help` is fast.

To change an option of a command, look the command up in COMMANDS: `training.finetune` is the
function `finetune` of training.py. It adds the parser of `minillm finetune`, with its options and
examples, and names the function that runs the command. What several groups of commands share:

    command.py    what a command is made of
    options.py    options such as --model and --text
    settings.py   options of a model's size and of its training, each a field of Settings
    values.py     types of values, such as a path or an integer from 1 on
"""

import argparse
from functools import cache

from minillm import __version__
from minillm.cli.arguments import (
    cost,
    course,
    experiments,
    generation,
    insight,
    machine,
    tasks,
    texts,
    training,
    trust,
)
from minillm.cli.arguments.command import Parser

COMMANDS = (  # in the order of `minillm --help`
    training.demo, training.train, training.finetune,
    tasks.train_task, tasks.predict, tasks.similar,
    generation.generate, generation.fill, generation.evaluate,
    training.lora, texts.tokenizer,
    course.course, course.worked_example, course.step,
    insight.inspect, insight.explore,
    generation.serve, experiments.experiment,
    texts.prepare, trust.mask, cost.cost,
    trust.audit, trust.card, trust.fairness,
    machine.bench, machine.info,
)


def parse_arguments(arguments=None):
    """-> Namespace with `command`, a function of the Namespace. Exits with 2 on an error."""
    return _parser().parse_args(arguments)


@cache  # a program that calls `main` often, such as a test, builds it once
def _parser():
    parser = Parser(
        prog="minillm",
        description="A transformer that you can read from end to end.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "examples:\n"
            "  minillm demo                                 train a small model in a minute\n"
            '  minillm generate "The assignment statement"  generate with the packaged model\n'
            "  minillm train --text my_book.txt             train on your own text\n"
            "  minillm course                               learn how all of it works\n"
            "  minillm COMMAND --help                       more examples\n"
        ),
    )
    parser.add_argument("--version", action="version", version=f"minillm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    return parser
