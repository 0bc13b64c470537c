"""Adapters: LoRA updates in files of their own, which Hugging Face's `peft` reads and writes.

    adapter_config.json           the options, see LoraConfig
    adapter_model.safetensors     base_model.model.MODULE.lora_A.weight: (r, d_in), lora_B.weight:
                                  (d_out, r); and the tensors of modules_to_save

An adapter is small: r (d_in + d_out) numbers for a matrix of d_in · d_out.
"""

from pathlib import Path
from typing import get_type_hints

import numpy as np

from minillm.checks import shown
from minillm.files import expand
from minillm.hub import find_pretrained
from minillm.json_files import fields, read_json, write_json
from minillm.models.lora import (
    CHANGING_INITS,
    LoraConfig,
    inject,
    linear_parts,
    lora_layers,
    merge_and_unload,
    modules_in_files,
)
from minillm.models.safetensors_file import FLOATS, SafetensorsFile, write_safetensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# The heads of models/auto.py -> task_type of `peft`
TASK_TYPES = {
    "base": "FEATURE_EXTRACTION", "causal_lm": "CAUSAL_LM", "seq2seq_lm": "SEQ_2_SEQ_LM",
    "sequence_classification": "SEQ_CLS", "token_classification": "TOKEN_CLS",
    "question_answering": "QUESTION_ANS",
}
# Fields of adapter_config.json that aren't implemented, with the values that change nothing.
REFUSED = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    **{name: (False, None) for name in (
        "use_dora", "use_qalora", "use_bdlora", "lora_bias", "ensure_weight_tying")},
    **{name: (None, [], {}) for name in (
        "trainable_token_indices", "target_parameters", "layer_replication", "megatron_config",
        "alora_invocation_tokens", "arrow_config", "kasa_config", "monteclora_config",
        "velora_config")},
}
# Those that say how the adapter was made, or only have an effect together with one above. With
# fan_in_fan_out `peft` notes how the model stores its weights; it corrects a wrong value, too.
WITHOUT_EFFECT = {
    "auto_mapping", "revision", "inference_mode", "peft_version", "megatron_core", "loftq_config",
    "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "fan_in_fan_out",
    "runtime_config",
}


def save_adapter(model, folder, dtype="float32", base_model=None):
    """Write the LoRA updates of the model, and its modules_to_save, into `folder`.

    dtype: "float32", or "float16" for half the size
    base_model: the name of the model that they belong to; by default that of the configuration
    Raises ValueError for a model without updates.
    """
    folder = expand(folder)
    tensors = _adapter_tensors(model)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WEIGHTS, tensors, dtype)
    write_json(folder / CONFIG, _config_for_file(model, base_model))


def load_adapter(model, folder, trainable=False):
    """Add the updates in `folder`, written by `save_adapter` or by `peft`; return the model.

    folder: a directory, or the name of one on Hugging Face's hub (minillm/hub.py)
    trainable: True to train them further; otherwise nothing of the model is trainable

    Raises FileNotFoundError; ValueError, in one line, for files that are damaged or belong to
    another model, and for options that minillm can't follow.
    """
    folder = find_adapter(folder)
    config = read_adapter_config(folder)
    file = SafetensorsFile(folder / WEIGHTS)
    try:
        inject(model, config)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    try:
        _fill(model, file)
    except ValueError:
        merge_and_unload(model)  # B is still zero: the model is as it was
        raise
    if not trainable:
        model.freeze()
    return model


def with_adapter(model, folder):
    """-> the model with the adapter in `folder` merged into it; as it is, if `folder` is None"""
    return model if folder is None else merge_and_unload(load_adapter(model, folder))


def find_adapter(name_or_path):
    """-> Path of an adapter's folder: this one, or the adapter/ in this run folder, or one on the
    hub
    """
    path = expand(name_or_path)
    if (path / "run.json").is_file():
        path = path / "adapter"
        if not path.is_dir():
            raise FileNotFoundError(f"{name_or_path} is a run folder without an adapter: it was not "
                                    "trained with --lora-rank")
    return path if path.is_dir() else Path(find_pretrained(name_or_path))


def read_adapter_config(folder):
    """-> the LoraConfig in a folder; ValueError for a field that minillm can't follow"""
    path = Path(folder) / CONFIG
    content = read_json(path)
    for name, harmless in REFUSED.items():
        if name in content and not any(content[name] == value for value in harmless):
            raise ValueError(f"{path}: {name} is {shown(content[name])}, but only "
                             f"{shown(harmless[0])} is implemented")
    kinds = {name: kind for name, kind in get_type_hints(LoraConfig).items()
             if name in LoraConfig.__dataclass_fields__}
    unknown = content.keys() - kinds.keys() - REFUSED.keys() - WITHOUT_EFFECT
    if unknown:
        raise ValueError(f"{path}: {shown(min(unknown))} is a field that minillm doesn't know, so "
                         "it can't tell what the adapter computes")
    for name in ("rank_pattern", "alpha_pattern"):
        content[name] = content.get(name) or {}
    known = fields(path, content, kinds, required=["r", "lora_alpha"])
    init = known.get("init_lora_weights")
    if isinstance(init, str) and init.startswith(CHANGING_INITS):
        raise ValueError(f"{path}: init_lora_weights is {shown(init)}, which changes the model's "
                         "own weights, wanted an adapter that was saved as a plain LoRA")
    try:
        return LoraConfig(**{**known, "init_lora_weights": True})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# ---- between the model and the file


