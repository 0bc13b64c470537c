"""Describe the extension minillm.kernels._c to cffi; `setup.py` builds it.

The declarations are read from minillm.h, so that nothing is declared twice.
"""

import re
from pathlib import Path

from cffi import FFI

header = Path("csrc/minillm.h").read_text(encoding="utf-8")

ffi = FFI()
ffi.cdef(re.sub(r"(?m)^#.*$", "", header))
ffi.set_source(
    "minillm.kernels._c",
    '#include "minillm.h"',
    sources=["csrc/dispatch.c"],
    include_dirs=["csrc"],
    depends=sorted(map(str, Path("csrc").glob("*.[ch]"))),
)
