"""What computes: another of it gives other last bits, so a checkpoint says which one it was."""

import numpy as np

from minillm import __version__, kernels


def environment():
    """-> {what: which}: the kernels, their instruction set, the versions; all strings"""
    facts = kernels.info()
    found = {"minillm": __version__, "numpy": np.__version__, "kernels": kernels.current()}
    if kernels.current() == "c":
        found["instruction set"] = facts["instruction set"]
    else:
        found["numpy blas"] = facts["numpy blas"]
    return found


def differences(stored):
    """-> a warning for each thing in `stored`, an `environment()`, that is another one here"""
    mine = environment()
    follow = {"kernels": "MINILLM_KERNELS", "instruction set": "MINILLM_ISA"}
    warnings = []
    for name, value in stored.items():
        if mine.get(name, value) != value:
            how = f"; to go on with the same bits, set {follow[name]}={value}" if name in follow else ""
            warnings.append(f"the checkpoint was computed with {name} {value}, this is {mine[name]}: "
                            f"the last bits of the numbers will differ{how}")
    return warnings
