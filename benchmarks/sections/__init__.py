"""What is measured: one file for one kind of work. Each section is a function of a Context that
returns a `Section`, and SECTIONS in sections/all.py lists them in the order of the report."""
