"""`minillm explore`: the page on which a model can be looked into."""

import webbrowser

from minillm.cli.opening import open_trained
from minillm.cli.terminal import progress_bar, say
from minillm.explorer.explorer import Explorer
from minillm.explorer.export import export_page
from minillm.files import atomic_write, expand
from minillm.insight.subject import Subject

PORT = 8600


def explore(options):
    subjects = [Subject.open(name, open_trained) for name in options.model or ["pydoc-tiny"]]
    explorer = Explorer(subjects, options.text or first_text(subjects[0]))
    if options.export:
        return export(explorer, options)
    for name in ("compare", "view"):
        if getattr(options, name):
            raise ValueError(f"--{name} is for --export, wanted both or neither")
    serve(explorer, options)


def first_text(subject):
    """-> a text to begin with; a masked model gets a mask to fill in"""
    mask = subject.tokenizer.mask_token
    if mask and not hasattr(subject.model, "lm_head"):
        return f"The file is {mask} for reading."
    return "The assignment statement assigns the value of an expression to a name. The assignment"


def export(explorer, options):
    with progress_bar("answering", 100) as advance:
        text = export_page(
            explorer, compare=options.compare, views=options.view, language=options.language,
            report=lambda done, total: advance(100 * done // total))
    path = expand(options.export)
    with atomic_write(path, "w") as file:
        file.write(text)
    say(f"page: {path} ({path.stat().st_size / 1e6:.1f} MB; it opens without a server)")


def serve(explorer, options):
    try:
        from minillm.explorer.server import Server
    except ImportError as error:
        raise ImportError(f"the page needs {error.name}: pip install 'minillm[explore]'; --export "
                          "writes a page that needs no server") from None
    server = listen(Server, explorer, options)
    say(f"The explorer is at {server.url}\nCtrl-C ends it.")
    if options.open:
        webbrowser.open(server.url)
    try:
        server.run()
    except KeyboardInterrupt:
        say("The explorer has ended.")


def listen(Server, explorer, options):
    """-> a Server on --port; without it, on PORT or, if that is taken, on any free one"""
    if options.port is not None and not 0 <= options.port < 2**16:
        raise ValueError(f"--port is {options.port}, wanted 0 … 65535")
    try:
        return Server(explorer, options.host, PORT if options.port is None else options.port)
    except OSError as error:
        if options.port is None:
            return Server(explorer, options.host, 0)
        raise ValueError(f"--port {options.port} on {options.host}: {error.strerror}") from None
