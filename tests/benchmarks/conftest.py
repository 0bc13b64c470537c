"""benchmarks/ isn't installed: it is found in the checkout. At the end of the search path, so that
the installed minillm is what is tested, also when it isn't this source tree."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
