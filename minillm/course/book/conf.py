"""Sphinx's configuration of the book. Nothing on its pages comes from elsewhere."""

import shutil
from importlib.util import find_spec
from pathlib import Path

project = "minillm"
html_title = "minillm: the course"
language = "en"
extensions = ["myst_nb", "sphinx.ext.mathjax"]
nb_execution_mode = "off"  # the notebooks have been run
nb_merge_streams = True

# The chapters are Markdown as GitHub reads it; of MyST's additions only formulas and, on the first
# page, definition lists.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_disable_syntax = ["myst_line_comment", "myst_block_break", "myst_target", "myst_role"]
myst_heading_anchors = 3

# One file of the MathJax that the package sphinx-mathjax-offline carries: all of TeX's macros, and
# glyphs as SVG paths, because a page opened from disk may not load fonts in every browser.
mathjax_path = "tex-svg-full.js"
mathjax3_config = {"svg": {"fontCache": "global"}}

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
templates_path = ["templates"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # a summary is fetched, which pages opened from disk may not do
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_theme_options = {
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_issues_button": False,
    "use_source_button": False,
    "footer_content_items": "",
    "toc_title": "On this page",
    "logo": {"text": "minillm: the course"},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark as the system is
html_sidebars = {"**": ["navbar-logo.html", "search-button-field.html", "sbt-sidebar-nav.html"]}


def copy_mathjax(app, error):
    if error is None:
        package = Path(find_spec("sphinx-mathjax-offline").origin).parent
        shutil.copy(package / "static" / "mathjax" / mathjax_path, Path(app.outdir, "_static"))


def setup(app):
    app.connect("build-finished", copy_mathjax)
