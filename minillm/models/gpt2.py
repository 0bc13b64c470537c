"""GPT-2: Radford, Wu, Child, Luan, Amodei and Sutskever 2019, "Language Models are Unsupervised
Multitask Learners".

A stack of decoder blocks over token and position embeddings, trained to guess the next token:

    ids (B, T) ── wte ─┐
                       + ── dropout ── block 0 ── … ── block L-1 ── ln_f ── wteᵀ ── logits (B, T, V)
    positions ─── wpe ─┘
    block:  x = x + attention(norm1(x));  x = x + feed_forward(norm2(x))

What section 2.3 of the paper changes about GPT-1: the normalizations stand before the sub-layers
("pre-norm"), one more stands after the last block, and the weights that write into the residual
stream start smaller by √(2 L), the number of such writes. The output head is the embedding table.

The names of classes and arguments are those of Hugging Face's `transformers`, and so are the files.
"""

import math
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from minillm.checks import require_ids
from minillm.models.generation_config import GenerationConfig
from minillm.models.outputs import BaseOutput, CausalLMOutput, next_token_loss
from minillm.models.pretrained import (
    find_pretrained,
    read_config,
    read_weights,
    write_config,
    write_weights,
)
from minillm.nn import DecoderBlock, Dropout, Embedding, LayerNorm, Module
from minillm.ops.linear import linear, linear_backward

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

    def to_dict(self):
        """-> dict for config.json"""
        return {"model_type": "gpt2", **asdict(self)}

    @classmethod
    def from_pretrained(cls, name_or_path):
        return cls.from_dict(read_config(find_pretrained(name_or_path), "gpt2"))

    def save_pretrained(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_config(folder, self.to_dict())


class GPT2PreTrainedModel(Module):
    """What GPT2Model and GPT2LMHeadModel share: loading and saving in Hugging Face's format."""

    # The subclasses also have `body`, the GPT2Model in them, whose parameters are all there are.
    prefix = ""  # of the names of its tensors in a file

    @classmethod
    def from_pretrained(cls, name_or_path, **changes):
        """The model of a directory or a name (see `find_pretrained`), in eval mode: no dropout.

        changes: fields of GPT2Config that overrule config.json, such as pad_token_id=50256.
        Weights stored as float16 or bfloat16 become float32.
        Raises FileNotFoundError, ValueError for files that are damaged, don't fit each other or
        hold another architecture, TypeError for an unknown option.
        """
        folder = find_pretrained(name_or_path)
        config = replace(GPT2Config.from_dict(read_config(folder, "gpt2")), **changes)
        model = cls(config)
        model._take_weights(read_weights(folder), folder)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.read(folder / "generation_config.json")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if name in changes or getattr(model.generation_config, name) is None:
                setattr(model.generation_config, name, getattr(config, name))
        return model.eval()

    def save_pretrained(self, folder, dtype="float32"):
        """Write model.safetensors, config.json and generation_config.json into `folder`.

        dtype: "float32", or "float16" for half the size. `transformers` opens the folder.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        arrays = {self.prefix + to_hub_name(name): array
                  for name, array in self.body.state_dict().items()}
        write_weights(folder, arrays, dtype)
        architecture = {"architectures": [type(self).__name__], "dtype": str(np.dtype(dtype))}
        write_config(folder, {**architecture, **self.config.to_dict()})
        self.generation_config.write(Path(folder) / "generation_config.json")

    def num_parameters(self):
        """-> how many numbers are learned; the tied head counts once"""
        return sum(parameter.size for parameter in self.parameters())

    def _take_weights(self, arrays, folder):
        """Put the tensors of a checkpoint into the parameters, or say which one doesn't fit."""
        arrays = {name.removeprefix("transformer."): array for name, array in arrays.items()
                  if not _carries_nothing(name)}
        for name, parameter in self.body.named_parameters():
            hub_name = to_hub_name(name)
            if hub_name not in arrays:
                raise ValueError(f"{folder}: the weights have no {hub_name}, which config.json "
                                 "asks for")
            array = arrays.pop(hub_name)
            if array.shape != parameter.shape:
                raise ValueError(f"{folder}: {hub_name} has shape {array.shape}, wanted "
                                 f"{parameter.shape} by config.json")
            parameter.data = np.ascontiguousarray(array, np.float32)
        if arrays:
            raise ValueError(f"{folder}: the weights have {min(arrays)}, which config.json has no "
                             "place for")


class GPT2Model(GPT2PreTrainedModel):
    """GPT-2 without an output head: ids to the vectors after the last layer norm.

    Its parts have the paper's code's names: wte and wpe (embeddings of tokens and positions),
    drop, h (the blocks), ln_f. `seed` gives the initial weights and all dropout.
    """

    def __init__(self, config=None, seed=0):
        self.config = config = config or GPT2Config()
        self.generation_config = _generation_defaults(config)
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range
        self.wte = Embedding(config.vocab_size, config.n_embd, rng=rng, std=std)
        self.wpe = Embedding(config.n_positions, config.n_embd, rng=rng, std=std)
        self.drop = Dropout(config.embd_pdrop, rng)
        self.h = [
            DecoderBlock(
                config.n_embd,
                config.n_head,
                config.n_inner or 4 * config.n_embd,
                cross_attention=False,
                norm="pre",
                activation=ACTIVATIONS[config.activation_function],
                dropout=config.resid_pdrop,
                attention_dropout=config.attn_pdrop,
                eps=config.layer_norm_epsilon,
                rng=rng,
                std=std,
                output_std=std / math.sqrt(2 * config.n_layer),
            )
            for _ in range(config.n_layer)
        ]
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None,
                use_cache=False, output_attentions=False, output_hidden_states=False):
        """ids (B, T) -> BaseOutput with last_hidden_state (B, T, d_model)

        For the arguments see `GPT2LMHeadModel.forward`.
        """
        if past_key_values is None and use_cache:
            past_key_values = _new_cache()
        n_past = 0 if past_key_values is None else past_key_values.length
        input_ids = _checked_ids(input_ids, self.config, n_past)
        B, T = input_ids.shape
        key_mask = _checked_mask(attention_mask, (B, n_past + T))
        positions = _checked_positions(position_ids, B, T, n_past, self.config.n_positions)

        x = self.wte(input_ids) + self.wpe(positions)
        x = self.drop(x)
        states, attentions = [x], []
        for layer, block in enumerate(self.h):
            kv_cache = None if past_key_values is None else past_key_values.layer(layer)
            x = block(x, key_mask=key_mask, kv_cache=kv_cache, return_weights=output_attentions)
            if output_attentions:
                x, weights = x
                attentions.append(weights)
            if output_hidden_states:
                states.append(x)
        x = self.ln_f(x)
        states[-1] = x

        self.remember(len(positions) == B)
        return BaseOutput(
            x,
            past_key_values,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def backward(self, dx):
        """dx: (B, T, d_model), the gradient of last_hidden_state. Ids have none: returns nothing."""
        one_position_a_token = self.recall()
        dx = self.ln_f.backward(dx)
        for block in reversed(self.h):
            dx = block.backward(dx)
        dx = self.drop.backward(dx)
        # The rows of a batch usually share the positions (1, T): their gradients add up.
        self.wpe.backward(dx if one_position_a_token else dx.sum(axis=0, keepdims=True))
        self.wte.backward(dx)

    @property
    def body(self):
        return self


class GPT2LMHeadModel(GPT2PreTrainedModel):
    """GPT-2 with its output head, which is the embedding table once more (Press and Wolf 2017):

        logits = transformer(ids) wteᵀ

    A new model is in training mode (dropout on); `from_pretrained` gives one in eval mode.
    """

    prefix = "transformer."

    def __init__(self, config=None, seed=0):
        self.transformer = GPT2Model(config, seed)
        self.config = self.transformer.config
        self.generation_config = self.transformer.generation_config

    @property
    def rng(self):
        """The Generator that all dropout draws from."""
        return self.transformer.rng

    def forward(self, input_ids, attention_mask=None, position_ids=None, labels=None,
                past_key_values=None, use_cache=False, output_attentions=False,
                output_hidden_states=False, logits_to_keep=0):
        """Scores for the next token at every position -> CausalLMOutput

        input_ids: integers (B, T)
        attention_mask: (B, T) of 1 (token) and 0 (padding), or (B, past + T) with past_key_values.
            It hides keys. It doesn't move positions: give position_ids with padding on the left.
        position_ids: integers (B, T) or (1, T); by default past, past + 1, …
        labels: (B, T), usually input_ids themselves, -100 where there is nothing to learn. Then
            `loss` is the mean cross-entropy of predicting each label from what is before it.
        past_key_values: a `minillm.generation.KVCache` with the keys and values of the tokens
            before input_ids; those of input_ids are added. use_cache=True starts a new one.
        output_attentions: also return every block's attention weights (B, H, T, keys)
        output_hidden_states: also return the input of every block, and the last hidden state
        logits_to_keep: only the logits of so many last positions; 0 means all. No backward then.

        Raises TypeError and ValueError for inputs of a wrong type or shape, for an id outside the
        vocabulary and for more than n_positions tokens.
        """
        if labels is not None:
            labels = _checked_labels(labels, np.shape(input_ids), self.config.vocab_size)
            if logits_to_keep:
                raise ValueError("labels need the logits of all positions: logits_to_keep must be 0")
        base = self.transformer(input_ids, attention_mask, position_ids, past_key_values,
                                use_cache, output_attentions, output_hidden_states)
        hidden = base.last_hidden_state[:, -logits_to_keep:]
        logits, head_cache = linear(hidden, self.transformer.wte.weight.data, transpose_W=True)

        has_backward = base.past_key_values is None and not logits_to_keep
        self.remember(head_cache if has_backward else None)
        loss = None if labels is None else next_token_loss(self, logits, labels)
        return CausalLMOutput(loss, logits, base.past_key_values, base.hidden_states,
                              base.attentions)

    def backward(self, dlogits):
        """dlogits: (B, T, V); `loss.backward()` computes it and comes here. Fills every .grad."""
        head_cache = self.recall()
        dW, accumulate = self.transformer.wte.weight.gradient_target()
        dhidden, _, _ = linear_backward(dlogits, head_cache, dW=dW, accumulate=accumulate)
        # The table was used twice; wte.backward adds the embedding's share to the head's.
        self.transformer.backward(dhidden)

    def generate(self, input_ids=None, attention_mask=None, **options):
        """Continue the prompts `input_ids` (B, T): see `minillm.generation.generate`."""
        # Decoding is built on models, a floor above, but programs expect it as a method of the
        # model. So the import stands here, and not at the top.
        from minillm.generation import generate

        return generate(self, input_ids, attention_mask, **options)

    @property
    def body(self):
        return self.transformer


# ---- names

# A parameter's name here -> its name in Hugging Face's files. Their weights are (d_in, d_out) too.
RENAMED = [
    ("norm1.gain", "ln_1.weight"),
    ("norm1.bias", "ln_1.bias"),
    ("attention.qkv", "attn.c_attn"),
    ("attention.output", "attn.c_proj"),
    ("norm2.gain", "ln_2.weight"),
    ("norm2.bias", "ln_2.bias"),
    ("feed_forward.expand", "mlp.c_fc"),
    ("feed_forward.contract", "mlp.c_proj"),
    ("ln_f.gain", "ln_f.weight"),
]


def to_hub_name(name):
    """h.0.attention.qkv.weight -> h.0.attn.c_attn.weight"""
    for here, there in RENAMED:
        name = name.replace(here, there)
    return name


def _carries_nothing(name):
    """True for what old checkpoints have beside the weights: the causal mask, stored per layer, and
    the tied head, which is wte once more."""
    name = name.removeprefix("transformer.")
    return name == "lm_head.weight" or re.fullmatch(r"h\.\d+\.attn\.(masked_)?bias", name)


# ---- checks of inputs

def _checked_ids(input_ids, config, n_past):
    input_ids = np.asarray(input_ids)
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids has shape {input_ids.shape}, wanted (B, T): a batch of "
                         "sequences")
    if input_ids.size == 0:
        raise ValueError(f"input_ids has shape {input_ids.shape}: there is no token in it")
    end = n_past + input_ids.shape[1]
    if end > config.n_positions:
        raise ValueError(f"input_ids reaches {end} tokens, wanted at most n_positions = "
                         f"{config.n_positions}")
    return require_ids("input_ids", input_ids, config.vocab_size)


