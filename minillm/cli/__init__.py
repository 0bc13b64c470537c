"""The command `minillm`: parse the arguments, call the command, turn mistakes into one line."""

import os
import sys


def main(arguments=None):
    """Run the command line `arguments` (sys.argv by default) -> exit status

    0: done; 2: a mistake of the user's, told in one line; 130: Ctrl-C. With MINILLM_TRACEBACK=1 the
    traceback is shown as well.
    """
    # Text that a terminal can't show is no reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        # Imported here because loading the kernels is the first thing that can go wrong.
        from minillm.cli.arguments import parse_arguments

        options = parse_arguments(arguments)
        status = options.command(options)
        sys.stdout.flush()
        return status or 0
    except KeyboardInterrupt:
        print("\nminillm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough.
        _give_up_stdout()
        return 0
    except (ValueError, TypeError, OSError, ArithmeticError, ImportError, MemoryError) as error:
        if os.environ.get("MINILLM_TRACEBACK"):
            raise
        print(f"minillm: error: {one_line(error)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        return 2


def _give_up_stdout():
    """Point stdout at nothing: Python flushes it once more at the end, and would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(error):
    """What is wrong, in one line; an OSError with the name of its file."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
