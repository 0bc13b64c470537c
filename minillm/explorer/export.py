"""The page as one HTML file that opens without a server and without a network.

The file contains the modules of the page, its styles and messages, and the answers to the questions
that the views ask for the given text. What nobody has asked yet, it can't know: the page then says
how to start the explorer.
"""

import base64
import json
import re

from minillm.explorer.encoding import encode
from minillm.explorer.page import page_with, static_files
from minillm.explorer.views import OFFLINE, load_views

POLICY = ("default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; "
          "img-src data: blob:; base-uri 'none'; form-action 'none'")
_IMPORTED = re.compile(r'''(\bfrom\s*|\bimport\s*\(?\s*)"\./([\w-]+\.js)"''')


def export_page(explorer, *, compare=None, views=None, language="en", report=None):
    """-> str, the HTML of a page that shows explorer.text with every model of the explorer

    compare: a second text, beside the first
    views: names of the views to include, the first one opens first; None: all
    language: "en" or "zh"
    report(done, total): called after each answer

    Raises ValueError for an unknown view, and for a text that a model can't read.
    """
    load_views()
    names = list(page_views()) if views is None else list(views)
    for name in names:
        if name not in page_views():
            raise ValueError(f"view is {name!r}, wanted some of {', '.join(page_views())}")
    questions = list(_questions(explorer, ["shell", *names], compare))
    answers = {}
    for done, (name, fields) in enumerate(questions, 1):
        answers[canonical([name, fields])] = encode(explorer.ask(name, dict(fields)))
        if report is not None:
            report(done, len(questions))
    facts = encode({**explorer.ask("subjects", {}), "views": names, "compare": compare,
                    "lang": language})
    return assemble({"facts": facts, "answers": answers})


def page_views():
    """-> list of the names of the views, in the page's order"""
    order = static_files()["main.js"].decode("utf-8")
    return re.findall(r'^  \["(\w+)", \(\) => import', order, re.MULTILINE)


def _questions(explorer, names, compare):
    texts = [explorer.text, *([] if compare is None else [compare])]
    for key, subject in explorer.subjects.items():
        for text in texts:
            subject.read(text)  # refuses a text that the model can't read
            for name in names:
                for view, fields in OFFLINE.get(name, lambda subject, text: [])(subject, text):
                    yield view, {"model": key, "text": text, **fields}


def canonical(value):
    """-> str: the same text for the same question, as api.js writes it"""
    if isinstance(value, dict):
        fields = ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in sorted(value))
        return f"{{{fields}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def assemble(answers):
    """answers: {"facts", "answers"}, JSON values -> the HTML of the page with everything in it"""
    files = static_files()
    modules = {f"minillm/{name}": _data_url(_with_bare_names(files[name].decode("utf-8")))
               for name in files if name.endswith(".js")}
    style = files["style.css"].decode("utf-8")
    icon = base64.b64encode(files["icon.svg"]).decode("ascii")
    styles = (f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
              f"<style>{style}</style>\n"
              f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">')
    scripts = "\n".join([
        _json_script("messages", json.loads(files["messages.json"])),
        _json_script("answers", answers),
        f'<script type="importmap">{_safe(json.dumps({"imports": modules}))}</script>',
        '<script type="module">import "minillm/main.js";</script>',
    ])
    return page_with(styles, scripts)


def _with_bare_names(source):
    """-> the module with "./x.js" as "minillm/x.js", which the import map resolves"""
    return _IMPORTED.sub(r'\1"minillm/\2"', source)


def _data_url(source):
    return f"data:text/javascript;base64,{base64.b64encode(source.encode()).decode('ascii')}"


def _json_script(name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f'<script type="application/json" id="{name}">{_safe(text)}</script>'


def _safe(text):
    """-> JSON in which no tag can begin or end: a prompt may contain </script>"""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
