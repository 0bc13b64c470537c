"""The base of every architecture's configuration: reading and writing Hugging Face's config.json.

No field of a config.json is dropped silently. Each is one of the following:

* a field of the dataclass: obeyed;
* named in REFUSED, with the values that change nothing: every other value is an error;
* named in ABOUT_THE_FILE: describes how the file was written, and is not kept;
* anything else, such as `id2label` or `task_specific_params`: has no effect on what the model
  computes, as in `transformers`; kept in `extra`, readable as an attribute, and saved again.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, get_type_hints

from minillm import json_files
from minillm.checks import shown
from minillm.files import expand
from minillm.hub import find_pretrained
from minillm.json_files import read_json, write_json
from minillm.models.loading_options import sort_options

MAX_BYTES = 16 * 2**20  # enough for the names of a hundred thousand labels
ABOUT_THE_FILE = {"model_type", "architectures", "dtype", "torch_dtype", "transformers_version",
                  "_name_or_path", "_commit_hash"}
# Fields of all architectures that aren't implemented, with the values that change nothing.
REFUSED = {
    "quantization_config": (None,),
    "is_encoder_decoder": (False, None),
    "add_cross_attention": (False, None),
    "pruned_heads": (None, {}, []),
    "per_layer_config": (None, {}),
    "tie_last_hidden_states": (None, True),
    "return_dict": (True, None),
}
# Names of activations in files -> layers here. Some functions have several names, one for each
# implementation.
ACTIVATIONS = {
    "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh", "gelu_accurate": "gelu_tanh", "gelu": "gelu",
    "gelu_python": "gelu", "quick_gelu": "quick_gelu", "relu": "relu", "silu": "silu",
    "swish": "silu",
    **{name: name for name in ("tanh", "sigmoid", "mish", "relu2", "relu6", "leaky_relu",
                               "hardswish", "linear")},
}


@dataclass
class PreTrainedConfig:
    """The base of an architecture's dataclass of fields. `extra` keeps all others.

    output_attentions, output_hidden_states: the defaults of the same arguments of `forward`
    num_labels, id2label, label2id: the classes of a classification head. You can change them like
        fields; a file stores id2label and label2id, which are kept in `extra`.

    A subclass sets `model_type`, `aliases` (other names of its fields) and `refused` (its additions
    to REFUSED).
    """

    model_type: ClassVar[str] = ""
    aliases: ClassVar[dict] = {}
    refused: ClassVar[dict] = {}

    output_attentions: bool | None = field(default=False, kw_only=True, repr=False)
    output_hidden_states: bool | None = field(default=False, kw_only=True, repr=False)
    extra: dict = field(default_factory=dict, kw_only=True, repr=False)

    @classmethod
    def from_dict(cls, content, path="config.json"):
        """From the contents of a config.json

        Raises ValueError, in one line, for a field of a wrong JSON type, for a value out of range,
        and for an option that would change the model and isn't implemented.
        """
        content = {cls.aliases.get(name, name): value for name, value in content.items()}
        for name, harmless in {**REFUSED, **cls.refused}.items():
            if name in content and not any(content[name] == value for value in harmless):
                raise ValueError(f"{path}: {name} is {shown(content[name])}, but only "
                                 f"{shown(harmless[0])} is implemented")
        kinds = {name: kind for name, kind in get_type_hints(cls).items()
                 if name in cls.field_names()}
        known = json_files.fields(path, content, kinds)
        extra = {name: value for name, value in content.items()
                 if name not in kinds and name not in ABOUT_THE_FILE}
        try:
            return cls(**known, extra=extra)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_sizes(cls, **sizes):
        """-> the configuration of a new model, from fields that all architectures have: vocab_size,
        hidden_size, num_hidden_layers, num_attention_heads, max_position_embeddings, …

        A subclass derives its other sizes from them, such as the width of the feed-forward network.
        """
        return cls.from_dict({"model_type": cls.model_type, **sizes})

    @property
    def num_labels(self):
        """The number of classes of a classification head: the length of id2label, or 2."""
        return len(self.extra.get("id2label") or (0, 1))

    @property
    def position_limit(self):
        """The maximum length of a sequence; None for positions without a limit."""
        return getattr(self, "max_position_embeddings", None)

    def to_dict(self):
        """-> dict for config.json"""
        known = {name: getattr(self, name) for name in self.field_names()}
        return {"model_type": self.model_type, **self.extra, **known}

    @classmethod
    def from_pretrained(cls, name_or_path, **options):
        """From the config.json of a directory or a name

        options: those of `find_pretrained`, and fields that override those of the file
        Raises FileNotFoundError, ValueError, and TypeError for an unknown option.
        """
        places, changes = sort_options(options)
        folder = find_pretrained(name_or_path, **places)
        return cls.from_dict(read_config(folder, cls.model_type),
                             folder / "config.json").replace(**changes)

    def save_pretrained(self, folder):
        """Write `folder`/config.json."""
        folder = expand(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", self.to_dict())

    def replace(self, **changes):
        """-> a copy with `changes`, also by alias. Raises TypeError for an unknown field."""
        changes = {self.aliases.get(name, name): value for name, value in changes.items()}
        extra, changes = _with_labels(self.extra, changes)
        unknown = changes.keys() - self.field_names()
        if unknown:
            raise TypeError(f"{min(unknown)} is neither an option nor a field of "
                            f"{type(self).__name__}")
        known = {name: getattr(self, name) for name in self.field_names()}
        return type(self)(**{**known, **changes}, extra=extra)

    @classmethod
    def field_names(cls):
        return [found.name for found in fields(cls) if found.name != "extra"]

    def __getattr__(self, name):
        """An alias, or a field in `extra`. Python calls this for names that aren't attributes."""
        if name in type(self).aliases:
            return getattr(self, type(self).aliases[name])
        extra = vars(self).get("extra", {})
        if name in extra:
            return extra[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name, value):
        super().__setattr__(type(self).aliases.get(name, name), value)


