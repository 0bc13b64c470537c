"""Loading and saving a GPT-2 in Hugging Face's format, which has other names for the parameters."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from minillm.kernels.process import release_freed_memory
from minillm.generation.generation_config import GenerationConfig
from minillm.models.gpt2_config import GPT2Config
from minillm.models.pretrained import (
    find_pretrained,
    read_config,
    read_weights,
    write_config,
    write_weights,
)
from minillm.nn import Linear, Module
from minillm.ops.stored_weights import DTYPES, StoredWeights, store_together

# A parameter's name here -> its name in Hugging Face's files. Their weights are (d_in, d_out) too.
RENAMED = [
    ("norm1.weight", "ln_1.weight"),
    ("norm1.bias", "ln_1.bias"),
    ("attention.qkv", "attn.c_attn"),
    ("attention.output", "attn.c_proj"),
    ("norm2.weight", "ln_2.weight"),
    ("norm2.bias", "ln_2.bias"),
    ("feed_forward.expand", "mlp.c_fc"),
    ("feed_forward.contract", "mlp.c_proj"),
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


class GPT2PreTrainedModel(Module):
    """What GPT2Model and GPT2LMHeadModel share: loading and saving in Hugging Face's format."""

    # The subclasses also have `body`, the GPT2Model in them, whose parameters are all there are.
    prefix = ""  # of the names of its tensors in a file

    @classmethod
    def from_pretrained(cls, name_or_path, dtype=None, **changes):
        """The model of a directory or a name (see `find_pretrained`), in eval mode: no dropout.

        dtype: "float32", "bfloat16" or "int8", for a model that only generates: see
        `store_weights`. Without it the model can be trained.
        changes: fields of GPT2Config that overrule config.json, such as pad_token_id=50256.
        Weights stored as float16 or bfloat16 become float32.
        Raises FileNotFoundError, ValueError for files that are damaged, don't fit each other or
        hold another architecture, TypeError for an unknown option.
        """
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}, wanted one of {', '.join(DTYPES)}, or None")
        folder = find_pretrained(name_or_path)
        config = replace(GPT2Config.from_dict(read_config(folder, "gpt2")), **changes)
        model = cls(config, draw_weights=False)
        model._take_weights(read_weights(folder), folder)
        model.generation_config = GenerationConfig.from_pretrained(folder)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if name in changes:
                setattr(model.generation_config, name, changes[name])
        model.eval()
        return model if dtype is None else model.store_weights(dtype)

    def store_weights(self, dtype):
        """Store the weights of all linear maps and the token table for generating; return self.

        dtype: "float32" (as exact as before), "bfloat16" or "int8": `minillm.ops.stored_weights`.
        What takes no time stays as it is: position table, biases, gains. One token reads every
        weight once, so fewer bytes are more tokens a second. Such a model can't be trained or
        saved. Raises ValueError for another dtype, for weights that aren't finite as int8, and if
        they are stored already.
        """
        self._require_plain_weights("store once more")
        if dtype == "int8":
            self._require_finite_weights()
        linears = [module for module in self.body.modules() if isinstance(module, Linear)]
        matrices = [linear.weight.data.T for linear in linears] + [self.body.wte.weight.data]
        for module, stored in zip([*linears, self.body.wte], store_together(matrices, dtype)):
            module.weight.data = stored  # the same Parameter, which a tied head shares
        del matrices
        release_freed_memory()  # that of the weights as they were
        return self.eval()

    def state_dict(self):
        """-> {name: array}. ValueError for stored weights."""
        self._require_plain_weights("save")
        return super().state_dict()

    def load_state_dict(self, arrays):
        """Copy `arrays` into the parameters. ValueError for stored weights."""
        self._require_plain_weights("load")
        super().load_state_dict(arrays)

    def astype(self, dtype):
        """Convert every parameter; return self. ValueError for stored weights."""
        self._require_plain_weights("convert")
        return super().astype(dtype)

    def train(self, mode=True):
        """Switch dropout on (`mode` True) or off; return self. ValueError for stored weights."""
        if mode:
            self._require_plain_weights("train")
        return super().train(mode)

    def _require_plain_weights(self, purpose):
        weights = self.body.wte.weight.data
        if isinstance(weights, StoredWeights):
            raise ValueError(f"the weights are stored as {weights.dtype} for inference, wanted a "
                             f"model loaded without dtype to {purpose}")

    def _require_finite_weights(self):
        for name, parameter in self.body.named_parameters():
            if not np.isfinite(parameter.data).all():
                raise ValueError(f"{name} has infinite or NaN weights, wanted finite ones to store "
                                 "as int8")

    def save_pretrained(self, folder, dtype="float32"):
        """Write model.safetensors, config.json and generation_config.json into `folder`.

        dtype: "float32", or "float16" for half the size. `transformers` opens the folder.
        """
        state = self.body.state_dict()
        Path(folder).mkdir(parents=True, exist_ok=True)
        arrays = {self.prefix + to_hub_name(name): array
                  for name, array in state.items()}
        write_weights(folder, arrays, dtype)
        architecture = {"architectures": [type(self).__name__], "dtype": str(np.dtype(dtype))}
        write_config(folder, {**architecture, **self.config.to_dict()})
        self.generation_config.save_pretrained(folder)

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
