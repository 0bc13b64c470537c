"""The measurements, one file for each kind of work. A section is a function of a Context that
returns a `Section`; SECTIONS in sections/all.py lists them in the order of the report."""