def _updates(model):
    """Yield (Part, LoRA) for each update of the model."""
    layers = dict(lora_layers(model))
    for name, _, parts in linear_parts(model):
        if name in layers:
            by_columns = {(part.start, part.stop): part for part in parts}
            for update, columns in zip(layers[name].lora, layers[name].columns):
                yield by_columns[columns.start, columns.stop], update


def _adapter_tensors(model):
    """-> {name in the file: array}"""
    tensors = {}
    for part, update in _updates(model):
        tensors[f"{PREFIX}{part.module}.lora_A.weight"] = update.A.data.T
        tensors[f"{PREFIX}{part.module}.lora_B.weight"] = update.B.data.T
    if model._adapted.saved:
        everything = model._tensors()
        for name in _saved_tensors(model):
            tensors[PREFIX + name] = everything[name]
    return tensors


def _saved_tensors(model):
    """-> list of the tensors of modules_to_save, by their names in a file of the whole model"""
    modules = modules_in_files(model)
    return list(dict.fromkeys(tensor for module in model._adapted.saved
                              for _, tensors in modules[module] for tensor in tensors))


def _fill(model, file):
    """Read the updates and modules_to_save from a SafetensorsFile into the model."""
    matrices = {}
    for part, update in _updates(model):
        matrices[f"{PREFIX}{part.module}.lora_A.weight"] = update.A
        matrices[f"{PREFIX}{part.module}.lora_B.weight"] = update.B
    saved = {PREFIX + name: name for name in _saved_tensors(model)}
    shapes = {name: parameter.shape[::-1] for name, parameter in matrices.items()}
    everything = model._tensors() if saved else {}
    shapes |= {name: everything[tensor].shape for name, tensor in saved.items()}
    for name, shape in shapes.items():
        if name not in file.tensors:
            raise ValueError(f"{file.path} has no {name}, which {CONFIG} asks for")
        tensor = file.tensors[name]
        if tensor.shape != shape:
            raise ValueError(f"{file.path}: {name} has shape {tensor.shape}, wanted {shape} for "
                             "this model")
        if tensor.dtype not in FLOATS:
            raise ValueError(f"{file.path}: {name} has dtype {tensor.dtype}, wanted one of "
                             f"{', '.join(FLOATS)}")
    unknown = file.tensors.keys() - shapes.keys()
    if unknown:
        raise ValueError(f"{file.path} has {shown(min(unknown))}, for which {CONFIG} has no place")
    for name, parameter in matrices.items():
        parameter.data = np.ascontiguousarray(file.read(name).T, parameter.data.dtype)
    _fill_saved(model, file)


def _fill_saved(model, file):
    """Read modules_to_save."""
    table, _ = model.layout(model.config)
    modules, parameters = modules_in_files(model), model.parameters_by_file_name()
    for bare in {bare: None for module in model._adapted.saved for bare, _ in modules[module]}:
        prefix, parameter = parameters[bare]
        for _, array in table.load({bare: parameter.shape},
                                   lambda tensor: file.read(PREFIX + prefix + tensor)):
            parameter.data = array.astype(parameter.data.dtype, copy=False)


def _config_for_file(model, base_model):
    """-> the contents of adapter_config.json

    It names exactly the modules with updates, however the configuration chose them.
    """
    config, parts = model._adapted.config, [part for part, _ in _updates(model)]
    ranks = {part.module: update.rank for part, update in _updates(model)}
    alphas = {part.module: update.alpha for part, update in _updates(model)}
    base = base_model or config.base_model_name_or_path
    return {
        "peft_type": "LORA",
        "task_type": config.task_type,
        "base_model_name_or_path": None if base is None else str(base),
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "use_rslora": config.use_rslora,
        "target_modules": _shortest_targets(model, set(ranks)),
        "rank_pattern": {name: r for name, r in ranks.items() if r != config.r},
        "alpha_pattern": {name: a for name, a in alphas.items() if a != config.lora_alpha},
        "modules_to_save": config.modules_to_save,
        "fan_in_fan_out": not parts[0].stored_transposed,
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _shortest_targets(model, modules):
    """-> the ends of the names of `modules`, or the names, if the ends fit others too"""
    ends = sorted({module.rpartition(".")[2] for module in modules})
    saved = model._adapted.config.is_saved_whole
    others = {module for module in modules_in_files(model) if not saved(module)} - modules
    ambiguous = any(other.rpartition(".")[2] in ends for other in others)
    return sorted(modules) if ambiguous else ends
