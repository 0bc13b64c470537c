"""The build of the C extension; everything else about the package is in pyproject.toml.

The kernels are compiled once for each instruction set, and csrc/dispatch.c picks one when it is
loaded. Without a working C compiler the installation goes on: minillm then computes with NumPy.

    MINILLM_CFLAGS="-Wall -Wextra -Werror" pip install .     # flags added to the compiler's
    MINILLM_REQUIRE_C=1 pip install .                        # fail when the C can't be built
"""

import os
import platform
import shlex
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

KERNEL_SOURCES = ["csrc/matmul.c", "csrc/attention.c", "csrc/rows.c", "csrc/machine.c"]

# The first rungs of the ladder show what the order of the work does. They are compiled without the
# compiler's own vector code, which would hide it.
SCALAR_SOURCES = ["csrc/matmul_ladder.c", "csrc/attention_ladder.c"]
SCALAR_FLAGS = ["-fno-tree-vectorize", "-fno-tree-slp-vectorize"]

# The widest first, as in dispatch.c. Each list names exactly what dispatch.c asks the chip for.
INSTRUCTION_SETS = {
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "baseline": [],
}

# -ffp-contract=fast lets a * b + c be one fused multiply-add. Nothing else is relaxed: infinities
# and NaN behave as in NumPy.
C_FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden"]


class BuildKernels(build_ext):
    """Builds the extension with the kernels compiled for every instruction set."""

    def run(self):
        try:
            super().run()
        except Exception as error:  # whatever the compiler or its absence raises
            if os.environ.get("MINILLM_REQUIRE_C"):
                raise
            self.announce_failure(error)

    def announce_failure(self, error):
        """Say what a missing compiler means. The package itself is complete without the C."""
        line = "*" * 78
        print(
            f"\n{line}\n"
            f"minillm: the C kernels could not be built: {error}\n"
            "minillm works all the same, with NumPy, but slower. For the fast kernels install a C\n"
            "compiler (Debian/Ubuntu: apt install build-essential python3-dev; macOS: xcode-select\n"
            f"--install) and then install minillm again.\n{line}\n",
            file=sys.stderr,
        )
        self.extensions = []  # nothing to copy into the source tree or to list as an output

    def build_extension(self, extension):
        flags = C_FLAGS + shlex.split(os.environ.get("MINILLM_CFLAGS", ""))
        link_flags = shlex.split(os.environ.get("MINILLM_CFLAGS", ""))
        if self.works("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }",
                      ["-fopenmp"]):
            flags = flags + ["-fopenmp"]
            link_flags = link_flags + ["-fopenmp"]
        else:
            flags = flags + ["-Wno-unknown-pragmas"]  # those are `#pragma omp`

        objects, macros = [], []
        for isa, isa_flags in INSTRUCTION_SETS.items():
            if isa != "baseline" and not self.can_target(isa_flags):
                continue
            macros.append((f"HAVE_{isa.upper()}", "1"))
            for sources, more in ((KERNEL_SOURCES, []), (SCALAR_SOURCES, SCALAR_FLAGS)):
                objects += self.compiler.compile(
                    sources,
                    output_dir=str(Path(self.build_temp, isa)),
                    macros=[("ISA", isa)],
                    include_dirs=extension.include_dirs,
                    depends=extension.depends,
                    extra_postargs=flags + isa_flags + more,
                )
        extension.define_macros += macros
        extension.extra_compile_args += flags
        extension.extra_link_args += link_flags
        extension.extra_objects += objects
        super().build_extension(extension)

    def can_target(self, isa_flags):
        """Does this compiler make code for x86-64, and does it know these instructions?"""
        x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")
        return x86 and self.works("int main(void) { return 0; }", isa_flags)

    def works(self, program, flags):
        """Does `program` compile and link with `flags`? Asked before using either."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "try.c")
            source.write_text(program, encoding="utf-8")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=[*flags, "-Werror"]
                )
                self.compiler.link_executable(objects, "try", folder, extra_postargs=flags)
            except Exception:
                return False
        return True


setup(cffi_modules=["csrc/cffi_build.py:ffi"], cmdclass={"build_ext": BuildKernels})
