"""The benchmark: minillm against the limits of the chip, NumPy, PyTorch and Hugging Face.

In reading order: harness.py (fair timing), worker.py (a competitor in a separate process),
with_minillm.py, with_numpy.py, with_torch.py, with_hugging_face.py (the same work in each library),
sections/ (what is measured), results.py, tables.py, plots.py, command.py (`minillm bench`).
"""
