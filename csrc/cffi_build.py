"""Describe the extensions minillm.kernels._c_... to cffi; `setup.py` builds them.

cffi reads the declarations from minillm.h, so nothing is declared twice.
"""

import re
from pathlib import Path

from cffi import FFI

header = Path("csrc/minillm.h").read_text(encoding="utf-8")


def describe(isa):
    """-> the FFI object of the extension for one instruction set"""
    ffi = FFI()
    ffi.cdef(re.sub(r"(?m)^#.*$", "", header))
    ffi.set_source(
        f"minillm.kernels._c_{isa}",
        '#include "minillm.h"',
        include_dirs=["csrc"],
        depends=sorted(map(str, Path("csrc").glob("*.[ch]"))),
    )
    return ffi


amx, avx512, avx2, baseline = map(describe, ("amx", "avx512", "avx2", "baseline"))
