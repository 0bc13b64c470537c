"""The course: running and checking the chapters in notebooks_md/, and what they draw and show with.

Reading order: chapters.py (a chapter as cells and prose), running.py (run them), prose_numbers.py
(the numbers in the prose are computed again), figures.py, drawing.py and diagrams.py (what chapters
draw), source.py (the library's code, live), checking.py and comparison.py (exercises, and the
mistake behind a wrong answer), exercises/ (one file per chapter); worked_example.py and its
renderers, stepper/ (one statement at a time), debugging.py (pdb with a script), book/ (the chapters
as a site).
"""