def read_config(folder, model_type=None):
    """-> dict of config.json, checked to be of the architecture `model_type` if that is given

    Raises FileNotFoundError if there is no such file, ValueError for a broken one or another
    architecture.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        what = "it is not a model's directory"
        if (Path(folder) / "adapter_config.json").is_file():
            what = "it is a LoRA adapter; load its base model, then the adapter (load_adapter, or "\
                   "--adapter)"
        raise FileNotFoundError(f"{folder} has no config.json: {what}")
    content = read_json(path, MAX_BYTES)
    found = content.get("model_type")
    if model_type is not None and found != model_type:
        raise ValueError(f"{path}: model_type is {shown(found)}, wanted {model_type!r}")
    return content


def _with_labels(extra, changes):
    """Move num_labels, id2label and label2id from `changes` to `extra` -> extra, other changes"""
    changes = dict(changes)
    labels = {name: changes.pop(name) for name in ("id2label", "label2id") if name in changes}
    if "num_labels" in changes:
        n = changes.pop("num_labels")
        require_positive("num_labels", n)
        if len(labels.setdefault("id2label", {i: f"LABEL_{i}" for i in range(n)})) != n:
            raise ValueError(f"num_labels is {n}, but id2label names {len(labels['id2label'])}")
    if "id2label" in labels:
        ids = {label: int(i) for i, label in labels["id2label"].items()}
        labels.setdefault("label2id", ids)
    return {**extra, **labels}, changes


def require_positive(name, value):
    """Raise ValueError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} is {shown(value)}, wanted an integer of at least 1")


def require_divisor(name, value, whole_name, whole):
    """Raise ValueError unless `value` divides `whole`; both are positive integers."""
    if whole % value:
        raise ValueError(f"{name} is {value}, wanted a divisor of {whole_name} = {whole}")


def require_number(name, value, low, high=None):
    """Raise ValueError unless `value` is a finite number with low <= value (< high, if given)."""
    is_number = hasattr(value, "__float__") and not isinstance(value, bool)
    if not is_number or not low <= value < (float("inf") if high is None else high):
        below = "" if high is None else f" and below {high}"
        raise ValueError(f"{name} is {shown(value)}, wanted a number of at least {low}{below}")


def require_activation(name, value):
    """Raise ValueError unless `value` is one of ACTIVATIONS."""
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise ValueError(f"{name} is {shown(value)}, wanted one of {', '.join(ACTIVATIONS)}")
