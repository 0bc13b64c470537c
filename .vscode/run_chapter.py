"""Run the chapter whose Markdown file is given, so that breakpoints in its cells work."""

import sys
from pathlib import Path

from minillm.cli import main

number = Path(sys.argv[1]).name.partition("-")[0]
sys.exit(main(["course", "run", number, "--all"]))
