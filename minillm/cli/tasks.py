"""`minillm train-task` and `minillm predict`."""

import json
import shlex
from pathlib import Path

from minillm.cli.arguments.settings import given_settings
from minillm.cli.generation import read_stdin
from minillm.cli.opening import open_trained
from minillm.cli.terminal import for_stream, progress_bar, say, table
from minillm.cli.training import train_new
from minillm.hub import find_pretrained
from minillm.json_files import fields as check_fields
from minillm.json_files import parse_json
from minillm.models.auto import AutoConfig, config_class, model_class
from minillm.tasks.base import PRETRAINED_LR
from minillm.tasks.examples import read_examples
from minillm.tasks.prompted import PromptedTask
from minillm.tasks.report import report, rows
from minillm.tasks.seq2seq import Seq2SeqTask
from minillm.training.run import Run, model_folder
from minillm.training.settings import Settings
from minillm.training.task import LABELLED, task_class

MAX_LENGTH = 512  # of a text, in tokens, for a checkpoint that isn't a run's


def train_task(options):
    if options.name is None:
        for name, title in LABELLED.items():
            print(f"{name:<14}{title}")
        return 0
    cls = labelled_task(options.name)
    settings = task_settings(cls, options)
    status, _ = train_new(settings, options.out, options.name, task=options.name,
                          ranks=options.ranks)
    return status


def labelled_task(name):
    """-> the class of a task with labels; ValueError for another name"""
    if name not in LABELLED:
        raise ValueError(f"task is {name!r}, wanted one of {', '.join(LABELLED)}")
    return task_class(name)


def task_settings(cls, options):
    """-> Settings: the task's defaults, and what the command line sets"""
    given, model = given_settings(options), getattr(options, "model", None)
    defaults = {"model_type": cls.model_type, **cls.defaults}
    architecture = config_class(given.get("model_type", cls.model_type))
    if "position_embedding" not in architecture.field_names():
        defaults.pop("position_embedding", None)  # the architecture keeps its own
    if model is not None:
        defaults["lr"] = PRETRAINED_LR
        limit = AutoConfig.from_pretrained(find_pretrained(model_folder(model))).position_limit
        length = defaults.get("block_size", Settings.block_size)
        defaults["block_size"] = length if limit is None else min(length, limit)
    return Settings(**{**defaults, **given, "text": options.data, "model": model})


def report_task(run):
    """Measure a finished run of a task, write its results and pictures, and print them."""
    with progress_bar("predicting", 100) as advance:
        results = report(run, lambda done, total: advance(100 * done // total))
    if not results:
        say("nothing is held out to test on, so there are no scores")
        return
    if results["metrics"]:
        title = f"{run.folder}: {results['examples']['test']} test examples"
        table(title, rows(results), ("metric", "test (95 % interval)", *results["baselines"],
                                     "validation"))
    say(f"\nIn {run.folder}:\n"
        "  results.json       these numbers\n"
        "  predictions.jsonl  every test example with its prediction\n"
        "  loss.png           the loss curve; the task's pictures are beside it\n"
        f"Try it:  minillm predict --model {shlex.quote(str(run.folder))} …")


def predict(options):
    task, model = _opened(options)
    _set_sampling(task, options)
    _set_beams(task, options.num_beams)
    examples = _questions(task, options)
    with progress_bar("predicting", len(examples)) as advance:
        predictions = task.predict(model, examples, lambda done, total: advance(done))
    for example, prediction in zip(examples, predictions):
        if options.json:
            print(json.dumps({**example, "prediction": prediction}, ensure_ascii=False))
        else:
            print(for_stream(task.show(example, prediction)))


def _set_sampling(task, options):
    """Let a task that writes sample as the options say; ValueError for another task"""
    given = {name: getattr(options, name) for name in ("temperature", "top_p", "seed")
             if getattr(options, name) is not None}
    if given and not isinstance(task, PromptedTask):
        raise ValueError(f"{next(iter(given))} is {next(iter(given.values()))}, but {task.name} "
                         "doesn't sample: its predictions have no randomness")
    if given:
        task.sampling = {"do_sample": True, "top_k": 0, **given}


def _set_beams(task, num_beams):
    """Let a task that writes search with beams, None for one; ValueError for another task"""
    if num_beams is None:
        return
    if isinstance(task, Seq2SeqTask):
        task.num_beams = num_beams
    elif isinstance(task, PromptedTask):
        task.sampling = {**task.sampling, "num_beams": num_beams}
    else:
        raise ValueError(f"num_beams is {num_beams}, but {task.name} doesn't write: there is no "
                         "text to search for")


def _opened(options):
    """-> (task, model) of --model and --task"""
    path = Path(options.model)
    if (path / "run.json").is_file():
        run = Run(options.model)
        task = run.task()
        if options.task not in (None, task.name):
            raise ValueError(f"task is {options.task!r}, but {options.model} was trained for "
                             f"{task.name!r}")
        labelled_task(task.name)
        model_folder(options.model)  # an error if the model is gone
        return task, _open(task, run.model_folder, run.config.model_type)
    if options.task is None:
        raise ValueError(f"{options.model} is not a run folder, so it doesn't name its task: give "
                         f"--task, one of {', '.join(LABELLED)}")
    cls = labelled_task(options.task)
    folder = find_pretrained(options.model)
    config = AutoConfig.from_pretrained(folder)
    length = min(config.position_limit or MAX_LENGTH, MAX_LENGTH)
    task = cls.for_checkpoint(folder, Settings(block_size=length))
    return task, _open(task, folder, config.model_type)


def _open(task, folder, model_type):
    return open_trained(model_class(model_type, task.head), folder)


def _questions(task, options):
    """-> the examples to predict: from the arguments, a file, or the lines of standard input"""
    if options.input and options.texts:
        raise ValueError("--input replaces the texts, wanted one or the other")
    if options.input:
        return _answerless(task, options.input)
    if options.texts:
        if len(task.question) == 1:
            return [task.question_from([text]) for text in options.texts]
        return [task.question_from(options.texts)]
    # Only "\n" ends a line: a text may contain other separators of Unicode.
    lines = read_stdin("text").removeprefix("\ufeff").split("\n")
    questions = [_question_in(task, f"standard input, line {number}", line.removesuffix("\r"))
                 for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise ValueError("standard input is empty, wanted a text in each line")
    return questions


def _question_in(task, where, line):
    """-> the example in a line: a text, the texts between tabs, or a JSON object with the fields"""
    if line.lstrip().startswith("{"):
        required = [name for name in task.question if name not in task.optional]
        found = check_fields(where, parse_json(where, line), dict.fromkeys(task.question, str),
                             required)
        texts = [found.get(name, "") for name in task.question]
    else:
        texts = [line] if len(task.question) == 1 else line.split("\t")
    try:
        return task.question_from(texts)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _answerless(task, path):
    """-> the examples in a file, which may lack their answers"""
    answers = [name for name in task.fields if name not in task.question]
    return read_examples(path, task.fields, [*task.optional, *answers])
