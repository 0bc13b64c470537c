"""The files of sentence-transformers: a model of `transformers`, and small files beside it.

    modules.json                         the steps, in order, each with its folder
    config.json, model.safetensors, …    step 0, Transformer: usually in the folder itself
    sentence_bert_config.json            its max_seq_length, do_lower_case
    1_Pooling/config.json                which pooling
    2_Dense/config.json, …               optional: a linear map, and tanh
    3_Normalize/                         optional: embeddings of length 1; often there is no folder
    config_sentence_transformers.json    the prompt in front of every text, the similarity

Each option is obeyed, or refused by name. (https://sbert.net)
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minillm.checks import shown
from minillm.json_files import fields, parse_json, read_json, write_json
from minillm.models.safetensors_file import WeightFiles, write_safetensors

# The name of a pooling here -> there: since version 5 the value of "pooling_mode", before that the
# one of these flags that is true.
POOLINGS = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": None,
    "torch.nn.modules.activation.Tanh": "tanh",
}
STEPS = ("Transformer", "Pooling", "Dense", "Normalize")  # the order in which they may stand
# Fields of sentence_bert_config.json and config_sentence_transformers.json that aren't implemented,
# with the values that change nothing.
TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
REFUSED = {
    "transformer_task": ("feature-extraction",),
    "modality_config": (None, TEXT),
    "module_output_name": (None, "token_embeddings"),
    **dict.fromkeys(("model_args", "tokenizer_args", "config_args", "model_kwargs",
                     "processor_kwargs", "config_kwargs", "processing_kwargs", "query_length",
                     "document_length", "query_expansion", "tokenizer_name_or_path"), (None, {})),
    "unpad_inputs": (None, True, False),
}
REFUSED_OF_ALL = {
    "model_type": (None, "SentenceTransformer"),
    "similarity_fn_name": (None, "cosine"),
    "truncate_dim": (None,),
}


class DenseFiles(NamedTuple):
    """A module "Dense"."""

    weight: np.ndarray  # (d_in, d_out)
    bias: np.ndarray | None  # (d_out,)
    activation: str | None  # "tanh"


class SentenceFiles(NamedTuple):
    """What the files say; without modules.json, the defaults here."""

    transformer: Path  # the folder of the model and its tokenizer
    pooling: str = "mean"
    normalize: bool = True
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""
    dense: list = []  # of DenseFiles
    sizes: list = []  # (file, field, size): the widths that they claim for the model's vectors

    def require_width(self, d):
        """ValueError unless the model's vectors have the width that the files claim"""
        for path, field, size in self.sizes:
            if size != d:
                raise ValueError(f"{path}: {field} is {size}, but the model's vectors have {d} "
                                 "numbers")


