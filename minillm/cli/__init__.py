"""The command `minillm`: parse the arguments, call the command, turn mistakes into one line."""

import os
import sys
import warnings


def main(arguments=None):
    """Run the command line `arguments` (sys.argv by default) -> exit status

    0: done; 2: a mistake of the user's, told in one line; 130: Ctrl-C; 141: nobody reads the output
    any more. With MINILLM_TRACEBACK=1 the traceback is shown as well.
    """
    _prepare_output()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            # Imported here because loading the kernels is the first thing that can go wrong.
            from minillm.cli.arguments import parse_arguments
            from minillm.kernels import tune_process

            options = parse_arguments(arguments)
            tune_process()
            status = options.command(options)
        sys.stdout.flush()
        return status or 0
    except KeyboardInterrupt:
        print("\nminillm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough. The work may be half done, so that
        # this isn't 0, but what a shell says of a program that SIGPIPE ended.
        _give_up_stdout()
        return 141
    except (ValueError, TypeError, OSError, ArithmeticError, ImportError, MemoryError) as error:
        if os.environ.get("MINILLM_TRACEBACK"):
            raise
        print(f"minillm: error: {one_line(error)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        return 2


def _prepare_output():
    """Text that a terminal can't show, or no terminal at all, is no reason to stop."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed when the program started
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _show_warning(message, *origin):
    """A warning in one line; where in the code it comes from says nothing to a user."""
    print(f"minillm: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _give_up_stdout():
    """Point stdout at nothing: Python flushes it once more at the end, and would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(error):
    """What is wrong, in one line; an OSError with the name of its file."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
