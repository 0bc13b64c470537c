"""`minillm lora`: merge an adapter into its model, or extract one from a fine-tuned model."""

from pathlib import Path

from minillm.cli.terminal import say
from minillm.files import expand
from minillm.hub import find_pretrained
from minillm.models.auto import head_of, model_class
from minillm.models.config import read_config
from minillm.models.lora import merge_and_unload
from minillm.models.lora_extract import extract as extract_updates
from minillm.models.lora_files import (
    TASK_TYPES,
    find_adapter,
    load_adapter,
    read_adapter_config,
    save_adapter,
)
from minillm.text.auto import AutoTokenizer
from minillm.training.run import model_folder


def merge(options):
    folder = find_pretrained(model_folder(options.model))
    adapter = find_adapter(options.adapter)
    task_type = read_adapter_config(adapter).task_type
    heads = [head for head, name in TASK_TYPES.items() if name == task_type]
    model = _model(folder, heads[0] if heads else None)
    merge_and_unload(load_adapter(model, adapter))
    _save_new(options.out, folder, model.save_pretrained)
    say(f"{options.out}: {options.model} with {options.adapter} merged into it, "
        f"{model.num_parameters():,} parameters")


def extract(options):
    folder = find_pretrained(model_folder(options.model))
    tuned_folder = find_pretrained(model_folder(options.tuned))
    model, tuned = _model(folder), _model(tuned_folder)
    found = extract_updates(model, tuned, options.rank)
    _save_new(options.out, None, lambda out: save_adapter(model, out, base_model=folder))
    say(f"{options.out}: {model.num_parameters(only_trainable=True):,} numbers, which hold "
        f"{100 * found.share:.1f} % of the change of the matrices (by squared norm)")
    if found.of_others:
        everything = found.of_matrices + found.of_others
        say(f"left out: embeddings, norms and biases, {100 * found.of_others / everything:.1f} % of "
            "the whole change")


def _model(folder, head=None):
    """-> the model in a folder, with this head, or the one that config.json names"""
    config = read_config(folder)
    head = head or head_of(config.get("model_type"), config.get("architectures"))
    return model_class(config.get("model_type"), head).from_pretrained(folder)


def _save_new(out, tokenizer_of, save):
    """Let `save` write into the new folder `out`, and copy the tokenizer of another one."""
    folder = Path(expand(out))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{out} exists already, wanted a new or empty folder")
    save(folder)
    if tokenizer_of is not None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
        except FileNotFoundError:
            say(f"{tokenizer_of} has no tokenizer to copy")
        else:
            tokenizer.save_pretrained(folder)
