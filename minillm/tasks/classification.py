"""Text classification: a text gets one of several labels      (Devlin et al. 2018, figure 4b)

    [CLS] not bad at all [SEP]  ->  BERT  ->  logits (C,)  ->  "positive"

The model is any with the head "sequence_classification". Its loss is the cross-entropy of the
labels, whose derivation is in ops/cross_entropy.py.
"""

from collections import Counter

from minillm.ops.softmax import softmax
from minillm.tasks.base import SupervisedTask, label_fields, label_ids, labels_of
from minillm.tasks.data import sentiment, topics
from minillm.tasks.logistic_regression import LogisticRegression
from minillm.tasks.metrics import confusion_figure, label_metrics


class TextClassification(SupervisedTask):
    """Examples {"text": …, "label": …}; a prediction is {"label": …, "probability": …}."""

    head = "sequence_classification"
    fields = {"text": str, "label": str}

    @classmethod
    def texts(cls, examples):
        return (example["text"] for example in examples)

    @classmethod
    def check_example(cls, example):
        super().check_example(example)
        if not example["label"].strip():
            raise ValueError("label is empty, wanted the name of a class")

    @classmethod
    def configure(cls, config, tokenizer, splits):
        labels = sorted({example["label"] for example in splits["train"]})
        if len(labels) < 2:
            raise ValueError(f"the training examples have only the label {labels[0]!r}, wanted two "
                             "or more")
        for split in ("valid", "test"):
            label_ids(labels, [example["label"] for example in splits[split]])
        return config.replace(**label_fields(labels))

    def encode(self, examples, config):
        arrays = self.tokenize(example["text"] for example in examples)
        labels = label_ids(labels_of(config), [example["label"] for example in examples])
        return {**arrays, "labels": labels}

    def predict_batch(self, model, examples):
        logits = model(**self.tokenize(example["text"] for example in examples)).logits
        P, _ = softmax(logits)
        labels = labels_of(model.config)
        return [{"label": labels[p.argmax()], "probability": round(float(p.max()), 4)} for p in P]

    def metrics(self, model):
        return {name: metric._replace(of_example=_of_label(metric.of_example))
                for name, metric in label_metrics(labels_of(model.config)).items()}

    def baselines(self):
        return {"majority": _majority, "bag of words": _bag_of_words}

    def pictures(self, model, examples, predictions):
        return {"confusion.png": confusion_figure(
            [example["label"] for example in examples],
            [prediction["label"] for prediction in predictions], labels_of(model.config))}

    def show(self, example, prediction):
        return f"{prediction['label']}  {prediction['probability']:.1%}"


def _of_label(of_example):
    return lambda prediction, example: of_example(prediction["label"], example)


def _majority(train):
    """The most frequent label of the training examples, for every text."""
    label, _ = Counter(example["label"] for example in train).most_common(1)[0]
    return lambda examples: [{"label": label}] * len(examples)


def _bag_of_words(train):
    model = LogisticRegression([e["text"] for e in train], [e["label"] for e in train])
    return lambda examples: [{"label": label}
                             for label in model.predict([e["text"] for e in examples])]


class Sentiment(TextClassification):
    """Reviews: what does the writer think of it?"""

    name = "sentiment"
    generate = staticmethod(sentiment.generate)
    generated = sentiment.WHAT
    n_examples = 8000
    defaults = {"vocab_size": 1500, "n_layer": 2, "n_head": 4, "n_embd": 96, "block_size": 48,
                "steps": 1500, "batch_size": 32, "lr": 1e-3, "warmup": 100, "eval_every": 250,
                "checkpoint_every": 250}


class Topics(TextClassification):
    """Messages: what are they about?"""

    name = "topics"
    generate = staticmethod(topics.generate)
    generated = topics.WHAT
    n_examples = 6000
    defaults = {"vocab_size": 2000, "n_layer": 2, "n_head": 4, "n_embd": 96, "block_size": 48,
                "steps": 500, "batch_size": 32, "lr": 1e-3, "warmup": 50, "dropout": 0.2, "eval_every": 100}
