"""Fine-tuning a model with LoRA: which of its layers get updates, and taking them out again.

    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    inject(model, lora)              # now only the updates learn
    …                                # train as usual
    save_adapter(model, folder)      # lora_files.py: a small file, which PEFT opens too
    merge_and_unload(model)          # the model that `inject` was given, with other weights

The options are those of Hugging Face's `peft`, and modules go by their names in Hugging Face's
files, or by minillm's. A layer here may be several modules there: an update of `q_proj` becomes one
of the first columns of Llama's `qkv`.
"""

import re
from dataclasses import dataclass, field, fields
from typing import ClassVar, NamedTuple

from minillm.checks import shown
from minillm.nn import Linear, LoRA, LoRALinear, Parameter

ALL_LINEAR = "all-linear"
# Without target_modules, the queries and values, as in the paper (section 4.2); in GPT-2 they are
# one matrix with the keys.
DEFAULT_TARGETS = ("q_proj", "v_proj", "query", "value", "c_attn")
# Initial weights that also change W; an adapter that was trained on them doesn't fit this W.
CHANGING_INITS = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass
class LoraConfig:
    """The options of `peft.LoraConfig`, with its defaults. Raises ValueError for one out of range.

    r, lora_alpha, lora_dropout, use_rslora: see minillm.nn.LoRA
    target_modules: names of Linears, or ends of names ("q_proj"); "all-linear" for all but the
        output head; another string is a regular expression for the whole name; None: the queries
        and values
    exclude_modules: the same, for those that get no update
    layers_to_transform: only the blocks with this number, or these; layers_pattern: the names of
        the lists that they are numbered in
    rank_pattern, alpha_pattern: {end of a name, a regular expression: another r or lora_alpha}
    modules_to_save: ends of names of modules that are trained as a whole, such as a new head
    init_lora_weights: True; "gaussian" (see LoRA)
    task_type: "CAUSAL_LM", "SEQ_CLS" …, for `peft`: with "SEQ_CLS", "TOKEN_CLS" and "QUESTION_ANS"
        the head is one of modules_to_save
    base_model_name_or_path: the model that the updates belong to
    """

    HEADS: ClassVar[dict] = {"SEQ_CLS": ["classifier", "score"],
                             "TOKEN_CLS": ["classifier", "score"],
                             "QUESTION_ANS": ["qa_outputs"]}

    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: str | list[str] | None = None
    exclude_modules: str | list[str] | None = None
    layers_to_transform: int | list[int] | None = None
    layers_pattern: str | list[str] | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    use_rslora: bool = False
    modules_to_save: list[str] | None = None
    init_lora_weights: bool | str = True
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    def __post_init__(self):
        for name, value in [("r", self.r), *self.rank_pattern.items()]:
            if not value >= 1:
                raise ValueError(f"{name} is {shown(value)}, wanted a rank of at least 1")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}, wanted 0 <= lora_dropout < 1")
        for name in ("target_modules", "exclude_modules", "layers_pattern"):
            value = getattr(self, name)
            if isinstance(value, (set, tuple)):
                setattr(self, name, sorted(value))
        for pattern in self._patterns():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{shown(pattern)} is not a regular expression: {error}") from None
        init = self.init_lora_weights
        if isinstance(init, str) and init not in ("gaussian", "eva", "orthogonal"):
            raise ValueError(f"init_lora_weights is {shown(init)}, wanted true or 'gaussian'")
        if self.task_type in self.HEADS:
            heads = self.HEADS[self.task_type]
            self.modules_to_save = list(dict.fromkeys([*(self.modules_to_save or []), *heads]))

    def _patterns(self):
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), str):
                yield getattr(self, name)
        yield from self.rank_pattern
        yield from self.alpha_pattern

    def replace(self, **changes):
        return LoraConfig(**{**{f.name: getattr(self, f.name) for f in fields(self)}, **changes})

    # ---- which modules: the rules of `peft`

    def wants(self, names):
        """-> whether the module that has these `names` gets an update"""
        targets = DEFAULT_TARGETS if self.target_modules is None else self.target_modules
        if self.exclude_modules and _matches(self.exclude_modules, names):
            return False
        if any(self.is_saved_whole(name) for name in names):
            return False
        if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
            return True
        if not _matches(targets, names):
            return False
        if isinstance(targets, str) or self.layers_to_transform in (None, []):
            return True
        if any(name in targets for name in names):  # a whole name says which block
            return True
        layers = self.layers_to_transform
        layers = [layers] if isinstance(layers, int) else layers
        return any(self._layer(name) in layers for name in names)

    def _layer(self, name):
        """-> the number of the block that a module belongs to, or None"""
        patterns = self.layers_pattern or r"[^.]*"
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            begin = r".*?\." if not self.layers_pattern else r"(?:^|.*?\.)"
            match = re.match(rf"{begin}{pattern}\.(?P<layer>\d+)\.", name)
            if match:
                return int(match["layer"])
        return None

    def is_saved_whole(self, name):
        """-> whether `name` is one of modules_to_save, or inside one"""
        return any(re.match(rf"(^|.*\.){re.escape(module)}($|\..*)", name)
                   for module in self.modules_to_save or ())

    def rank_of(self, name):
        return _first_match(self.rank_pattern, name, self.r)

    def alpha_of(self, name):
        return _first_match(self.alpha_pattern, name, self.lora_alpha)


