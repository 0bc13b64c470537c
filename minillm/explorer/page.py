"""The files of the page: plain modules of JavaScript, styles and messages, as they are served."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "json": "application/json",
               "svg": "image/svg+xml"}


def static_files():
    """-> {name: bytes} of all that the page may load"""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir())
            if path.suffix[1:] in MEDIA_TYPES}


def modules():
    """-> list of the names of the page's JavaScript modules"""
    return [name for name in static_files() if name.endswith(".js")]


def page():
    """-> str, the HTML of the served page; everything else is loaded from static/"""
    preloads = "\n".join(f'<link rel="modulepreload" href="static/{name}">' for name in modules())
    return _HTML.format(styles=f'<link rel="stylesheet" href="static/style.css">\n{preloads}\n'
                               '<link rel="icon" href="static/icon.svg">',
                        scripts='<script type="module" src="static/main.js"></script>')


def page_with(styles, scripts):
    """-> str, the HTML with other tags for its styles and scripts"""
    return _HTML.format(styles=styles, scripts=scripts)


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>minillm explorer</title>
{styles}
</head>
<body>
<noscript>This page needs JavaScript: it draws what happens inside a model.</noscript>
<div id="app" aria-busy="true"></div>
{scripts}
</body>
</html>
"""
