"""python -m minillm.course.book: build the book."""

import argparse
import sys
from pathlib import Path

MISSING = ("the book needs Sphinx, myst-nb and a theme: pip install 'minillm[book]', or run "
           "`make book` in a checkout")


def main():
    parser = argparse.ArgumentParser(prog="python -m minillm.course.book", description=__doc__)
    parser.add_argument("--output", default="build/book", help="folder (default: %(default)s)")
    parser.add_argument("--no-run", action="store_true",
                        help="render the chapters without running them")
    parser.add_argument("--run-chapter", nargs=2, metavar=("CHAPTER", "FOLDER"),
                        help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        from minillm.course.book import building
    except ImportError as error:
        sys.exit(f"{MISSING} ({error})")
    try:
        if options.run_chapter:
            building.run_chapter_into(*options.run_chapter)
        else:
            page = building.build(options.output, run=not options.no_run)
            print(f"Open {Path(page).as_uri()}")
    except (ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
