"""The options that commands of several groups have."""

from minillm.cli.arguments.values import path

DEFAULT_MODEL = "pydoc-tiny"  # the one that the course takes apart
WRITING_MODEL = "pydoc-small"  # writes better text
DTYPES = ("float32", "bfloat16", "int8", "int4")


def add_model(parser, default=DEFAULT_MODEL):
    parser.add_argument("--model", type=path, default=default,
                        help="a run folder, a directory or a name (default: %(default)s)")


def add_adapter(parser):
    parser.add_argument("--adapter", type=path, metavar="DIR",
                        help="a LoRA adapter for the model: the folder of adapter_config.json, or "
                             "a run folder")


def add_dtype(parser, why):
    parser.add_argument("--dtype", choices=DTYPES, default="float32",
                        help=f"the format of the weights; {why} (default: %(default)s)")


def add_text(parser):
    parser.add_argument("--text", type=path,
                        help="a UTF-8 text file or a folder of them (default: the topics of "
                             "Python's help(), real English that every CPython carries)")
