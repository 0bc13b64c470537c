"""`minillm eval`: how well a model predicts a text."""

import tempfile
from pathlib import Path

from minillm.cli.terminal import progress_bar, table
from minillm.cli.training import RESULT_HEADINGS, result_cells
from minillm.models.auto import AutoModelForCausalLM
from minillm.text.cleaning import clean_documents
from minillm.text.corpus import read_corpus
from minillm.text.dataset import TokenDataset, write_documents
from minillm.text.auto import AutoTokenizer
from minillm.training.evaluate import evaluate as measure
from minillm.training.run import Run, model_folder

MAX_BLOCK_SIZE = 1024  # unless the user sets more: a batch of longer windows takes gigabytes


def evaluate(options):
    folder = model_folder(options.model)
    model = AutoModelForCausalLM.from_pretrained(folder).quantize(options.dtype)
    block_size, limit = options.block_size, model.max_positions
    if block_size is None:
        block_size = min(model.config.max_position_embeddings, MAX_BLOCK_SIZE)
    if block_size < 1 or (limit is not None and block_size > limit):
        wanted = "at least 1" if limit is None else f"1 … {limit}"
        raise ValueError(f"block_size is {block_size}, wanted {wanted}")
    if options.text:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, "text.bin")
            documents = clean_documents(read_corpus(options.text))
            write_documents(path, documents, AutoTokenizer.from_pretrained(folder))
            results = [(options.text, _measure(model, TokenDataset(path), block_size))]
    elif (Path(options.model) / "run.json").is_file():
        run = Run(options.model)
        datasets = [(split, run.dataset(split)) for split in ("valid", "test")]
        results = [(split, _measure(model, dataset, block_size))
                   for split, dataset in datasets if len(dataset) > 1]
        if not results:
            raise ValueError(f"{options.model} has no held-out text: give --text")
    else:
        raise ValueError(f"{options.model} is not a run folder, so it has no held-out text: give "
                         "--text")
    table(f"{options.model}, context {block_size}",
          [(name, *result_cells(result)) for name, result in results], RESULT_HEADINGS)


def _measure(model, dataset, block_size):
    with progress_bar("evaluating", 100) as advance:
        return measure(model, dataset, block_size=block_size,
                       report=lambda done, total: advance(100 * done // total))
