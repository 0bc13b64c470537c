"""`minillm inspect`: the embeddings, and the model itself."""

import numpy as np

from minillm.cli.inspecting.inspected import Inspected, write
from minillm.cli.terminal import table
from minillm.insight import geometry
from minillm.insight.anatomy import plot_anatomy, stacks_of


def _own_tokens(subject):
    """-> ids, names of the tokens that the embeddings are of: an encoder-decoder's source"""
    reading = subject.reading
    if reading.source_ids is None:
        return reading.ids, reading.tokens
    return reading.source_ids, reading.source_tokens


def inspect_neighbors(options):
    subject = Inspected.of_text(options)
    vectors = subject.model.get_input_embeddings().weight.data
    data, shown = {}, []
    for id, token in zip(*_own_tokens(subject)):
        rows, cosines = geometry.nearest(vectors, int(id), options.top)
        names = subject.names(rows)
        data[token] = [{"token": name, "cosine": float(c)} for name, c in zip(names, cosines)]
        shown.append((repr(token), ", ".join(f"{name!r} {c:.2f}"
                                             for name, c in zip(names, cosines))))
        if len(shown) == 1:
            first = np.concatenate([[int(id)], rows])
    table("the tokens with the most similar embeddings", shown, ("token", "neighbors (cosine)"))
    write(options, lambda: geometry.plot_plane(geometry.pca(vectors[first]), subject.names(first)),
          {"neighbors": data})


def inspect_embeddings(options):
    subject = Inspected.of_text(options)
    ids = list(dict.fromkeys(int(id) for id in _own_tokens(subject)[0]))
    if len(ids) < 3:
        raise ValueError(f"the text has {len(ids)} different tokens, wanted three or more: two "
                         "points span no plane")
    found = geometry.pca(subject.model.get_input_embeddings().weight.data[ids])
    names = subject.names(ids)
    table("the embeddings of the tokens in the plane that shows most of them: "
          + ", ".join(f"{share:.0%}" for share in found.explained) + " of the variance",
          [(repr(name), *(f"{x:+.3f}" for x in row))
           for name, row in zip(names, found.coordinates)],
          ("token", "axis 1", "axis 2"))
    write(options, lambda: geometry.plot_plane(found, names),
          {"tokens": names, "coordinates": found.coordinates, "explained": found.explained})


def inspect_anatomy(options):
    subject = Inspected.open_for(options)
    rows = [(block.name, "pre" if block.is_pre_norm else "post", block.n_heads, block.head_dim,
             sum(p.size for p in block.module.parameters()))
            for stack in stacks_of(subject.model).values() for block in stack]
    table(f"{options.model}: {subject.architecture}, "
          f"{subject.model.num_parameters():,} parameters",
          [(*row[:-1], f"{row[-1]:,}") for row in rows],
          ("block", "norm", "heads", "numbers a head", "parameters"))
    write(options, lambda: plot_anatomy(subject.model), {"blocks": [dict(zip(
        ("name", "norm", "n_heads", "head_dim", "parameters"), row)) for row in rows]})