def _checked_mask(attention_mask, shape):
    """-> bool array, or None if there is nothing to hide"""
    if attention_mask is None:
        return None
    mask = np.asarray(attention_mask)
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, wanted {shape}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError("attention_mask contains other numbers than 0 (padding) and 1 (token)")
    mask = mask.astype(bool, copy=False)
    return None if mask.all() else mask


def _checked_positions(position_ids, B, T, n_past, n_positions):
    """-> (1, T) or (B, T)"""
    if position_ids is None:
        return np.arange(n_past, n_past + T)[None]
    position_ids = np.asarray(position_ids)
    if position_ids.shape not in ((1, T), (B, T)):
        raise ValueError(f"position_ids has shape {position_ids.shape}, wanted {(B, T)}")
    return require_ids("position_ids", position_ids, n_positions)


def _checked_labels(labels, shape, vocab_size):
    labels = np.asarray(labels)
    if labels.shape != shape:
        raise ValueError(f"labels has shape {labels.shape}, wanted {shape} as input_ids")
    require_ids("labels", np.where(labels == -100, 0, labels), vocab_size)
    return labels


def _require_positive(name, value):
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}, wanted an integer of at least 1")


def _generation_defaults(config):
    return GenerationConfig(bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id,
                            pad_token_id=config.pad_token_id)


def _new_cache():
    # Imported here for the reason given in `generate`.
    from minillm.generation.kv_cache import KVCache

    return KVCache()
