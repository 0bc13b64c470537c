"""Customer service: find the answer to a question in a FAQ, or say "I don't know".

    "my box is overdue"  ->  encoder  ->  vector  ->  nearest question of the FAQ  ->  its answer

The encoder is a base model with the mean over its tokens (models/sentence_encoder.py), trained with
the contrastive loss: a question has to find, in its batch, another way to ask the same, among ways
to ask something else. Questions that the FAQ doesn't answer are negatives for all others. A
threshold on the cosine, chosen on the validation questions, decides between the answer and none.

A new entry needs no training: its question is embedded and added to the index.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.files import expand
from minillm.hub import find_pretrained
from minillm.json_files import fields, read_json, write_json
from minillm.models.safetensors_file import read_safetensors, write_safetensors
from minillm.models.sentence_encoder import SentenceEncoder
from minillm.models.sentence_files import SentenceFiles, read_sentence_files, write_sentence_files
from minillm.nn import Loss, contrastive_loss
from minillm.ops.cosine_search import cosine_search
from minillm.tasks.base import SupervisedTask
from minillm.tasks.data import faq
from minillm.tasks.examples import SPLITS, ExampleBatches, read_examples
from minillm.tasks.logistic_regression import words
from minillm.tasks.metrics import mean_of, share_of
from minillm.tasks.ranking import best_threshold, recall_at, reciprocal_rank
from minillm.tasks.tfidf import TfIdf
from minillm.tasks.word_dropout import new_word

TOP = 10  # entries in a prediction
SHOWN = 3  # of them, at the terminal
THRESHOLD = 0.5  # until one is chosen
LEFT_OUT = 0.2  # the share of words that training leaves out
STRANGE = 0.3  # how often it puts a strange word in front of a text, and how often behind it
# Words that say nothing about what a question is about.
STOP_WORDS = set("a about am an and any are as at be by can could do does for from get had has "
                 "have how i if in is it me my no not of on or so that the there this to up was we "
                 "what when where which who why will with you your".split())


class FaqIndex(NamedTuple):
    """The entries of a FAQ, their vectors, and the score below which none of them is the answer."""

    entries: list  # of {"question": …, "answer": …}
    vectors: np.ndarray  # (n, d), of the questions
    threshold: float

    @classmethod
    def of(cls, encoder, entries, threshold=THRESHOLD):
        return cls(entries, encoder.encode([entry["question"] for entry in entries]), threshold)

    def predictions(self, vectors):
        """vectors: (n, d), of questions -> list of predictions"""
        scores, indices = cosine_search(vectors, self.vectors, TOP)
        return [prediction([self.entries[i] for i in row], row_scores, self.threshold)
                for row, row_scores in zip(indices, scores)]

    def save(self, folder):
        write_json(folder / "faq.json", {"threshold": self.threshold, "entries": self.entries},
                   ensure_ascii=False)
        write_safetensors(folder / "faq.safetensors", {"vectors": self.vectors})

    @classmethod
    def load(cls, folder):
        """-> the index in a folder; ValueError for files that don't fit"""
        path = folder / "faq.json"
        content = fields(path, read_json(path), {"threshold": float, "entries": list[dict]},
                         ["threshold", "entries"])
        for number, entry in enumerate(content["entries"]):
            fields(path, entry, {"question": str, "answer": str}, ["question", "answer"],
                   f"entries[{number}]")
        vectors = read_safetensors(folder / "faq.safetensors").get("vectors")
        if vectors is None or vectors.ndim != 2 or len(vectors) != len(content["entries"]):
            raise ValueError(f"{folder / 'faq.safetensors'} doesn't hold a vector for each of the "
                             f"{len(content['entries'])} entries of faq.json")
        return cls(content["entries"], vectors, content["threshold"])


def prediction(entries, scores, threshold):
    """-> {"known": …, "answer": …, "top": …}: the entries with the highest scores, falling"""
    known = bool(entries) and float(scores[0]) >= threshold
    return {"known": known, "answer": entries[0]["answer"] if known else None,
            "top": [{"question": entry["question"], "score": round(float(score), 4)}
                    for entry, score in zip(entries, scores)]}


