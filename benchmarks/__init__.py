"""How fast is minillm, next to the chip's own limits, NumPy, PyTorch and Hugging Face?

In reading order: harness.py (fair timing), worker.py (a competitor in a process of its own),
with_minillm.py, with_numpy.py, with_torch.py, with_hugging_face.py (the same work by each of them),
sections/ (what is measured), results.py, tables.py, plots.py, command.py (`minillm bench`).
"""
