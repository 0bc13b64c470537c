"""The field `position_embedding` of a configuration: how a model knows the order of its tokens.

    "learned"       a table of vectors, added to the embeddings          (GPT, BERT)
    "sinusoidal"    fixed vectors, added to the embeddings               (Vaswani et al. 2017)
    "rotary"        queries and keys are rotated                         (Su et al. 2021)
    "alibi"         - slope * distance is added to the scores            (Press et al. 2022)
    "t5"            a learned number for the distance is added to them   (Raffel et al. 2020)
    "none"          a causal mask alone: position t is where t + 1 keys are visible
                                                                         (Haviv et al. 2022)

All but "learned" have no limit, except in the Transformer, whose file names one.
"""

from dataclasses import dataclass, field

from minillm.checks import shown
from minillm.models.config import PreTrainedConfig, require_number
from minillm.models.weight_table import Size
from minillm.nn import Alibi, Embedding, RelativeBias, Rotary, SinusoidalEmbedding
from minillm.nn.per_example import n_examples

POSITION_EMBEDDINGS = ("learned", "sinusoidal", "rotary", "alibi", "t5", "none")


# The fields that `transformers` doesn't have for these architectures.
OUR_FIELDS = ("position_embedding", "relative_attention_num_buckets",
              "relative_attention_max_distance")


@dataclass
class PositionConfig(PreTrainedConfig):
    """The base of the configuration of an architecture whose positions can be exchanged.

    position_embedding: one of POSITION_EMBEDDINGS. With any other than "learned", sequences may
        become longer than max_position_embeddings. A file names this field only if it isn't the
        architecture's own; `transformers` doesn't know it, and can't run such a model.
    relative_attention_num_buckets, relative_attention_max_distance: for "t5", see RelativeBias
    """

    position_embedding: str = field(default="learned", kw_only=True)
    relative_attention_num_buckets: int = field(default=32, kw_only=True)
    relative_attention_max_distance: int = field(default=128, kw_only=True)

    def require_positions(self, head_dim):
        """Raise ValueError for fields above that are out of range, or don't fit heads of this
        width.
        """
        require_position_embedding(self.position_embedding, head_dim)
        n_buckets = self.relative_attention_num_buckets
        require_number("relative_attention_num_buckets", n_buckets, 2)
        require_number("relative_attention_max_distance", self.relative_attention_max_distance,
                       n_buckets // 2 + 1)

    @property
    def position_limit(self):
        """The maximum length of a sequence; None for positions without a limit."""
        return self.max_position_embeddings if self.position_embedding == "learned" else None

    @property
    def scales_embeddings(self):
        """Sinusoids are added to token embeddings times √d_model (Vaswani et al. 2017, sec. 3.4),
        which are then as long as the sinusoids.
        """
        return self.position_embedding == "sinusoidal"

    def to_dict(self):
        """-> dict for config.json, without the fields of minillm alone that have their default"""
        return {name: value for name, value in super().to_dict().items()
                if name not in OUR_FIELDS or value != getattr(type(self), name)}


def require_position_embedding(kind, head_dim):
    """Raise ValueError unless `kind` is one of POSITION_EMBEDDINGS and fits heads of this width."""
    if kind not in POSITION_EMBEDDINGS:
        raise ValueError(f"position_embedding is {shown(kind)}, wanted one of "
                         f"{', '.join(POSITION_EMBEDDINGS)}")
    if kind == "rotary" and head_dim % 2:
        raise ValueError(f"position_embedding is 'rotary', but a head has {head_dim} numbers, "
                         "wanted an even number to rotate in pairs")


def position_vectors(config, *, interleaved=True, **init):
    """-> the layer from position_ids to the vectors that are added to the embeddings, or None

    interleaved: see ops/positions.py;  init: `rng` and `std` of the initial weights
    """
    if config.position_embedding == "learned":
        return Embedding(config.max_position_embeddings, config.hidden_size, **init)
    if config.position_embedding == "sinusoidal":
        return SinusoidalEmbedding(config.hidden_size, interleaved=interleaved)
    return None


def sum_over_sequences(dx, position_ids):
    """dx: (B, T, d_model), position_ids: (B, T), or (1, T) if all sequences share their positions

    -> the gradient of the layer above: shared vectors get the sum of their gradients, (1, T, d),
    except inside `per_example_gradients`, which keeps the examples apart
    """
    if len(position_ids) == len(dx) or n_examples() is not None:
        return dx
    return dx.sum(axis=0, keepdims=True)


def attention_positions(config, n_heads, head_dim, *, bidirectional=False, **init):
    """-> the `positions` of all attention layers of a stack with these heads, or None

    bidirectional: see RelativeBias;  init: as above
    """
    if config.position_embedding == "rotary":
        return Rotary(head_dim)
    if config.position_embedding == "alibi":
        return Alibi(n_heads)
    if config.position_embedding == "t5":
        return RelativeBias(n_heads, n_buckets=config.relative_attention_num_buckets,
                            max_distance=config.relative_attention_max_distance,
                            bidirectional=bidirectional, **init)
    return None


def position_sizes(vectors, bias, limit="max_position_embeddings"):
    """-> the Sizes of what is learned about positions: the tensors of a table of vectors, and of a
    RelativeBias

    limit: the field with the number of vectors
    """
    return [
        Size(limit, vectors, 0, exists=lambda config: config.position_embedding == "learned"),
        Size("relative_attention_num_buckets", bias, 0,
             exists=lambda config: config.position_embedding == "t5"),
    ]
