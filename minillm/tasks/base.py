"""What all tasks that learn from labelled examples share: the data, training and measuring.

A task is a subclass of SupervisedTask. It says what an example looks like, how examples become the
arrays of a batch, and how a model's outputs become predictions; everything else is here or in the
training loop. A run folder of a task has, beside what every run has (training/run.py):

    data/train.jsonl, valid.jsonl, test.jsonl      the examples
    predictions.jsonl, results.json, *.png         after the training: report.py
"""

from pathlib import Path

import numpy as np

from minillm.models.auto import model_class
from minillm.nn.module import inference
from minillm.tasks.examples import (
    SPLITS,
    ExampleBatches,
    folder_file,
    read_examples,
    read_splits,
    write_examples,
)
from minillm.tasks.hidden_tokens import hide_tokens
from minillm.text.auto import AutoTokenizer
from minillm.text.bert_tokenizer import BertTokenizer
from minillm.training.architecture import new_config, pretrained_config
from minillm.training.dp_sgd import Examples
from minillm.training.parallel.one_process import share_out
from minillm.training.task import Prepared

PRETRAINED_LR = 5e-4  # the default peak when settings.model names a pretrained model
BATCH = 32  # examples in a batch of predictions


class SupervisedTask:
    """A task learned from labelled examples: see minillm/training/task.py for the loop's side.

    folder: a run folder
    settings: the run's Settings
    model_folder: of the tokenizer; None: folder/model. A task on a checkpoint that isn't in a run
        folder has no examples (see `for_checkpoint`).
    """

    name = None  # `minillm train-task NAME`, an entry of training/task.TASKS
    head = None  # of its models: models/auto.py
    model_type = "bert"  # the architecture of a new model
    unit = "examples"
    fields = {}  # of an example: {name: kind}, as in json_files.fields
    optional = ()  # fields that an example may lack
    question = ("text",)  # the fields that a model is given
    defaults = {}  # the Settings of a full training, where they differ from those of Settings
    n_examples = 4000  # to generate by default
    n_watched = 200  # validation examples predicted at each evaluation, for the metrics; 0: none
    hidden = 0.0  # the share of tokens that training hides: hidden_tokens.py
    kept_by = None  # the metric whose best model is kept, a share; None: that of the lowest loss
    generated = ""  # one sentence: what the generated examples are

    def __init__(self, folder, settings, model_folder=None):
        self.folder, self.settings = Path(folder), settings
        self.model_folder = Path(model_folder or self.folder / "model")
        self.max_length = settings.block_size
        self.tokenizer = AutoTokenizer.from_pretrained(self.model_folder)
        self._splits = {}

    @classmethod
    def for_checkpoint(cls, model_folder, settings):
        """-> the task for a model in Hugging Face's format that isn't in a run folder"""
        return cls(model_folder, settings, model_folder)

    # ---- what a task defines

    @classmethod
    def generate(cls, n, seed):
        """-> {"train": examples, "valid": examples, "test": examples}, n in all

        No example of test or valid is in train, and test has words and patterns that train lacks.
        """
        raise NotImplementedError

    @classmethod
    def read(cls, path):
        """-> the user's examples in one file; ValueError, with the place, for a wrong one"""
        examples = read_examples(path, cls.fields, cls.optional)
        for number, example in enumerate(examples, 1):
            try:
                cls.check_example(example)
            except ValueError as error:
                raise ValueError(f"{path}, example {number}: {error}") from None
        return examples

    @classmethod
    def check_example(cls, example):
        """ValueError for an example of the user's that can't be learned from; a task adds to it."""
        cls.check_question(example)

    @classmethod
    def check_question(cls, example):
        """ValueError for an example without a text in a field that a model is given"""
        for name in cls.question:
            if name not in cls.optional and not example[name].strip():
                raise ValueError(f"{name} is empty, wanted some text")

    @classmethod
    def texts(cls, examples):
        """Yield the texts that a new tokenizer learns from: all fields that are strings."""
        for example in examples:
            yield from (value for value in example.values() if isinstance(value, str))

    @classmethod
    def new_tokenizer(cls, examples, vocab_size, report):
        """-> a tokenizer trained on the texts of the training examples"""
        return BertTokenizer.train(cls.texts(examples), vocab_size, progress=report)

    @classmethod
    def configure(cls, config, tokenizer, splits):
        """-> the model's configuration, with what this task adds, such as its labels

        Called for a new and for a pretrained model, with the examples of all splits.
        """
        return config

    def encode(self, examples, config):
        """-> {argument of the model: array (B, …)}, padded, with labels: one batch

        config: the model's, which names the labels
        """
        raise NotImplementedError

    def predict_batch(self, model, examples):
        """-> a prediction for each example, JSON values; only the question's fields are there"""
        raise NotImplementedError

    def metrics(self, model):
        """-> {name: metrics.Metric}, the most important first"""
        raise NotImplementedError

    def baselines(self):
        """-> {name: function(training examples) -> function(examples) -> predictions}"""
        return {}

    def pictures(self, model, examples, predictions):
        """-> {"confusion.png": matplotlib Figure} about the test examples"""
        return {}

    def calibrate(self, model):
        """Called after the training, such as to choose a threshold on the validation split.

        What `predict_batch` will need is written into `model_folder`.
        """

    @classmethod
    def question_from(cls, texts):
        """-> an example without its answer, from the arguments of `minillm predict`"""
        if len(texts) != len(cls.question):
            raise ValueError(f"predict is given {len(texts)} texts, wanted {len(cls.question)}: "
                             f"{', '.join(cls.question)}")
        example = dict(zip(cls.question, texts))
        cls.check_question(example)
        return example

    def show(self, example, prediction):
        """-> the prediction for a reader at the terminal"""
        return str(prediction)

    # ---- the data

    @classmethod
    def prepare(cls, folder, settings, report):
        """Write the examples and the tokenizer into a run folder -> Prepared"""
        source = settings.model or settings.tokenizer
        tokenizer = AutoTokenizer.from_pretrained(source) if source else None
        # Refuse wrong sizes before anything takes time.
        if settings.model:
            config = pretrained_config(settings, tokenizer, cls.head)
        else:
            config = new_config(settings, cls.head,
                                len(tokenizer) if tokenizer else settings.vocab_size)

        notes = []
        if settings.text:
            report("reading the examples")
            splits = read_splits(settings.text, cls.read, cls.question, settings.valid,
                                 settings.test, settings.seed)
        else:
            report("making the examples")
            splits = cls.generate(settings.examples or cls.n_examples, seed=0)
            notes.append(cls.generated)
        if tokenizer is None:
            report("training the tokenizer", 0)
            tokenizer = cls.new_tokenizer(
                splits["train"], settings.vocab_size,
                lambda done, wanted: report("training the tokenizer", done / wanted))
        if settings.model is None:
            config = new_config(settings, cls.head, len(tokenizer), tokenizer.eos_token_id)
        if tokenizer.pad_token is None and tokenizer.eos_token is not None:
            tokenizer.pad_token = tokenizer.eos_token  # as usual for a decoder, which has none
        if "pad_token_id" in config.field_names() and tokenizer.pad_token_id is not None:
            config = config.replace(pad_token_id=tokenizer.pad_token_id)
        config = cls.configure(config, tokenizer, splits)

        (folder / "data").mkdir()
        for split in SPLITS:
            write_examples(folder_file(folder, split), splits[split])
        if "type_vocab_size" not in config.field_names():  # only BERT tells two texts apart by it
            tokenizer.model_input_names = ("input_ids", "attention_mask")
        tokenizer.model_max_length = settings.block_size
        tokenizer.save_pretrained(folder / "model")
        return Prepared(config, {split: {"examples": len(splits[split])} for split in SPLITS}, notes)

    def examples(self, split):
        """-> list of the examples in "train", "valid" or "test"; empty without a run folder"""
        if split not in self._splits:
            path = folder_file(self.folder, split)
            is_empty = not path.is_file() or not path.stat().st_size
            self._splits[split] = [] if is_empty else read_examples(path, self.fields,
                                                                    self.optional)
        return self._splits[split]

    # ---- training and measuring

    def batches(self, settings):
        return ExampleBatches(self.examples("train"), settings.batch_size, settings.seed)

    def private_examples(self, settings):
        """-> Examples, for training with differential privacy: the labelled ones"""
        examples = self.examples("train")
        return Examples("one labelled example", len(examples),
                        lambda indices: [examples[index] for index in indices])

    def loss(self, model, batch):
        arrays = self.encode(batch, model.config)
        if model.training and self.hidden:
            arrays = hide_tokens(arrays, self.tokenizer, self.hidden, model.rng)
        return model(**arrays).loss

    def size(self, batch):
        return len(batch)

    def evaluate(self, model):
        """-> {"valid_loss": …, "valid_accuracy": …}; {} if nothing is held out

        With `kept_by`, "valid_error" comes first, 1 - that metric: on unseen patterns the loss
        rises with a model's confidence, while its answers still improve.
        """
        examples = self.examples("valid")
        if not examples:
            return {}
        found = {"valid_loss": self.mean_loss(model, examples)}
        watched = examples[: self.n_watched]
        if watched:
            predictions = self.predict(model, watched)
            for name, metric in self.metrics(model).items():
                found[f"valid_{name.replace(' ', '_')}"] = metric.value(predictions, watched)
        if self.kept_by is not None:
            found = {"valid_error": 1 - found[f"valid_{self.kept_by}"], **found}
        return found

    def mean_loss(self, model, examples):
        """-> the mean loss over the examples, dropout off"""
        def loss(batch):
            return len(batch) * self.loss(model, batch).item()

        with inference(model):
            return sum(share_out(loss, _batches(examples))) / len(examples)

    def predict(self, model, examples, report=None):
        """-> list of predictions, JSON values, one for each example. Dropout is off.

        report(done, total): called after each batch
        """
        done = 0

        def predictions(batch):
            nonlocal done
            done += len(batch)
            found = self.predict_batch(model, batch)
            if report is not None:
                report(done, len(examples))
            return found

        with inference(model):
            found = share_out(predictions, _batches(examples))
        return [prediction for batch in found for prediction in batch]

    # ---- helpers of the subclasses

    @classmethod
    def load_model(cls, folder, model_type, **options):
        """-> the model in `folder`, with this task's head"""
        return model_class(model_type, cls.head).from_pretrained(folder, **options)

    def tokenize(self, texts, pairs=None, **options):
        """-> the tokenizer's arrays for a batch, padded, cut to the run's length"""
        return self.tokenizer(list(texts), pairs and list(pairs), padding=True, truncation=True,
                              max_length=self.max_length, return_tensors="np", **options)


def _batches(examples):
    """-> list of the examples in pieces of BATCH"""
    return [examples[start : start + BATCH] for start in range(0, len(examples), BATCH)]


def label_fields(labels):
    """-> the fields of a configuration that name the classes"""
    return {"id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)}}


def labels_of(config):
    """-> list of the names of the classes, in the order of the logits"""
    if "id2label" not in config.extra:
        return [f"LABEL_{number}" for number in range(config.num_labels)]
    return [label for _, label in sorted((int(n), label) for n, label in config.id2label.items())]


def label_ids(labels, wanted, what="label"):
    """-> int64 (B,): the number of each wanted label; ValueError for one that isn't there"""
    index = {label: number for number, label in enumerate(labels)}
    for label in wanted:
        if label not in index:
            raise ValueError(f"{what} is {label!r}, wanted one of {', '.join(labels)}")
    return np.array([index[label] for label in wanted], np.int64)
