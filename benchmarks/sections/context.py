"""The context of every section: the competitors, and the limits of the machine, measured first."""

from dataclasses import dataclass, field

from benchmarks.machine import available_cores, supported_core_types
from benchmarks.peers import Arena, Side


@dataclass
class Context:
    arena: Arena
    threads: tuple = ()  # the numbers of threads to measure with; see `default_threads`
    fma_peak: dict = field(default_factory=dict)  # threads -> GFLOP/s
    blas_kernel: str | None = None  # OpenBLAS's name for the kernels that it chooses by default
    wide_vectors_pay: bool = False  # True if AVX-512 has a higher peak here than AVX2
    llm_c: str | None = None  # the folders of programs in C, see programs.py
    llama_cpp: str | None = None

    @property
    def effort(self):
        return self.arena.effort

    @property
    def quick(self):
        return self.effort.is_quick

    @property
    def most_threads(self):
        return self.threads[-1]

    def minillm(self, threads, label="minillm", **options):
        return Side(f"{label}", "minillm", threads, options=tuple(options.items()))

    def numpy(self, threads):
        """NumPy as it is installed."""
        return Side("NumPy", "numpy", threads)

    def numpy_core_types(self, threads):
        """NumPy with the kernels for another chip, which this one can run as well."""
        return [Side(f"NumPy ({name})", "numpy", threads, (("OPENBLAS_CORETYPE", name),))
                for name in supported_core_types() if self.blas_kernel not in (None, name)]

    def torch(self, threads, label="PyTorch", **options):
        return Side(label, "torch", threads, options=tuple(options.items()))

    def hugging_face(self, threads):
        return Side("Hugging Face", "hugging_face", threads)

    def blas_goal(self):
        """-> the wanted ratio between a matmul and that of NumPy as installed, on this machine

        Where OpenBLAS picks AVX2 kernels on a chip that computes twice as much with AVX-512, 1.8
        times; where both reach the same peak neither can be much faster.
        """
        return 1.8 if self.wide_vectors_pay and self.blas_kernel in ("Haswell", "Zen") else 0.95


def default_threads():
    """-> 1, and 2 if there are two cores: the same for all competitors"""
    return (1, 2) if available_cores() > 1 else (1,)
