"""PreTrainedModel, the base of every architecture: loading, saving, resizing, quantizing."""

import os
import warnings

import numpy as np

from minillm.checks import require_memory, shown
from minillm.files import expand
from minillm.generation import GenerationConfig
from minillm.hub import find_pretrained
from minillm.json_files import write_json
from minillm.kernels.process import release_freed_memory
from minillm.models.config import require_positive
from minillm.models.loading_options import check_saving_options, loading_dtype, sort_options
from minillm.models.safetensors_file import FLOATS, WeightFiles, write_safetensors
from minillm.models.weight_table import mismatch
from minillm.nn import Linear, LoRA, LoRALinear, Module, Parameter
from minillm.nn.layers import normal
from minillm.nn.recompute import recompute_blocks, recomputes
from minillm.ops.quantized import QuantizedWeights, quantize_together


class PreTrainedModel(Module):
    """A model with a `config`, read from and written to Hugging Face's files.

    A subclass sets
    config_class, weight_table: the form of its configuration and weights in files
    base_prefix: the attribute that holds the bare model in a model with a head ("transformer");
        names of tensors in files may start with it
    embedding_tensor, head_tensor: the names in files of the token embeddings, and of the output
        head's matrix, which may be tied to them
    has_lm_head: True for a model with an output head, see `get_output_embeddings`
    generation_config: a GenerationConfig, or None for a model that can't generate
    constructor_options: the names of further arguments of its constructor, which `from_pretrained`
        takes, too

    Its constructor takes (config, seed, draw_weights). The bare model has the Generator of all its
    randomness as `rng`.
    """

    config_class = None
    weight_table = None
    base_prefix = ""
    embedding_tensor = ""
    head_tensor = "lm_head.weight"
    has_lm_head = False
    generation_config = None
    constructor_options = ()

    @classmethod
    def layout(cls, config):
        """-> weight_table and embedding_tensor, for an architecture where they depend on `config`"""
        return cls.weight_table, cls.embedding_tensor

    # ---- parts

    @property
    def base_model(self):
        """The bare model inside this model, or this model itself."""
        return getattr(self, self.base_prefix, self)

    def get_input_embeddings(self):
        """-> the Embedding of the tokens, with a weight (vocab_size, d)"""
        raise NotImplementedError(f"{type(self).__name__} has no token embeddings")

    def get_output_embeddings(self):
        """-> the output head, a layer with `weight` (vocab_size, d); None for a bare model"""
        return getattr(self, "lm_head", None)

    def token_tables(self):
        """-> list of the Embeddings of tokens, each with another weight"""
        return [self.get_input_embeddings()]

    def has_tied_head(self):
        """True if the output head shares the token embeddings' weight (Press and Wolf 2017)."""
        head = self.get_output_embeddings()
        return head is not None and head.weight is self.get_input_embeddings().weight

    def num_parameters(self, only_trainable=False):
        """-> the number of learned numbers; a tied head is counted once"""
        return sum(parameter.size for parameter in self.parameters()
                   if not only_trainable or getattr(parameter, "trainable", True))

    # ---- loading

    @classmethod
    def from_pretrained(cls, name_or_path, *, config=None, dtype=None, torch_dtype=None,
                        generation_config=None, variant=None, seed=0,
                        ignore_mismatched_sizes=False, **options):
        """Load the model in a directory or of a name (see `minillm.hub.find_pretrained`), in eval
        mode.

        config: a configuration, or the directory of one, instead of config.json
        dtype, torch_dtype: None, "auto" or "float32": a model that computes in float32 and can be
            trained, whatever dtype the file has; "float16": the same, with weights rounded to
            float16; "bfloat16", "int8" or "int4": a model for inference only, see `quantize`
        generation_config: a GenerationConfig instead of generation_config.json
        variant: "fp16" reads model.fp16.safetensors
        seed: for the weights of a head that the checkpoint lacks (a warning names them), and for
            dropout in later training
        ignore_mismatched_sizes: True gives a head new weights also if the file's have another
            shape, such as those of a classifier for other labels
        options: those of `find_pretrained`; fields that override those of config.json, such as
            pad_token_id=50256; the class's `constructor_options`; and options of `transformers`
            that have no effect here

        Raises FileNotFoundError; ValueError, in one line, for files that are damaged, contradict
        each other or hold another architecture, and for options that minillm can't follow, such as
        device_map; TypeError for an unknown option.
        """
        dtype = loading_dtype(dtype, torch_dtype)
        parts = {name: options.pop(name) for name in cls.constructor_options if name in options}
        places, changes = sort_options(options)
        folder = find_pretrained(name_or_path, **places)
        config = cls._configuration(folder if config is None else config).replace(**changes)
        weights = _NamedWeights(WeightFiles(folder, variant), cls, config)
        weights.require_sizes(config, folder / "config.json", changes)
        if cls.has_lm_head:
            config = weights.with_tie(config, folder / "config.json")

        model = cls(config, seed, draw_weights=False, **parts)
        if model.generation_config is not None:
            model.generation_config = generation_config or _generation_config(folder, config,
                                                                              changes)
        model._take(weights, np.float16 if dtype == "float16" else np.float32,
                    ignore_mismatched_sizes)
        model.eval()
        return model.quantize(dtype) if dtype in ("bfloat16", "int8", "int4") else model

    @classmethod
    def _configuration(cls, given):
        """-> a new configuration, from a directory or as a copy of a configuration"""
        if isinstance(given, cls.config_class):
            return given.replace()
        if isinstance(given, (str, os.PathLike)):
            return cls.config_class.from_pretrained(given)
        raise TypeError(f"config is a {type(given).__name__}, wanted a {cls.config_class.__name__} "
                        "or a directory")

    def _take(self, weights, dtype, ignore_mismatched_sizes=False):
        """Load the tensors of a checkpoint into the parameters.

        Raises ValueError that names a tensor that doesn't fit.
        """
        parameters = self.parameters_by_file_name()
        table, _ = self.layout(self.config)
        shapes = {name: parameter.shape for name, (_, parameter) in parameters.items()
                  if weights.have(name) or not table.is_optional(name)}
        for name in self._new_head(shapes, weights, ignore_mismatched_sizes):
            _, parameter = parameters[name]
            if parameter.ndim > 1:  # biases and norms keep the initial values of their layers
                parameter.data = self._draw(parameter.shape)
            del shapes[name]
        weights.require_shapes(table.shapes(shapes, self.config), type(self).__name__)

        def read(name):
            with np.errstate(over="ignore"):
                return weights.read(name).astype(dtype, copy=False)

        for name, array in table.load(shapes, read):
            _, parameter = parameters[name]
            parameter.data = array

    def _new_head(self, shapes, weights, of_other_shape):
        """-> list of the parameters of a head that the checkpoint lacks; warns if there are any

        of_other_shape: also those of a head that has another shape there
        """
        table, _ = self.layout(self.config)
        wanted = table.shapes(shapes, self.config)
        missing = [(ours, theirs) for _, ours, theirs in table.groups(shapes)
                   if weights.lack_head(theirs)
                   or of_other_shape and weights.differ_in_head(theirs, wanted)]
        if missing:
            tensors = ", ".join(tensor for _, theirs in missing for tensor in theirs)
            fitting = " of this shape" if of_other_shape else ""
            warnings.warn(f"{weights.path} has no {tensors}{fitting}: {type(self).__name__} starts "
                          "with a head that has to be trained", stacklevel=4)
        return [name for ours, _ in missing for name in ours]

    def _draw(self, shape):
        """-> random weights, distributed as in a new model"""
        return normal(self.base_model.rng, shape, self.config.initializer_range)

    def parameters_by_file_name(self):
        """-> {name in the bare model: (prefix that saving writes before it, Parameter)}

        Each Parameter appears once, so a tied head isn't among them. Those of LoRA updates aren't
        either: they have files of their own.
        """
        prefix = f"{self.base_prefix}."
        updates = [module for module in self.modules() if isinstance(module, LoRA)]
        found, seen = {}, {id(update) for module in updates for update in module.parameters()}
        for name, parameter in self.named_parameters():
            if id(parameter) not in seen:
                inside = prefix if name.startswith(prefix) else ""
                found[name.removeprefix(prefix)] = (inside, parameter)
                seen.add(id(parameter))
        return found

    # ---- saving

    def save_pretrained(self, folder, dtype="float32", **options):
        """Write model.safetensors, config.json and generation_config.json into `folder`.

        `transformers` can open the folder. A model with LoRA updates is saved as what it computes:
        with the updates merged into its weights. (`minillm.models.lora_files` saves them alone.)

        dtype: "float32", or "float16" for half the size
        options: those of `transformers` that have no effect here, such as safe_serialization=True

        Raises ValueError for a quantized model, for numbers that float16 can't hold, and for an
        option that minillm can't follow; TypeError for an unknown one.
        """
        self._require_plain_weights("save")
        check_saving_options(options)
        folder = expand(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_safetensors(folder / "model.safetensors", self._tensors(), dtype)
        architecture = {"architectures": [type(self).__name__], "dtype": str(np.dtype(dtype))}
        write_json(folder / "config.json", {**architecture, **self.config.to_dict()})
        if self.generation_config is not None:
            self.generation_config.save_pretrained(folder)

    def _tensors(self):
        """-> {name in a file: array} of all weights, with LoRA updates merged into them"""
        parameters = self.parameters_by_file_name()
        merged = {id(layer.weight): layer.merged_weight() for layer in self.modules()
                  if isinstance(layer, LoRALinear)}
        table, _ = self.layout(self.config)
        arrays = {}
        for prefix in dict.fromkeys(prefix for prefix, _ in parameters.values()):
            ours = {name: merged.get(id(parameter), parameter.data)
                    for name, (inside, parameter) in parameters.items() if inside == prefix}
            theirs = table.save(ours, self.config)
            arrays.update({prefix + name: array for name, array in theirs.items()})
        return arrays

    # ---- the vocabulary

    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None,
                                mean_resizing=True):
        """Give the token embeddings and the output head new_num_tokens rows -> the Embedding

        Old rows stay. New rows are the mean of the old ones, so that the model gives each new token
        an ordinary probability (Hewitt 2021, "Initializing New Word Embeddings for Pretrained
        Language Models"). With mean_resizing=False they are drawn as in a new model. A tied head
        stays tied. The Parameters are replaced: resize before you create an optimizer.

        pad_to_multiple_of: round the number of rows up to a multiple of this
        Raises ValueError for numbers below 1 and for a quantized model.
        """
        self._require_plain_weights("resize")
        embedding, head = self.get_input_embeddings(), self.get_output_embeddings()
        n = len(embedding.weight.data) if new_num_tokens is None else new_num_tokens
        require_positive("new_num_tokens", n)
        if pad_to_multiple_of is not None:
            require_positive("pad_to_multiple_of", pad_to_multiple_of)
            n = -(-n // pad_to_multiple_of) * pad_to_multiple_of
        tied = self.has_tied_head()
        embedding.weight = self._resized(embedding.weight, n, mean_resizing)
        if tied:
            head.weight = embedding.weight
        elif head is not None:
            head.weight = self._resized(head.weight, n, mean_resizing)
        if getattr(head, "bias", None) is not None:
            head.bias = self._resized(head.bias, n, mean_resizing)
        self.config.vocab_size = n
        return embedding

    def _resized(self, parameter, n, mean_resizing):
        """-> a new Parameter with n rows: the old ones, then initialized ones"""
        old = parameter.data
        rows = np.empty((n, *old.shape[1:]), old.dtype)
        kept = min(n, len(old))
        rows[:kept] = old[:kept]
        if mean_resizing:
            rows[kept:] = old.mean(axis=0, dtype=np.float64)
        else:
            rows[kept:] = self._draw(rows[kept:].shape)
        resized = Parameter(rows)
        resized.trainable = getattr(parameter, "trainable", True)
        return resized

    # ---- quantizing

    def quantize(self, dtype):
        """Store the weights of all Linear layers and the token embeddings for inference; return
        self.

        dtype: "float32" (no loss of precision), "bfloat16", "int8" or "int4"; see
            `minillm.ops.quantized`

        Generating a token reads every weight once, so fewer bytes mean more tokens per second. What
        costs little time stays float32: position embeddings, biases, norms. A quantized model can't
        be trained or saved. Raises ValueError for another dtype, for infinite or NaN weights with
        "int8" or "int4", and for a model that is already quantized.
        """
        self._require_plain_weights("quantize once more")
        if dtype in ("int8", "int4"):
            self._require_finite_weights(dtype)
        linears = [module for module in self.modules() if isinstance(module, Linear)]
        tables = self.token_tables()  # (V, d): already one row per output
        head = self.get_output_embeddings()
        if head is not None and not self.has_tied_head():
            tables.append(head)
        matrices = [linear.weight.data.T for linear in linears]
        matrices += [table.weight.data for table in tables]
        for module, stored in zip([*linears, *tables], quantize_together(matrices, dtype)):
            module.weight.data = stored  # the Parameter stays the same: a tied head shares it
            module.weight.zero_grad()
        del matrices
        release_freed_memory()  # of the float32 weights
        return self.eval()

    def gradient_checkpointing_enable(self):
        """Let every block forget what its forward computes, and compute it again in its backward:
        the same gradients in less memory and more time (minillm/nn/recompute.py).
        """
        recompute_blocks(self)

    def gradient_checkpointing_disable(self):
        recompute_blocks(self, False)

    @property
    def is_gradient_checkpointing(self):
        return recomputes(self)

    def _require_plain_weights(self, purpose):
        weights = self.get_input_embeddings().weight.data
        if isinstance(weights, QuantizedWeights):
            raise ValueError(f"the weights are stored as {weights.dtype} for inference, wanted a "
                             f"model that isn't quantized to {purpose}")

    def _require_finite_weights(self, dtype):
        for name, parameter in self.named_parameters():
            if not np.isfinite(parameter.data).all():
                raise ValueError(f"{name} has infinite or NaN weights, wanted finite ones to store "
                                 f"as {dtype}")

    def state_dict(self):
        """-> {name: array}. ValueError for a quantized model."""
        self._require_plain_weights("save")
        return super().state_dict()

    def load_state_dict(self, arrays):
        """Copy `arrays` into the parameters. ValueError for a quantized model."""
        self._require_plain_weights("load")
        super().load_state_dict(arrays)

    def astype(self, dtype):
        """Convert every parameter; return self. ValueError for a quantized model."""
        self._require_plain_weights("convert")
        return super().astype(dtype)

    def train(self, mode=True):
        """Switch dropout on (`mode` True) or off; return self. ValueError for a quantized model."""
        if mode:
            self._require_plain_weights("train")
        return super().train(mode)


class _NamedWeights:
    """The tensors of a checkpoint, by the names that they have in a file of the bare model.

    files: WeightFiles;  model_class: the class to load;  config: its configuration
    """

    def __init__(self, files, model_class, config):
        self.path = files.path
        self._files = files
        self._table, self._embedding = table, _ = model_class.layout(config)
        self._head = model_class.head_tensor
        self._stored = {}  # name -> its name in the file
        names = {stored: stored.removeprefix(f"{model_class.base_prefix}.")
                 for stored in files.tensors}
        # Usual names first: a tensor that is stored under another name as well replaces it.
        for stored, bare in sorted(names.items(), key=lambda pair: table.is_other_name(pair[1])):
            name = table.usual_name(bare)
            if table.ignores(name) or (name == self._head and not model_class.has_lm_head):
                continue
            if name in self._stored and name == bare:
                raise ValueError(f"{self.path} has both {shown(self._stored[name])} and "
                                 f"{shown(stored)}")
            if name == self._embedding and name in self._stored:
                self._require_equal(self._stored[name], stored)
            self._stored[name] = stored
        if self._embedding not in self._stored and self._head in self._stored:
            # A tied table is stored once, under either name.
            self._stored[self._embedding] = self._stored[self._head]

    @property
    def shapes(self):
        return {name: self._files.tensors[stored].shape for name, stored in self._stored.items()}

    def read(self, name):
        return self._files.read(self._stored[name])

    def require_sizes(self, config, path, changes):
        """Raise ValueError if the sizes in the configuration aren't those of the tensors.

        Call this before building the model, so that a wrong size allocates no memory.
        """
        wrong = mismatch(self._table.sizes, config, self.shapes)
        if wrong:
            field, message = wrong
            where = "from_pretrained" if field in changes else path
            raise ValueError(f"{where}: {message.format(file=self.path.name)}")
        n_numbers = sum(np.prod(shape, dtype=float) for shape in self.shapes.values())
        require_memory(f"the model in {self.path.parent}", 4 * n_numbers)

    def with_tie(self, config, path):
        """-> the configuration of a model with an output head; tie_word_embeddings fits the tensors

        As in `transformers`, two tables that differ aren't tied, whatever config.json says.
        """
        if not config.tie_word_embeddings:
            head, table = self._stored.get(self._head), self._stored.get(self._embedding)
            is_new = head is None and self._table.is_head(self._head)
            if head in (None, table) and not is_new:  # one tensor for both, or none for the head
                raise ValueError(f"{path}: tie_word_embeddings is False, but {self.path.name} has "
                                 f"no {self._embedding if head else self._head}")
        elif self._head in self._stored:
            one, other = self.read(self._head), self.read(self._embedding)
            if not np.array_equal(one, other, equal_nan=True):
                return config.replace(tie_word_embeddings=False)
            del self._stored[self._head]
        return config

    def have(self, name):
        return name in self._stored

    def _require_equal(self, one, other):
        if not np.array_equal(self._files.read(one), self._files.read(other), equal_nan=True):
            raise ValueError(f"{self.path}: {one} and {other} differ, wanted the same numbers: "
                             "config.json says that they are one table")

    def lack_head(self, names):
        """True if these tensors belong to a head and the checkpoint has none of them."""
        return not any(name in self._stored or not self._table.is_head(name) for name in names)

    def differ_in_head(self, names, wanted):
        """True if these tensors belong to a head, and one has another shape than in `wanted`."""
        return any(self._table.is_head(name) and name in self._stored
                   and self._files.tensors[self._stored[name]].shape != wanted[name]
                   for name in names)

    def require_shapes(self, wanted, model):
        """Raise ValueError unless the tensors are exactly those in `wanted`, {name: shape}."""
        for name, shape in wanted.items():
            if name not in self._stored:
                raise ValueError(f"{self.path} has no {name}, which {model} needs")
            tensor = self._files.tensors[self._stored[name]]
            if tensor.shape != shape:
                raise ValueError(f"{self.path}: {name} has shape {tensor.shape}, wanted {shape}")
            if tensor.dtype not in FLOATS:
                raise ValueError(f"{self.path}: {name} has dtype {tensor.dtype}, wanted one of "
                                 f"{', '.join(FLOATS)}")
        unknown = {name for name in self._stored.keys() - wanted.keys()
                   if not self._table.is_head(name)}
        if unknown:
            raise ValueError(f"{self.path} has {shown(min(unknown))}, for which {model} has no "
                             "place")


def _generation_config(folder, config, changes):
    """-> the GenerationConfig in generation_config.json, or else in config.json"""
    path = folder / "generation_config.json"
    if path.is_file():
        found = GenerationConfig.read(path)
    else:
        found = GenerationConfig.from_model_config(config.to_dict(), folder / "config.json")
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if name in changes:
            setattr(found, name, changes[name])
    return found