def read_sentence_files(folder):
    """-> SentenceFiles of a folder

    Raises ValueError, in one line, for a file that is damaged, and for a module or an option that
    minillm doesn't have.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return SentenceFiles(folder)
    steps = _read_steps(path)
    kinds = [kind for kind, _ in steps]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds.count("Pooling") > 1 \
            or sorted(kinds, key=STEPS.index) != kinds or kinds.count("Transformer") > 1:
        raise ValueError(f"{path}: the modules are {', '.join(kinds)}, wanted Transformer, "
                         "Pooling, any number of Dense, Normalize")
    transformer, pooling = steps[0][1], steps[1][1]
    max_length, lower_case = _read_transformer(transformer)
    prompt = _read_prompt(folder / "config_sentence_transformers.json")
    how, sizes = _read_pooling(pooling / "config.json", prompt)
    dense = []
    for kind, place in steps[2:]:
        if kind == "Dense":
            dense.append(_read_dense(place, sizes, dense))
    return SentenceFiles(transformer, how, "Normalize" in kinds, max_length, lower_case, prompt,
                         dense, sizes)


def _read_steps(path):
    """-> list of (kind, folder)"""
    # The file holds a list, and parse_json takes objects.
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    whole = parse_json(path, b'{"modules": ' + content + b"}")
    modules = fields(path, whole, {"modules": list[dict]})["modules"]
    steps = []
    for index, module in enumerate(modules):
        found = fields(path, module, {"path": str, "type": str}, ["path", "type"],
                       f"[{index}]")
        library, _, kind = found["type"].partition(".")
        kind = kind.rpartition(".")[2]
        if library != "sentence_transformers" or kind not in STEPS:
            raise ValueError(f"{path}: [{index}].type is {shown(found['type'])}, wanted one of "
                             f"{', '.join(STEPS)} of sentence_transformers")
        place = Path(found["path"])
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"{path}: [{index}].path is {shown(found['path'])}, wanted a folder "
                             "inside this one")
        steps.append((kind, path.parent / place))
    return steps


def _read_transformer(folder):
    """-> max_seq_length, do_lower_case"""
    # Older releases name the file after the architecture: sentence_roberta_config.json.
    paths = sorted(folder.glob("sentence_*_config.json"),
                   key=lambda path: path.name != "sentence_bert_config.json")
    if not paths:
        return None, False
    content = _checked(paths[0], {"max_seq_length": int | None, "do_lower_case": bool | None},
                       REFUSED, others=False)
    length = content.get("max_seq_length")
    if length is not None and length < 1:
        raise ValueError(f"{paths[0]}: max_seq_length is {length}, wanted at least 1")
    return length, bool(content.get("do_lower_case"))


def _read_prompt(path):
    """-> the default prompt, which stands in front of every text"""
    if not path.is_file():
        return ""
    content = _checked(path, {"prompts": dict[str, str] | None, "default_prompt_name": str | None},
                       REFUSED_OF_ALL, others=True)
    name, prompts = content.get("default_prompt_name"), content.get("prompts") or {}
    if name is None:
        return ""
    if name not in prompts:
        raise ValueError(f"{path}: default_prompt_name is {shown(name)}, which is not one of the "
                         "prompts")
    return prompts[name]


def _read_pooling(path, prompt):
    """-> pooling, the widths that the file claims"""
    names = ("embedding_dimension", "word_embedding_dimension")
    content = _checked(path, {**dict.fromkeys(names, int), "pooling_mode": str | list[str],
                              "include_prompt": bool, **dict.fromkeys(FLAGS, bool)}, {},
                       others=False)
    mode = content.get("pooling_mode")
    if mode is None:
        mode = [name for flag, name in FLAGS.items() if content.get(flag)] or ["mean"]
    modes = [mode] if isinstance(mode, str) else mode
    ours = {theirs: ours for ours, theirs in POOLINGS.items()}
    if len(modes) != 1 or modes[0] not in ours:
        raise ValueError(f"{path}: the pooling is {shown(' + '.join(modes))}, wanted one of "
                         f"{', '.join(ours)}")
    if prompt and not content.get("include_prompt", True):
        raise ValueError(f"{path}: include_prompt is False, but only True is implemented")
    return ours[modes[0]], [(path, name, content[name]) for name in names if name in content]


def _read_dense(folder, sizes, before):
    """-> DenseFiles; adds its input width to `sizes` if it is the first one"""
    path = folder / "config.json"
    place = (None, "sentence_embedding")
    content = _checked(path, {"in_features": int, "out_features": int, "bias": bool,
                              "activation_function": str | None},
                       {"module_input_name": place, "module_output_name": place,
                        "use_residual": (None, False)}, others=False)
    activation = content.get("activation_function") or "torch.nn.modules.activation.Tanh"
    if activation not in ACTIVATIONS:
        raise ValueError(f"{path}: activation_function is {shown(activation)}, wanted one of "
                         f"{', '.join(ACTIVATIONS)}")
    weights = WeightFiles(folder)
    names = ["linear.weight"] + ["linear.bias"] * content.get("bias", True)
    if sorted(weights.tensors) != sorted(names):
        raise ValueError(f"{weights.path} has {shown(sorted(weights.tensors))}, wanted "
                         f"{', '.join(names)}")
    W = weights.read("linear.weight")
    shape = tuple(content.get(name) for name in ("out_features", "in_features"))
    if W.shape != shape or any(weights.tensors[name].shape != W.shape[:1] for name in names[1:]):
        raise ValueError(f"{weights.path}: linear.weight has shape {W.shape}, wanted "
                         f"(out_features, in_features) = {shape}, and a bias that fits")
    if not before:
        sizes.append((path, "in_features", W.shape[1]))
    elif before[-1].weight.shape[1] != W.shape[1]:
        raise ValueError(f"{path}: in_features is {W.shape[1]}, but the module before has "
                         f"{before[-1].weight.shape[1]} outputs")
    bias = weights.read("linear.bias").astype(np.float32) if len(names) > 1 else None
    return DenseFiles(np.ascontiguousarray(W.T, np.float32), bias, ACTIVATIONS[activation])


def _checked(path, kinds, refused, *, others):
    """-> {name: value} of the known fields of a file

    refused: {name: values that change nothing};  others: whether any other field may be there
    """
    content = read_json(path)
    for name, value in content.items():
        if name in refused and not any(value == harmless for harmless in refused[name]):
            raise ValueError(f"{path}: {name} is {shown(value)}, but only "
                             f"{shown(refused[name][-1])} is implemented")
        if name not in refused and name not in kinds and not others:
            raise ValueError(f"{path}: {shown(name)[1:-1]} is a field that minillm doesn't know")
    return fields(path, content, kinds)


def write_sentence_files(folder, files, width):
    """Write the small files beside the model and the tokenizer in `folder`

    files: SentenceFiles;  width: of the model's vectors
    They have the form that every release of sentence-transformers opens.
    """
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    steps += [(f"{index}_Dense", "Dense") for index in range(2, 2 + len(files.dense))]
    steps += [(f"{len(steps)}_Normalize", "Normalize")] * files.normalize
    write_json(folder / "sentence_bert_config.json",
               {"max_seq_length": files.max_length, "do_lower_case": files.lower_case})
    write_json(folder / "config_sentence_transformers.json", {
        "prompts": {"default": files.prompt} if files.prompt else {},
        "default_prompt_name": "default" if files.prompt else None,
        "similarity_fn_name": "cosine",
    })
    for place, _ in steps:
        (folder / place).mkdir(exist_ok=True)
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": width,
        **{flag: name == POOLINGS[files.pooling] for flag, name in FLAGS.items()},
        "include_prompt": True,
    })
    names = {activation: name for name, activation in ACTIVATIONS.items()}
    for (place, _), dense in zip(steps[2:], files.dense):
        write_json(folder / place / "config.json", {
            "in_features": dense.weight.shape[0], "out_features": dense.weight.shape[1],
            "bias": dense.bias is not None, "activation_function": names[dense.activation],
        })
        tensors = {"linear.weight": dense.weight.T}
        if dense.bias is not None:
            tensors["linear.bias"] = dense.bias
        write_safetensors(folder / place / "model.safetensors", tensors)
    write_json(folder / "modules.json", [
        {"idx": index, "name": str(index), "path": place,
         "type": f"sentence_transformers.models.{kind}"}
        for index, (place, kind) in enumerate(steps)
    ])
