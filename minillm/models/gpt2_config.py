"""The configuration of a GPT-2, as Hugging Face's config.json has it."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from minillm.models.pretrained import find_pretrained, read_config, write_config

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu",
               "relu": "relu"}
# Options of Hugging Face's configuration that change what the model computes, with the only
# value that is implemented here.
FIXED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
         "add_cross_attention": False, "tie_word_embeddings": True}
SAME_OPTION = {"hidden_size": "n_embd", "max_position_embeddings": "n_positions",
               "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}


@dataclass
class GPT2Config:
    """The shape of a GPT-2; the defaults are the smallest of the paper's four, 124M parameters.

    vocab_size V, n_positions (the longest sequence), n_embd (d_model), n_layer, n_head;
    n_inner: d_ff, 4 n_embd by default; activation_function: "gelu_new" (the paper's, with tanh),
    "gelu" or "relu"; resid_pdrop, embd_pdrop, attn_pdrop: dropout of the sub-layers' results, of
    the embeddings and of the attention weights; initializer_range: std of the initial weights.

    Raises ValueError for numbers that don't make a model.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int | None = 50256
    eos_token_id: int | list | None = 50256
    pad_token_id: int | None = None

    def __post_init__(self):
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            _require_positive(name, getattr(self, name))
        if self.n_inner is not None:
            _require_positive("n_inner", self.n_inner)
        if self.n_embd % self.n_head:
            raise ValueError(f"n_head is {self.n_head}, wanted a divisor of n_embd = {self.n_embd}")
        if self.activation_function not in ACTIVATIONS:
            raise ValueError(f"activation_function is {self.activation_function!r}, wanted one of "
                             f"{', '.join(ACTIVATIONS)}")
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted a number from 0 up to, "
                                 "not including, 1")

    @classmethod
    def from_dict(cls, stored):
        """From the contents of a config.json; what doesn't concern the model is passed over."""
        stored = {SAME_OPTION.get(name, name): value for name, value in stored.items()}
        for name, value in FIXED.items():
            if stored.get(name, value) != value:
                raise ValueError(f"config.json has {name} = {stored[name]}, but only {value} is "
                                 "implemented")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def attention_scale(self, layer):
        """-> what multiplies the scores of block number `layer`; None: the usual 1 / √D"""
        return None

    def to_dict(self):
        """-> dict for config.json"""
        return {"model_type": "gpt2", **asdict(self)}

    @classmethod
    def from_pretrained(cls, name_or_path):
        return cls.from_dict(read_config(find_pretrained(name_or_path), "gpt2"))

    def save_pretrained(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_config(folder, self.to_dict())


def _require_positive(name, value):
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}, wanted an integer of at least 1")