def _matches(targets, names):
    if isinstance(targets, str):
        return any(re.fullmatch(targets, name) for name in names)
    return any(name == target or name.endswith(f".{target}")
               for name in names for target in targets)


def _first_match(patterns, name, default):
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return default


# ---- injecting


class Part(NamedTuple):
    """The columns start … stop - 1 of a Linear here: a module in Hugging Face's files."""

    module: str  # its name there
    start: int
    stop: int
    stored_transposed: bool  # there as (d_out, d_in), as PyTorch's Linear


class Adapted:
    """What `inject` did to a model: the attribute `_adapted` of it."""

    def __init__(self, config, frozen, saved):
        self.config = config
        self.frozen = frozen  # Parameters that were trainable before
        self.saved = saved  # names of modules_to_save that the model has, in files


def is_adapted(model):
    """-> whether the model has LoRA updates"""
    return getattr(model, "_adapted", None) is not None


def inject(model, config):
    """Freeze the model and add updates to its Linears as `config` says; return the model.

    Only A and B of each update are trainable then, and config.modules_to_save.
    Raises ValueError if no module matches, for a model with updates already, and for targets that
    aren't Linears or share a matrix.
    """
    _refuse_adapted(model)
    model._require_plain_weights("add LoRA updates to")
    places = [(name, linear, chosen) for name, linear, parts in linear_parts(model)
              if (chosen := [part for part in parts if config.wants([part.module, name])])]
    if not places:
        names = sorted({part.module.rpartition(".")[2] for _, _, parts in linear_parts(model)
                        for part in parts})
        raise ValueError(f"target_modules is {shown(config.target_modules)}, wanted Linears of "
                         f"{type(model).__name__}: {', '.join(names)}, or {ALL_LINEAR!r}")
    _refuse_other_targets(model, config)
    _untie(model, config)
    saved, learning = _modules_to_save(model, config)
    frozen = [parameter for parameter in model.parameters() if parameter.trainable]
    model.freeze()
    for name, linear, parts in places:
        updates = [(part.start, part.stop, _new_update(model, linear, part, config))
                   for part in parts]
        _replace(model, name, LoRALinear(linear, updates))
    for parameter in learning:
        parameter.trainable = True
    model._adapted = Adapted(config, frozen, saved)
    return model.train(model.training)


def _new_update(model, linear, part, config):
    d_in, dtype = linear.weight.shape[0], linear.weight.data.dtype
    return LoRA(d_in, part.stop - part.start, config.rank_of(part.module),
                alpha=config.alpha_of(part.module), dropout=config.lora_dropout,
                rslora=config.use_rslora, rng=model.base_model.rng, dtype=dtype,
                init="gaussian" if config.init_lora_weights == "gaussian" else "uniform")


def linear_parts(model):
    """-> list of (name, Linear, list of Parts) for all Linears of the model"""
    table, _ = model.layout(model.config)
    names = {id(parameter): (name, prefix)
             for name, (prefix, parameter) in model.parameters_by_file_name().items()}
    found = []
    for name, linear in model.named_modules():
        if not isinstance(linear, Linear):
            continue
        bare, prefix = names[id(linear.weight)]
        ((rule, ours, theirs),) = table.groups([bare])
        if len(ours) > 1:  # one module there, of which this is a part: B could be cut, A not
            continue
        shapes = table.shapes({bare: linear.weight.shape}, model.config)
        parts, start = [], 0
        for tensor in theirs:
            stop = start + shapes[tensor][0 if rule.transpose else -1]
            module = prefix + tensor.removesuffix(".weight")
            parts.append(Part(module, start, stop, rule.transpose))
            start = stop
        found.append((name, linear, parts))
    return found


def _refuse_adapted(model):
    if is_adapted(model):
        raise ValueError(f"the {type(model).__name__} has LoRA updates already, wanted one without: "
                         "merge_and_unload takes them out")


