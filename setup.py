"""The build of the C extensions; everything else about the package is in pyproject.toml.

The kernels are compiled once for each instruction set, into separate extensions:
minillm.kernels._c_avx512 and so on. minillm/kernels/c_library.py imports the widest one that the
chip can run. Without a working C compiler the installation succeeds: minillm then uses NumPy.

    MINILLM_CFLAGS="-Wall -Wextra -Werror" pip install .     # flags added to the compiler's
    MINILLM_REQUIRE_C=1 pip install .                        # fail when the C can't be built
"""

import os
import platform
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

KERNEL_SOURCES = ["csrc/matmul.c", "csrc/gemv.c", "csrc/attention.c", "csrc/rows.c",
                  "csrc/decode.c", "csrc/machine.c", "csrc/threads.c"]

# The first rungs of the ladder show the effect of the order of the work. Automatic vectorization
# would hide it, so it is off.
SCALAR_SOURCES = ["csrc/matmul_ladder.c", "csrc/attention_ladder.c"]
SCALAR_FLAGS = ["-fno-tree-vectorize", "-fno-tree-slp-vectorize"]

# Each list names exactly the features that machine.c checks.
INSTRUCTION_SETS = {
    "amx": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma",
            "-mamx-tile", "-mamx-bf16"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "baseline": [],
}

# -ffp-contract=fast lets a * b + c be one fused multiply-add; -fopenmp-simd lets `#pragma omp simd`
# mark the sums that may be reordered. Nothing else is relaxed: infinities and NaN behave
# as in NumPy.
C_FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno",
           "-fno-trapping-math", "-fopenmp-simd", "-fvisibility=hidden"]

# Threads need the whole of OpenMP, which Apple's compiler lacks: kernels use one thread there.
OPENMP = ["-fopenmp"]
OPENMP_PROGRAM = """#include <omp.h>
int main(void) { return omp_pause_resource_all(omp_pause_hard); }"""


class BuildKernels(build_ext):
    """Builds one extension for each instruction set that the compiler knows."""

    def run(self):
        try:
            super().run()
        except Exception as error:  # anything: compilers, and missing ones, fail in many ways
            if os.environ.get("MINILLM_REQUIRE_C"):
                raise
            self.announce_failure(error)

    def announce_failure(self, error):
        """Say what a missing compiler means. The package works without the C."""
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

    def build_extensions(self):
        self.extensions = [ext for ext in self.extensions if self.can_target(isa_of(ext))]
        self.openmp = OPENMP if self.compiles(OPENMP_PROGRAM, OPENMP) else []
        super().build_extensions()

    def build_extension(self, extension):
        isa = isa_of(extension)
        more_flags = shlex.split(os.environ.get("MINILLM_CFLAGS", ""))
        flags = C_FLAGS + self.openmp + more_flags + INSTRUCTION_SETS[isa]
        for sources, scalar_flags in ((KERNEL_SOURCES, []), (SCALAR_SOURCES, SCALAR_FLAGS)):
            extension.extra_objects += self.compiler.compile(
                sources,
                output_dir=str(Path(self.build_temp, isa)),
                include_dirs=extension.include_dirs,
                depends=extension.depends,
                extra_postargs=flags + scalar_flags,
            )
        extension.extra_compile_args += flags
        extension.extra_link_args += [*self.openmp, *more_flags]
        super().build_extension(extension)

    def can_target(self, isa):
        """True if the compiler supports the flags of this instruction set."""
        if isa == "baseline":
            return True
        x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")
        return x86 and self.compiles("int main(void) { return 0; }", INSTRUCTION_SETS[isa])

    def compiles(self, program, flags):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "try.c")
            source.write_text(program, encoding="utf-8")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=[*flags, "-Werror"]
                )
                self.compiler.link_executable(
                    objects, "try", output_dir=folder, extra_postargs=flags
                )
            except Exception:
                return False
        return True


class BuildPackage(build_py):
    """Puts the chapters of the course into the package. An editable install reads the checkout's."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "minillm", "course", "notebooks_md")
            shutil.copytree("notebooks_md", target, dirs_exist_ok=True)


def isa_of(extension):
    """minillm.kernels._c_avx2 -> avx2"""
    return extension.name.rpartition("._c_")[2]


setup(
    cffi_modules=[f"csrc/cffi_build.py:{isa}" for isa in INSTRUCTION_SETS],
    cmdclass={"build_ext": BuildKernels, "build_py": BuildPackage},
)
