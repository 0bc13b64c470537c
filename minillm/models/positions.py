"""The field `position_embedding` of a configuration: how a model knows the order of its tokens.

    "learned"       a table of vectors, added to the embeddings          (GPT, BERT)
    "sinusoidal"    fixed vectors, added to the embeddings               (Vaswani et al. 2017)
    "rotary"        queries and keys are rotated                         (Su et al. 2021)
    "alibi"         - slope * distance is added to the scores            (Press et al. 2022)
    "t5"            a learned number for the distance is added to them   (Raffel et al. 2020)
    "none"          a causal mask alone: position t is where t + 1 keys are visible
                                                                         (Haviv et al. 2022)

All but "learned" have no limit.
"""

from minillm.checks import shown
from minillm.nn import Alibi, Embedding, RelativeBias, Rotary, SinusoidalEmbedding

POSITION_EMBEDDINGS = ("learned", "sinusoidal", "rotary", "alibi", "t5", "none")


def require_position_embedding(kind, head_dim):
    """Raise ValueError unless `kind` is one of POSITION_EMBEDDINGS and fits heads of this width."""
    if kind not in POSITION_EMBEDDINGS:
        raise ValueError(f"position_embedding is {shown(kind)}, wanted one of "
                         f"{', '.join(POSITION_EMBEDDINGS)}")
    if kind == "rotary" and head_dim % 2:
        raise ValueError(f"position_embedding is 'rotary', but a head has {head_dim} numbers, "
                         "wanted an even number to rotate in pairs")


def position_vectors(kind, n_positions, d_model, **init):
    """-> the layer from position_ids to the vectors that are added to the embeddings, or None

    init: `rng` and `std` of the initial weights
    """
    if kind == "learned":
        return Embedding(n_positions, d_model, **init)
    if kind == "sinusoidal":
        return SinusoidalEmbedding(d_model)
    return None


def attention_positions(kind, n_heads, head_dim, *, n_buckets=32, max_distance=128,
                        bidirectional=False, **init):
    """-> the `positions` of all attention layers of a model, or None

    n_buckets, max_distance, bidirectional: see RelativeBias;  init: as above
    """
    if kind == "rotary":
        return Rotary(head_dim)
    if kind == "alibi":
        return Alibi(n_heads)
    if kind == "t5":
        return RelativeBias(n_heads, n_buckets=n_buckets, max_distance=max_distance,
                            bidirectional=bidirectional, **init)
    return None
