"""Pictures and numbers of everything that looks inside, in files."""

from minillm.figures import write_figure
from minillm.files import expand
from minillm.json_files import plain, write_json

PICTURES = (".png", ".svg")


def require_picture(path, name="path"):
    """ValueError for a path, of the argument `name`, that isn't a picture's"""
    if expand(path).suffix.lower() not in PICTURES:
        raise ValueError(f"{name} is {str(path)!r}, wanted a name that ends in "
                         f"{' or '.join(PICTURES)}")


def export(path, result):
    """Write a result to a file, atomically -> its Path

        export("heads.svg", attention.plot_attention(weights, tokens))
        export("heads.json", attention.summarize_heads(weights))

    result: a matplotlib Figure, for a .png or an .svg; or what a function here returns, with its
        arrays, NamedTuples and dicts, which becomes JSON

    Raises ValueError for a picture with another suffix.
    """
    path = expand(path)
    if hasattr(result, "savefig"):  # a matplotlib Figure
        require_picture(path)
        write_figure(path, result)
    else:
        content = plain(result)
        content = content if isinstance(content, dict) else {"values": content}
        write_json(path, content, ensure_ascii=False)
    return path