class FaqBatches(ExampleBatches):
    """Batches of different entries, each example with a partner: another way to ask the same.

    In a batch with two examples of one entry, each would be a wrong answer for the other. So an
    epoch takes one example of each entry, then a second one of each, and so on.
    """

    def __init__(self, examples, batch_size, rng):
        self.ways = {}  # question of an entry -> ways to ask it, itself included
        for example in examples:
            ways = self.ways.setdefault(example["question"], [example["question"]])
            ways.append(example["text"])
        self.words = sorted({word for example in examples for word in example["text"].split()
                             if word.isascii() and word.isalpha() and len(word) > 3})
        super().__init__(examples, batch_size, rng)

    def _start_epoch(self):
        super()._start_epoch()
        asked, turns = {}, []
        for index in self.order:
            question = self.examples[index]["question"]
            asked[question] = asked.get(question, 0) + 1
            turns.append(asked[question])
        # Questions without an answer may share a batch: they are spread over the epoch.
        last = max((n for question, n in asked.items() if question), default=1)
        turns = [turn if self.examples[index]["question"] else self.rng.integers(1, last + 1)
                 for index, turn in zip(self.order, turns)]
        self.order = self.order[np.argsort(turns, kind="stable")]
        self.seeds = self.rng.integers(2**32, size=len(self.order))

    def __next__(self):
        batch = super().__next__()
        seeds = self.seeds[self.position - len(batch) : self.position]
        return [self._paired(example, np.random.default_rng(seed))
                for example, seed in zip(batch, seeds)]

    def _paired(self, example, rng):
        """-> the example and its partner: the entry's own question in half of the cases, or another
        way to ask it. Both are disturbed.
        """
        partner = example["question"]
        others = [way for way in self.ways[partner][1:] if way != example["text"]]
        if rng.random() < 0.5 and others:
            partner = others[rng.integers(len(others))]
        return {**example, "text": self._disturbed(example["text"], rng),
                "partner": self._disturbed(partner, rng)}

    def _disturbed(self, text, rng):
        """-> `text` without a share LEFT_OUT of its words, so that no single one decides; and often
        with a strange word in front or behind, so that unknown words don't either
        """
        kept = [word for word in text.split() if rng.random() >= LEFT_OUT] or [text]
        return " ".join(self._strange_words(rng) + kept + self._strange_words(rng))

    def _strange_words(self, rng):
        """-> one word that nobody knows, or none"""
        return [new_word(self.words, rng)] if self.words and rng.random() < STRANGE else []


