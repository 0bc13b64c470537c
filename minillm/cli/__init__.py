"""The command `minillm`: parse the arguments, call the command, report errors in one line."""

import os
import sys
import warnings

from minillm.cli.parallel import agree, join_ranks, silence_others
from minillm.cli.visible import cut, visible
from minillm.signals import Stopped, raise_stopped
from minillm.training.parallel.one_process import OneProcess
from minillm.training.parallel.watchdog import RankLost


def main(arguments=None):
    """Run the command line `arguments` (sys.argv by default) -> exit status

    0: done; 2: an error, reported in one line; 130: Ctrl-C (SIGTERM 143, SIGHUP 129); 141: the
    reader of the output has closed it. MINILLM_TRACEBACK=1 shows the traceback of an error instead.
    """
    ranks = OneProcess()
    with _output_that_never_fails():
        try:
            with warnings.catch_warnings(), raise_stopped():
                warnings.showwarning = _show_warning
                # Imported here because loading the kernels can already fail.
                from minillm.cli.arguments import parse_arguments
                from minillm.kernels import tune_process

                silence_others()
                options = parse_arguments(arguments)
                tune_process()
                ranks = options.ranks = join_ranks(options)
                agree(ranks, options)
                status = options.command(options)
                sys.stdout.flush()
                ranks.finish()
            return status or 0
        except RankLost:
            return 2  # the line about it is written already
        except KeyboardInterrupt as error:
            if ranks.failed("interrupted"):
                print("\nminillm: interrupted", file=sys.stderr)
            return 128 + error.number if isinstance(error, Stopped) else 130
        except BrokenPipeError:
            # The reader of the output (head, less) has closed it. The work may be half done, so the
            # status is not 0 but that of a program that SIGPIPE ended.
            ranks.failed("the reader of the output has closed it")
            _give_up(sys.stdout)
            return 141
        except (ValueError, TypeError, OSError, ArithmeticError, ImportError, MemoryError) as error:
            is_mine = ranks.failed(one_line(error))
            if os.environ.get("MINILLM_TRACEBACK"):
                raise
            if is_mine:
                print(f"minillm: error: {one_line(error)}", file=sys.stderr)
            try:
                sys.stdout.flush()
            except OSError:
                _give_up(sys.stdout)
            return 2
        except Exception as error:
            ranks.failed(repr(error))
            raise


class _output_that_never_fails:
    """A context in which messages never fail, whatever stderr is: closed, full, without Unicode.

    Errors on stdout, which carries the results, are still reported.
    """

    def __enter__(self):
        self.streams = sys.stdout, sys.stderr
        self.opened = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # closed when the program started
                stream = open(os.devnull, "w", encoding="utf-8")
                self.opened.append(stream)
                setattr(sys, name, stream)
            elif hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        sys.stderr = _BestEffort(sys.stderr)

    def __exit__(self, *error):
        sys.stdout, sys.stderr = self.streams
        for stream in self.opened:
            stream.close()


class _BestEffort:
    """A text stream that ignores failed writes (a full disk, a closed terminal)."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        try:
            return self._stream.write(text)
        except OSError:
            _give_up(self._stream)
            return len(text)

    def flush(self):
        try:
            self._stream.flush()
        except OSError:
            _give_up(self._stream)


def _show_warning(message, *origin):
    """Show a warning in one line, without its place in the code."""
    print(f"minillm: warning: {visible(' '.join(str(message).split()))}", file=sys.stderr)


def _give_up(stream):
    """Redirect a broken stream to /dev/null: at exit Python flushes it again, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(error):
    """-> the message of an error in one line; of an OSError, with the name of its file"""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return cut(visible(f"{name}{error.strerror}"))
    return cut(visible(" ".join(str(error).split()))) or type(error).__name__
