"""The software that computes. Another one changes the last bits, so a checkpoint records it."""

import numpy as np

from minillm import __version__, kernels


def environment():
    """-> {name: value}, all strings: the kernels, their instruction set, the versions"""
    facts = kernels.info()
    found = {"minillm": __version__, "numpy": np.__version__, "kernels": kernels.current()}
    if kernels.current() == "c":
        found["instruction set"] = facts["instruction set"]
    else:
        found["numpy blas"] = facts["numpy blas"]
    return found


def differences(stored):
    """-> a warning for each entry of `stored`, an earlier `environment()`, that differs here"""
    mine = environment()
    follow = {"kernels": "MINILLM_KERNELS", "instruction set": "MINILLM_ISA"}
    warnings = []
    for name, value in stored.items():
        if mine.get(name, value) != value:
            how = f"; set {follow[name]}={value} for the same bits" if name in follow else ""
            warnings.append(f"the checkpoint was computed with {name} {value}, this is "
                            f"{mine[name]}: the last bits of the numbers will differ{how}")
    return warnings
