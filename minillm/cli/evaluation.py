"""`minillm eval`: how well a model predicts a text."""

import tempfile
from pathlib import Path

from minillm.cli.terminal import progress_bar, table
from minillm.cli.training import RESULT_HEADINGS, result_cells
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.text.cleaning import clean_documents
from minillm.text.corpus import load_corpus
from minillm.text.dataset import TokenDataset, write_documents
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.evaluate import evaluate as measure
from minillm.training.run import Run, model_folder


def evaluate(options):
    folder = model_folder(options.model)
    model = GPT2LMHeadModel.from_pretrained(folder).quantize(options.dtype)
    block_size = options.block_size
    if block_size is None:
        block_size = model.config.n_positions
    if not 1 <= block_size <= model.config.n_positions:
        raise ValueError(f"block_size is {block_size}, wanted 1 … {model.config.n_positions}")
    if options.text:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, "text.bin")
            documents = clean_documents(load_corpus(options.text))
            write_documents(path, documents, GPT2Tokenizer.from_pretrained(folder))
            results = [(options.text, _measure(model, TokenDataset(path), block_size))]
    elif (Path(options.model) / "run.json").is_file():
        run = Run(options.model)
        datasets = [(split, run.dataset(split)) for split in ("valid", "test")]
        results = [(split, _measure(model, dataset, block_size))
                   for split, dataset in datasets if len(dataset) > 1]
    else:
        raise ValueError(f"{options.model} is no run folder, so it has no held-out text of its "
                         "own: give --text")
    table(f"{options.model}, context {block_size}",
          [(name, *result_cells(result)) for name, result in results], RESULT_HEADINGS)


def _measure(model, dataset, block_size):
    with progress_bar("evaluating", 100) as advance:
        return measure(model, dataset, block_size=block_size,
                       report=lambda done, total: advance(100 * done // total))
