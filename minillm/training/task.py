"""A task: the data, the loss and the metrics of a training run.

loop.py knows optimization, checkpoints and records. It knows no data, no architecture and no loss:
a task provides these.

    batches = task.batches(settings)    an endless iterator with state_dict() and load_state_dict();
                                        if it has skip(), that is next() without making the batch
    loss = task.loss(model, batch)      a Loss: .item(), / n, .backward()
    task.size(batch)                    in task.unit, for the speed: 2,048 "tokens"
    task.cut(batch, rows, length)       optional: a part of it, for steps that grow (warmups.py)
    metrics = task.evaluate(model)      {"valid_loss": 3.2, …}: the model with the lowest first one
                                        is kept; {} if nothing is held out to validate on

For a run folder (run.py) a task also provides:

    Task.prepare(folder, settings, report) -> Prepared     write data/ and model/'s tokenizer
    Task(folder, settings)                                 open what `prepare` wrote
    Task.name, Task.head               its name in run.json, the head of its models (models/auto.py)

for training with differential privacy (dp_sgd.py), optionally

    task.private_examples(settings) -> Examples, whose losses don't depend on each other
    Task.why_not_private               or why there are none, a reason that ends a sentence

and, for `minillm train` and `minillm eval`, which show a table of results:

    task.measure(model, split, report)   the result on "valid" or "test"; None if it is too short
    Task.headings, Task.cells(result)    the columns of a table, and a result as strings

Tasks that learn from labelled examples get all of this from minillm/tasks/base.py.
"""

import importlib
from typing import NamedTuple

from minillm.checks import shown

# The name in run.json -> (module, class), imported on first use; or the class itself, for a task
# that `register` added.
TASKS = {
    "language_modeling": ("minillm.training.language_modeling", "LanguageModeling"),
    "bert_pretraining": ("minillm.training.bert_pretraining", "BertPretraining"),
    "sentiment": ("minillm.tasks.classification", "Sentiment"),
    "topics": ("minillm.tasks.classification", "Topics"),
    "entities": ("minillm.tasks.tagging", "Entities"),
    "clinical": ("minillm.tasks.tagging", "Clinical"),
    "descriptions": ("minillm.tasks.describing", "Descriptions"),
    "instructions": ("minillm.tasks.instructing", "Instructions"),
    "translation": ("minillm.tasks.translation", "Translation"),
    "faq": ("minillm.tasks.retrieval", "Faq"),
    "answers": ("minillm.tasks.answering", "Answering"),
    "grading": ("minillm.tasks.grading", "Grading"),
}
# The tasks of `minillm train-task`: what a model learns in each.
LABELLED = {
    "sentiment": "tell whether a review is positive, negative or neutral",
    "topics": "tell what a message is about",
    "entities": "tag persons, places, organizations and dates",
    "clinical": "tag findings, absent findings, drugs and doses in invented notes",
    "descriptions": "describe a product of given attributes in two or three sentences",
    "instructions": "do what the prompt says; with your own prompts, instruction fine-tuning",
    "translation": "translate numbers and dates between English, Chinese and digits",
    "faq": "find the answer to a customer's question, or say that there is none",
    "answers": "find the answer to a question in a paragraph, or see that there is none",
    "grading": "grade a student's answer by comparing it with the key",
}


# The tasks that need nothing but text, in the order in which they are preferred.
PRETRAINING = ("language_modeling", "bert_pretraining")


class Prepared(NamedTuple):
    """What `prepare` returns."""

    config: object  # of the model, such as GPT2Config
    data: dict  # facts about the data, for run.json
    notes: list  # messages for the user


def register(cls):
    """Add your own task under cls.name; ValueError if the name is taken."""
    if cls.name in TASKS:
        raise ValueError(f"task is {shown(cls.name)}, which is known already")
    TASKS[cls.name] = cls
    return cls


def task_class(name):
    """-> the class of the task `name`; ValueError, in one line, if there is none"""
    if name not in TASKS:
        raise ValueError(f"task is {shown(name)}, wanted one of {', '.join(TASKS)}")
    if isinstance(TASKS[name], type):
        return TASKS[name]
    module, cls = TASKS[name]
    return getattr(importlib.import_module(module), cls)
