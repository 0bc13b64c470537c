"""Commands about the machine: bench, info."""

from minillm.cli.arguments.command import call, command


def bench(commands):
    # The benchmark is in the source tree and has its own parser. As no character starts an option
    # here ("\0"), the rest of the command line, `--help` included, is passed on to it unchanged.
    parser = commands.add_parser("bench", help="measure the speed of everything (in a checkout)",
                                 add_help=False, prefix_chars="\0")
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(command=lambda options: call("bench:bench", options))


def info(commands):
    command(
        commands, "info", "information:info", "show which kernels run here, and on which machine",
        ["minillm info", "MINILLM_KERNELS=numpy minillm info", "MINILLM_ISA=avx2 minillm info"],
    )
