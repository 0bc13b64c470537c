"""`minillm eval`: how well a model predicts a text, or fills in what is masked in it."""

import tempfile
from pathlib import Path

from minillm.cli.terminal import progress_bar, table
from minillm.models.auto import AutoConfig, model_class
from minillm.models.lora_files import with_adapter
from minillm.text.auto import AutoTokenizer
from minillm.text.cleaning import clean_documents
from minillm.text.corpus import read_corpus
from minillm.text.dataset import TokenDataset, write_documents
from minillm.training.run import Run, model_folder, pretraining_task
from minillm.training.task import LABELLED, task_class

MAX_BLOCK_SIZE = 1024  # unless the user sets more: a batch of longer windows takes gigabytes


def evaluate(options):
    folder = model_folder(options.model)
    run = Run(options.model) if (Path(options.model) / "run.json").is_file() else None
    if run is not None and run.task_class.name in LABELLED:
        from minillm.cli.tasks import report_task

        if options.text:
            raise ValueError(f"{options.model} learned the task {run.task_class.name} from "
                             "examples with labels, wanted no --text")
        return report_task(run)
    model_type = AutoConfig.from_pretrained(folder).model_type
    task = task_class(pretraining_task(model_type))
    model = model_class(model_type, task.head).from_pretrained(folder)
    model = with_adapter(model, options.adapter).quantize(options.dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    block_size = _block_size(options.block_size, model)

    def measure(dataset):
        with progress_bar("evaluating", 100) as advance:
            return task.measure_text(model, dataset, block_size, tokenizer=tokenizer,
                                     report=lambda done, total: advance(100 * done // total))

    if options.text:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, "text.bin")
            documents = clean_documents(read_corpus(options.text))
            write_documents(path, documents, tokenizer, task.separator)
            results = [(options.text, measure(TokenDataset(path)))]
    elif run is not None:
        datasets = [(split, run.dataset(split)) for split in ("valid", "test")]
        results = [(split, measure(dataset)) for split, dataset in datasets
                   if len(dataset) >= task.least_tokens(block_size)]
        if not results:
            raise ValueError(f"{options.model} has no held-out text: give --text")
    else:
        raise ValueError(f"{options.model} is not a run folder, so it has no held-out text: give "
                         "--text")
    table(f"{options.model}, context {block_size}",
          [(name, *task.cells(result)) for name, result in results], ("text", *task.headings))


def _block_size(given, model):
    """-> the length of the windows: the user's, or what the model was made for"""
    limit = model.config.position_limit
    if given is None:
        return min(model.config.max_position_embeddings, MAX_BLOCK_SIZE)
    if given < 1 or (limit is not None and given > limit):
        wanted = "at least 1" if limit is None else f"1 … {limit}"
        raise ValueError(f"block_size is {given}, wanted {wanted}")
    return given
