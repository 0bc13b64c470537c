"""python -m benchmarks: the same as `minillm bench`."""

import sys

from benchmarks.command import main

try:
    sys.exit(main())
except (ValueError, OSError) as error:
    sys.exit(f"minillm: error: {error}")