def _refuse_other_targets(model, config):
    """ValueError if a target that is named is a module, but no Linear."""
    if isinstance(config.target_modules, str) or config.target_modules is None:
        return
    linears = {module.module for _, _, parts in linear_parts(model) for module in parts}
    linears |= {name for name, module in model.named_modules() if isinstance(module, Linear)}
    for target in config.target_modules:
        if _matches_any(target, linears):
            continue
        if _matches_any(target, modules_in_files(model)) or target == "lm_head":
            raise ValueError(f"target_modules has {shown(target)}, wanted Linears: embeddings, "
                             "norms and output heads get no LoRA updates here")


def _matches_any(target, names):
    return any(_matches([target], [name]) for name in names)


def modules_in_files(model):
    """-> {name of a module in Hugging Face's files: list of (our names, tensors there)}"""
    table, _ = model.layout(model.config)
    found = {}
    for bare, (prefix, parameter) in model.parameters_by_file_name().items():
        for _, ours, theirs in table.groups([bare]):
            tensors = [prefix + tensor for tensor in theirs]
            for tensor in tensors:
                module = tensor
                while "." in module:
                    module = module.rpartition(".")[0]
                    found.setdefault(module, []).append((bare, tensors))
    return found


def _untie(model, config):
    """Give a tied output head its own matrix if the head or the embeddings learn as a whole.

    `peft` does so: each of modules_to_save is a copy. ValueError for an encoder-decoder, whose
    table has more uses.
    """
    if not model.has_tied_head() or not config.modules_to_save:
        return
    _, embedding = model.layout(model.config)
    names = [tensor.removesuffix(".weight") for tensor in (embedding, model.head_tensor)]
    if not any(name.endswith(wanted) for name in names for wanted in config.modules_to_save):
        return
    if hasattr(model, "get_decoder"):
        raise ValueError(f"modules_to_save has {shown(config.modules_to_save)}, but the embeddings "
                         "and the output head are one matrix here, wanted none of them")
    head = model.get_output_embeddings()
    head.weight = Parameter(head.weight.data.copy())
    model.config.tie_word_embeddings = False


def _modules_to_save(model, config):
    """-> (the modules in modules_to_save that the model has, list of their Parameters)

    In a file of `peft`, modules that the model lacks are no error.
    """
    modules, parameters = modules_in_files(model), model.parameters_by_file_name()
    saved, learning = [], {}
    for wanted in config.modules_to_save or ():
        for module in modules:
            if not module.endswith(wanted):  # as in `peft`: "norm" is input_layernorm too
                continue
            for bare, tensors in modules[module]:
                if not all(tensor.startswith(f"{module}.") for tensor in tensors):
                    raise ValueError(f"modules_to_save has {shown(wanted)}, which is one layer with "
                                     f"{tensors} here, wanted all of them or none")
                learning[bare] = parameters[bare][1]
            saved.append(module)
    return saved, list(learning.values())


def heads_in_files(model):
    """-> list of the modules that belong to the model's task, such as a classifier; None if it has
    an output head for tokens, which is pretrained
    """
    if model.has_lm_head:
        return None
    table, _ = model.layout(model.config)
    heads = {}
    for bare, (prefix, _) in model.parameters_by_file_name().items():
        if prefix and not table.is_head(bare):
            continue
        for _, _, theirs in table.groups([bare]):
            heads.update(dict.fromkeys(prefix + tensor.rpartition(".")[0] for tensor in theirs))
    return list(heads) if model.base_model is not model else None


def _replace(model, name, module):
    """Put another module at the dotted `name` of a model."""
    *path, last = name.split(".")
    owner = model
    for step in path:
        owner = owner[int(step)] if isinstance(owner, list) else getattr(owner, step)
    if isinstance(owner, list):
        owner[int(last)] = module
    else:
        setattr(owner, last, module)


# ---- using


def lora_layers(model):
    """-> list of (name, LoRALinear) of the model. Raises ValueError if it has none."""
    found = [(name, module) for name, module in model.named_modules()
             if isinstance(module, LoRALinear)]
    if not found:
        raise ValueError(f"the {type(model).__name__} has no LoRA updates, wanted one with: call "
                         "inject or load_adapter first")
    return found


def merge(model):
    """Add the updates to the weights; return the model, which is then as fast as without them."""
    for _, layer in lora_layers(model):
        layer.merge()
    return model


def unmerge(model):
    """Undo `merge`, exactly; return the model."""
    for _, layer in lora_layers(model):
        layer.unmerge()
    return model


def merge_and_unload(model):
    """Merge, and put plain Linears back; return the model. What was trainable is so again."""
    for name, layer in lora_layers(model):
        _replace(model, name, layer.without_lora())
    for parameter in model._adapted.frozen:
        parameter.trainable = True
    model._adapted = None
    return model


def unload(model):
    """Take the updates out again, as if they had never been there; return the model.

    modules_to_save keep what they have learned.
    """
    for name, layer in lora_layers(model):
        layer.unmerge()
        layer.lora, layer.columns = [], []
    return merge_and_unload(model)
