"""A run folder: everything about one training run in one place.

    runs/NAME/
        run.json          the settings, and what was found in the data
        data/             train.bin, valid.bin, test.bin: the tokens, memory-mapped
        model/            the best model so far and its tokenizer, in Hugging Face's format
        checkpoints/      step-000100/ …: what `--resume` continues from
        metrics.jsonl     what was measured, a line each;  loss.png shows it
"""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from minillm.checks import require_memory
from minillm.files import atomic_write
from minillm.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minillm.text.cleaning import clean_documents
from minillm.text.corpus import load_corpus, split_documents
from minillm.text.dataset import TokenDataset, write_documents
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.settings import Settings

SPLITS = ("train", "valid", "test")


class Run:
    """An existing run folder, opened. Raises FileNotFoundError or ValueError if it is none."""

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / "run.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no run folder: it has no run.json")
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            self.settings = Settings.from_dict(facts["settings"])
            self.config = GPT2Config.from_dict(facts["config"])
            self.data = facts["data"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    @property
    def model_folder(self):
        return self.folder / "model"

    def tokenizer(self):
        return GPT2Tokenizer.from_pretrained(self.model_folder)

    def dataset(self, split):
        """split: "train", "valid" or "test" -> TokenDataset"""
        return TokenDataset(self.folder / "data" / f"{split}.bin")

    def new_model(self):
        """-> the model as it was before the first step"""
        if self.settings.model is None:
            return GPT2LMHeadModel(self.config, seed=self.settings.seed)
        model = GPT2LMHeadModel.from_pretrained(
            model_folder(self.settings.model), **_dropout(self.settings)
        )
        return model.train()


def create_run(folder, settings, report=lambda message, share=None: None):
    """Prepare everything that comes before the first step, in a new folder -> Run

    Read the text, clean it, split it by document, get a tokenizer, write the tokens.
    report(message, share): is told what goes on, and how much of it is done, 0 to 1.

    Raises FileExistsError for a folder that has something in it, OSError for one that can't be
    written, ValueError for a text that is empty or too short.
    """
    folder = claim_folder(folder)
    try:
        return _prepare(folder, settings, report)
    except BaseException:
        # A run that can't begin leaves no trace, so the same command works once it is mended.
        shutil.rmtree(folder)
        raise


def _prepare(folder, settings, report):
    report("reading the text")
    documents = clean_documents(load_corpus(settings.text))
    splits = split_documents(documents, settings.valid, settings.test, settings.seed)

    tokenizer = _tokenizer(settings, splits.train, report)
    report("encoding the text")
    (folder / "data").mkdir()
    datasets = {}
    for split, part in zip(SPLITS, splits):
        path = folder / "data" / f"{split}.bin"
        write_documents(path, part, tokenizer)
        datasets[split] = TokenDataset(path)
    # Too little text is found out here, before anything is trained.
    datasets["train"].require_context(settings.batch_size, settings.block_size)
    for split in SPLITS[1:]:
        if len(datasets[split]):
            datasets[split].require_context(1, 1)

    tokenizer.model_max_length = settings.block_size
    tokenizer.save_pretrained(folder / "model")
    config = _config(settings, tokenizer)
    facts = {
        "settings": settings.to_dict(),
        "config": config.to_dict(),
        "data": {
            split: {"documents": len(part), "tokens": len(datasets[split]),
                    "bytes": datasets[split].n_bytes}
            for split, part in zip(SPLITS, splits)
        },
    }
    # Last: a folder with a run.json is complete.
    with atomic_write(folder / "run.json", "w") as file:
        file.write(json.dumps(facts, indent=2) + "\n")
    return Run(folder)


def numbered_folder(parent, name):
    """-> the first of parent/name-1, parent/name-2, … that doesn't exist yet"""
    number = 1
    while (Path(parent) / f"{name}-{number}").exists():
        number += 1
    return Path(parent) / f"{name}-{number}"


def model_folder(name):
    """What a person may call a model: a run folder stands for the model in it -> str

    Raises FileNotFoundError for a run folder whose model is gone.
    """
    if (Path(name) / "run.json").is_file():
        folder = Path(name) / "model"
        if not folder.is_dir():
            raise FileNotFoundError(f"{name} is a run folder without a model: it has no {folder}")
        return str(folder)
    return os.fspath(name)


def claim_folder(folder):
    """-> Path of a new or empty folder that can be written to; an error if it can't be had"""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        is_run = (folder / "run.json").is_file()
        go_on = f", or go on with minillm train --resume {folder}" if is_run else ""
        raise FileExistsError(
            f"{folder} exists and is not an empty folder: give another name with --out{go_on}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} can't be written to")
    return folder


def _tokenizer(settings, documents, report):
    source = settings.model or settings.tokenizer
    if source:
        return GPT2Tokenizer.from_pretrained(model_folder(source))
    report("training the tokenizer", 0)
    return GPT2Tokenizer.train(
        [document.text for document in documents],
        settings.vocab_size,
        progress=lambda done, wanted: report("training the tokenizer", done / wanted),
    )


def _config(settings, tokenizer):
    if settings.model:
        config = GPT2Config.from_pretrained(model_folder(settings.model))
        config = replace(config, **_dropout(settings))
        if settings.block_size > config.n_positions:
            raise ValueError(f"block_size is {settings.block_size}, wanted at most "
                             f"{config.n_positions}, the n_positions of {settings.model}")
        return config
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=settings.block_size, n_embd=settings.n_embd,
        n_layer=settings.n_layer, n_head=settings.n_head, bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id, initializer_range=_initial_std(settings.n_embd),
        **_dropout(settings),
    )
    # Each weight has a gradient and two moments of Adam, all of 4 bytes.
    require_memory("training this model", 4 * 4 * _n_parameters(config))
    return config


def _n_parameters(config):
    """-> the numbers of a GPT-2: embeddings and, in each block, four d² of attention, eight d² of
    the feed-forward network, 13 d of biases and gains; the last layer norm"""
    d = config.n_embd
    return (config.vocab_size + config.n_positions) * d + config.n_layer * (12 * d + 13) * d + 2 * d


def _initial_std(d_model):
    """std² = 2 / (d_in + d_out), so that signals keep their size forward and backward (Glorot and
    Bengio 2010, eq. 16), with d_out = 3 d_model as in qkv for all.

    GPT-2's own 0.02 is about that for its widths, 768 and more. With d_model = 128 it is three
    times too small, and learning takes half as long again to come as far.
    """
    return (2 * d_model) ** -0.5


def _dropout(settings):
    # None on the attention weights: the streaming kernel, which never holds them, has none.
    return {"resid_pdrop": settings.dropout, "embd_pdrop": settings.dropout, "attn_pdrop": 0.0}
