"""Stepping through a model: one operation at a time, forward and back.

Reading order: insight/source.py (the source as statements), snapshots.py (what a variable held),
recording.py (run once, keep every step), walk.py (next, into, out, back), session.py (a text runs
through a model), grids.py (arrays on a terminal), variables.py (the variables of a step), plain.py
(the steps as lines); then the screen, which needs `textual`: source_pane.py, screen.py and the
screens above it, inspect_screen.py, source_screen.py, help_screen.py.
"""
