"""What a command is made of: its parser, its examples, and the function that runs it."""

import argparse
import textwrap
from functools import cache

from minillm.cli.visible import cut, visible


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, like every other error, without the usage."""

    def error(self, message):
        self.exit(2, f"minillm: error: {cut(visible(message))} (see: {self.prog} --help)\n")


def command(commands, name, function, description, examples, notes=""):
    """Add a subcommand -> its parser

    function: "module:function" of minillm/cli, imported only when the command runs
    description: one line, for `minillm --help` too
    examples: lines of the command's own help; `notes` come after them
    """
    parser = commands.add_parser(
        name, help=description, description=description[0].upper() + description[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples) + notes,
    )
    parser.set_defaults(command=lambda options: call(function, options))
    return parser


def call(function, options):
    import importlib

    module, name = function.split(":")
    return getattr(importlib.import_module(f"minillm.cli.{module}"), name)(options)


@cache  # the longest ones are those of the options that several commands share
def paragraph(text):
    """-> lines of at most 80 characters, for notes of a command or a text about a group"""
    return textwrap.fill(text, width=80) + "\n"