class Faq(SupervisedTask):
    """Examples {"text": …, "question": …, "answer": …}: how somebody asks, and the entry of the FAQ
    that answers it; question and answer are "" where none does.

    A prediction is {"known": bool, "answer": …, "top": [{"question": …, "score": …}, …]}.
    """

    name = "faq"
    head = "base"
    fields = {"text": str, "question": str, "answer": str}
    why_not_private = ("its loss compares the examples of a batch with each other, so no example "
                       "has a gradient of its own; wanted another task")
    generate = staticmethod(faq.generate)
    generated = faq.WHAT
    n_examples = 8000
    n_watched = 400
    defaults = {"vocab_size": 1500, "n_layer": 1, "n_head": 4, "n_embd": 128, "block_size": 40,
                "dropout": 0.0, "steps": 1000, "batch_size": 64, "lr": 3e-3, "warmup": 50,
                "eval_every": 200, "checkpoint_every": 500}

    def __init__(self, folder, settings, model_folder=None):
        super().__init__(folder, settings, model_folder)
        self.index = None

    @classmethod
    def read(cls, path):
        """-> examples of a FAQ: {"question", "answer"}, and optionally "paraphrases", a list, or
        "text", one way to ask (in a TSV the third column)

        A line without "text" stands for the question itself.
        """
        kinds = {"question": str, "answer": str, "text": str}
        if expand(path).suffix.lower() != ".tsv":
            kinds["paraphrases"] = list[str]
        examples = []
        for row in read_examples(path, kinds, ("text", "paraphrases")):
            entry = {name: row[name] for name in ("question", "answer")}
            ways = [row.get("text") or row["question"], *row.get("paraphrases", ())]
            examples += [{"text": way, **entry} for way in ways]
        return examples

    @classmethod
    def prepare(cls, folder, settings, report):
        """As for every task; and the files that make model/ a folder of sentence-transformers"""
        files = SentenceFiles(None)
        if settings.model:
            files = read_sentence_files(find_pretrained(settings.model))
            if files.dense:
                raise ValueError(f"{settings.model} has a Dense layer, which the task can't train")
        prepared = super().prepare(folder, settings, report)
        write_sentence_files(folder / "model", files._replace(max_length=settings.block_size,
                                                              normalize=True),
                             prepared.config.hidden_size)
        return prepared

    # ---- training

    def batches(self, settings):
        return FaqBatches(self.examples("train"), settings.batch_size, settings.seed)

    def encoder(self, model):
        """-> the SentenceEncoder around a base model"""
        files = read_sentence_files(self.model_folder)
        return SentenceEncoder(model, self.tokenizer, files.pooling, max_length=self.max_length,
                               lower_case=files.lower_case, prompt=files.prompt)

    def loss(self, model, batch):
        """The contrastive loss of the examples' texts and their partners; questions without an
        answer are negatives.
        """
        inside = {example["question"]: example for example in reversed(batch)
                  if example["question"]}  # one of each entry
        if not inside:  # nothing to tell apart
            return Loss(0.0, lambda dloss: None)
        partners = [example.get("partner", question) for question, example in inside.items()]
        outside = [example["text"] for example in batch if not example["question"]]
        encoder = self.encoder(model)
        return contrastive_loss(encoder, encoder.tokens([e["text"] for e in inside.values()]),
                                encoder.tokens(partners + outside), symmetric=True)

    def evaluate(self, model):
        self.index = self._index(model, ("train", "valid"))
        return super().evaluate(model)

    def _index(self, model, splits, threshold=THRESHOLD):
        return FaqIndex.of(self.encoder(model), self._entries(splits), threshold)

    def _entries(self, splits):
        """-> list of the different entries in the examples of these splits"""
        found = {}
        for split in splits:
            for example in self.examples(split):
                if example["question"]:
                    found.setdefault(example["question"], example["answer"])
        return [{"question": question, "answer": answer} for question, answer in found.items()]

    # ---- answering

    def calibrate(self, model):
        """Choose the threshold with the validation's entries, then save the index of all entries:
        those of the test are new to the model.
        """
        self.index = self._index(model, ("train", "valid"))
        threshold = _threshold(self.predict(model, self.examples("valid")), self.examples("valid"))
        self.index = self._index(model, SPLITS, threshold)
        self.index.save(self.model_folder)

    def predict_batch(self, model, examples):
        if self.index is None:
            self.index = self._saved_index(model)
        encoder = self.encoder(model)
        return self.index.predictions(encoder.encode([example["text"] for example in examples]))

    def _saved_index(self, model):
        if (self.model_folder / "faq.json").is_file():
            return FaqIndex.load(self.model_folder)
        if not self._entries(SPLITS):
            raise ValueError(f"{self.model_folder} has no faq.json, the index that "
                             "train-task writes")
        return self._index(model, SPLITS)

    def show(self, example, prediction):
        lines = [prediction["answer"] if prediction["known"] else "I don't know. The nearest are:"]
        lines += [f"  {entry['score']:.2f}  {entry['question']}"
                  for entry in prediction["top"][:SHOWN]]
        return "\n".join(lines)

    # ---- measuring

    def metrics(self, model):
        seen = {entry["question"] for entry in self._entries(["train"])}

        def of_inside(score, where=lambda example: True, kind=share_of):
            """The metric over the questions that have an answer and aren't the FAQ's own."""
            def of_example(prediction, example):
                if not example["question"] or example["text"] == example["question"]:
                    return None
                return score(prediction, example) if where(example) else None
            return kind(of_example)

        def recall(k):
            return lambda prediction, example: recall_at(k, _ranking(prediction),
                                                         example["question"])

        return {
            "MRR@10": of_inside(lambda prediction, example: reciprocal_rank(
                _ranking(prediction), example["question"]), kind=mean_of),
            "recall@1": of_inside(recall(1)),
            "recall@3": of_inside(recall(3)),
            "recall@1, no shared word": of_inside(recall(1), lambda e: not shared_words(e)),
            "recall@1, new entries": of_inside(recall(1), lambda e: e["question"] not in seen),
            "right answers and refusals": share_of(is_right),
            "refused, of those without an answer": share_of(
                lambda p, e: None if e["question"] else not p["known"]),
            "wrong answers": share_of(lambda p, e: p["known"] and not is_right(p, e),
                                      lower_is_better=True),
        }

    def baselines(self):
        return {
            "TF-IDF": lambda train: self._tf_idf({}),
            "TF-IDF of all training texts": lambda train: self._tf_idf(_texts_by_entry(train)),
        }

    def _tf_idf(self, more):
        """-> function(examples) -> predictions; a document is an entry's question, its answer, and
        the texts in `more`, {question: list}
        """
        def fit(splits):
            entries = self._entries(splits)
            documents = [" ".join([*entry.values(), *more.get(entry["question"], ())])
                         for entry in entries]
            return entries, TfIdf(documents)

        def answers(examples, splits, threshold):
            entries, tf_idf = fit(splits)
            predictions = []
            for scores in tf_idf.scores([example["text"] for example in examples]):
                best = np.argsort(-scores, kind="stable")[:TOP]
                predictions.append(prediction([entries[i] for i in best], scores[best], threshold))
            return predictions

        valid = self.examples("valid")
        threshold = THRESHOLD
        if valid:
            threshold = _threshold(answers(valid, ("train", "valid"), threshold), valid)
        return lambda examples: answers(examples, SPLITS, threshold)

    def pictures(self, model, examples, predictions):
        """The scores of the nearest entry, for three kinds of questions"""
        kinds = {"right": [], "wrong": [], "no answer exists": []}
        for example, found in zip(examples, predictions):
            right = _ranking(found)[:1] == [example["question"]]
            kind = ("right" if right else "wrong") if example["question"] else "no answer exists"
            kinds[kind].append(found["top"][0]["score"])
        figure, axes = new_figure(6, 3)
        bins = np.linspace(min([0, *sum(kinds.values(), [])]), 1, 41)
        for (kind, scores), color in zip(kinds.items(), COLORS):
            axes.hist(scores, bins, histtype="step", label=kind, color=color)
        axes.axvline(self.index.threshold, color="black", linewidth=0.8)
        axes.set_xlabel("cosine of the question and the nearest entry; line: the threshold")
        axes.set_ylabel("questions")
        axes.legend()
        return {"scores.png": figure}


def is_right(prediction, example):
    """-> whether the right answer is given, or none where there is none"""
    if not example["question"]:
        return not prediction["known"]
    return prediction["known"] and _ranking(prediction)[0] == example["question"]


def shared_words(example):
    """-> set of the words that the text shares with the question and the answer of its entry"""
    entry = words(f"{example['question']} {example['answer']}")
    return {word for word in words(example["text"]) if word[0].isalnum()} & set(entry) - STOP_WORDS


def _ranking(prediction):
    return [entry["question"] for entry in prediction["top"]]


def _threshold(predictions, examples):
    """-> the best threshold; THRESHOLD if the examples are only the FAQ's own questions, of which
    each finds itself
    """
    pairs = [(found, example) for found, example in zip(predictions, examples)
             if example["text"] != example["question"]]
    if not pairs:
        return THRESHOLD
    return best_threshold([found["top"][0]["score"] for found, _ in pairs],
                          [_ranking(found)[0] == example["question"] for found, example in pairs],
                          [not example["question"] for _, example in pairs])


def _texts_by_entry(examples):
    found = {}
    for example in examples:
        found.setdefault(example["question"], []).append(example["text"])
    return found
