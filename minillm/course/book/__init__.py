"""The book: the chapters in notebooks_md/, run and rendered as a site that needs no network.

    make book                                    or, with the extra [book] installed,
    python -m minillm.course.book [--output FOLDER] [--no-run]

Reading order: notebooks.py (a chapter becomes a notebook, with the outputs of running it),
explorer_pages.py (pages of the explorer inside the chapters), index.py (the first page), building.py (all chapters, and what needs no second run), conf.py (the
configuration of Sphinx). static/ has the style sheet and the few lines of JavaScript.
"""
