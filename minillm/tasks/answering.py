"""Extractive question answering: mark the answer to a question in a paragraph, or say "no answer".

Devlin et al. 2018, sections 4.2 and 4.3, figure 4c.

    [CLS] what color is the lamp ? [SEP] the lamp is green . … [SEP]
       │                                             └── highest start and end score: "green"
       └── the start and end score of "no answer"

The model is any with the head "question_answering". Its loss is the mean of two cross-entropies
over the tokens, of the start's place and the end's; if there is no answer, both are [CLS], place 0.

A new model is also told which words of the paragraph stand in the question (shared_words.py).

A paragraph that doesn't fit is cut into windows that overlap, each read with the question. The best
span of all windows is the answer, unless "no answer" scores higher by a threshold that is chosen on
the validation examples. An answer is always a piece of the text: the tokens know where they begin
and end in it.
"""

import re
from collections import Counter

import numpy as np

from minillm.checks import shown
from minillm.figures import COLORS, new_figure
from minillm.files import expand
from minillm.json_files import fields as check_fields
from minillm.json_files import read_json, write_json
from minillm.ops.softmax import logsumexp
from minillm.tasks import squad
from minillm.tasks.base import SupervisedTask
from minillm.tasks.data import answers as generated_answers
from minillm.tasks.examples import read_examples
from minillm.tasks.metrics import mean_of, share_of
from minillm.tasks.shared_words import (
    N_TYPES,
    n_token_types,
    with_shared_words,
    with_more_types,
)
from minillm.tasks.spans import best_spans, span_scores

WINDOWS = 16  # in one forward of predictions: a long paragraph has several
MAX_ANSWER = 30  # tokens, as in Devlin et al.'s program
N_BEST = 5
KEPT = 20_000  # examples whose tokens are kept in memory
CALIBRATION = "answering.json"  # beside the model: the threshold
SQUAD_BYTES = 2**30  # of a file in SQuAD's format


class Answering(SupervisedTask):
    """Examples {"question", "context", "answers": [{"text", "start"}]}, no answers for "none".

    A prediction: {"answer": the text, or "" for none; "start": its place in the context;
    "probability": of this answer among all spans and "none";
    "no_answer": score of "none" minus that of the best span, which the threshold is compared with;
    "best": [{"text", "start", "probability"}, …], the best spans, whether they are given or not}
    """

    name = "answers"
    head = "question_answering"
    fields = {"question": str, "context": str, "answers": list[dict] | dict}
    question = ("question", "context")
    generated = generated_answers.WHAT
    n_examples = 12000
    n_watched = 300
    hidden = 0.15
    kept_by = "exact_match"
    defaults = {"vocab_size": 900, "n_layer": 3, "n_head": 4, "n_embd": 64, "block_size": 160,
                "steps": 2500, "batch_size": 32, "lr": 2e-3, "warmup": 100, "eval_every": 500,
                "checkpoint_every": 500, "dropout": 0.05,
                # A token finds its equal in the other text sooner if no position is added to it.
                "position_embedding": "rotary"}

    def __init__(self, folder, settings, model_folder=None):
        super().__init__(folder, settings, model_folder)
        path = self.model_folder / CALIBRATION
        self._kept = {}  # the rows of the examples so far
        self.threshold = 0.0  # Devlin et al.: "no answer" if its score is higher
        if path.is_file():
            found = check_fields(path, read_json(path), {"threshold": float}, ["threshold"])
            self.threshold = float(found["threshold"])

    # ---- the data

    generate = staticmethod(generated_answers.generate)

    @classmethod
    def read(cls, path):
        if expand(path).suffix.lower() == ".json":
            examples = list(_read_squad(expand(path)))
        else:
            examples = read_examples(path, cls.fields)
        return [_checked(f"{path}: example {number}", example)
                for number, example in enumerate(examples, 1)]

    @classmethod
    def texts(cls, examples):
        return (example[name] for example in examples for name in cls.question)

    @classmethod
    def prepare(cls, folder, settings, report):
        return with_more_types(super().prepare(folder, settings, report), settings)

    # ---- question and paragraph to windows

    def windows(self, examples, n_types):
        """-> ({argument of the model: int64 (windows, T)}, offsets (windows, T, 2), samples)

        n_types: the model's token types: with three, the last marks words of the question
        offsets: the characters of each of the paragraph's tokens, (0, 0) for all other tokens
        samples: int64 (windows,): the index of each window's example
        """
        rows = [self._windows_of(example["question"], example["context"], n_types)
                for example in examples]
        samples = np.repeat(np.arange(len(rows)), list(map(len, rows)))
        arrays = dict(self.tokenizer.pad([row for found in rows for row in found],
                                         padding_side="right", return_tensors="np"))
        return arrays, arrays.pop("offset_mapping"), samples

    def _windows_of(self, question, context, n_types):
        """-> list of {"input_ids", "token_type_ids", "attention_mask", "offset_mapping"}, the rows
        of one example; kept for the next epoch
        """
        key = question, context, n_types
        if key in self._kept:
            return self._kept[key]
        found = self.tokenizer(
            [self._shortened(question)], [context], truncation="only_second",
            max_length=self.max_length, stride=self.max_length // 4,
            return_overflowing_tokens=True, return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        rows = []
        for ids, types, mask, offsets in zip(found["input_ids"], found["token_type_ids"],
                                             found["attention_mask"], found["offset_mapping"]):
            types, offsets = np.array(types), np.array(offsets)
            offsets *= (types == 1)[:, None]
            if n_types >= N_TYPES:
                types = with_shared_words(types, offsets, question, context)
            rows.append({"input_ids": ids, "token_type_ids": types.tolist(),
                         "attention_mask": mask, "offset_mapping": offsets.tolist()})
        if len(self._kept) < KEPT:
            self._kept[key] = rows
        return rows

    def _shortened(self, question):
        """-> the question, cut so that at least half of a window is for the paragraph"""
        longest = self.max_length // 2
        places = self.tokenizer(question, add_special_tokens=False,
                                return_offsets_mapping=True)["offset_mapping"]
        return question if len(places) <= longest else question[: places[longest - 1][1]]

    def encode(self, examples, config):
        arrays, offsets, samples = self.windows(examples, n_token_types(config))
        places = np.zeros((2, len(samples)), np.int64)  # 0: [CLS], no answer in this window
        for window, sample in enumerate(samples):
            for answer in examples[sample]["answers"][:1]:
                places[:, window] = _tokens_of(offsets[window], answer)
        return {**arrays, "start_positions": places[0], "end_positions": places[1]}

    # ---- the answer

    def predict_batch(self, model, examples):
        arrays, offsets, samples = self.windows(examples, n_token_types(model.config))
        found = [[] for _ in examples]  # for each example: (start scores, end scores, offsets)
        for first in range(0, len(samples), WINDOWS):
            part = slice(first, first + WINDOWS)
            output = model(**{name: array[part] for name, array in arrays.items()})
            for sample, *window in zip(samples[part], output.start_logits, output.end_logits,
                                       offsets[part]):
                found[sample].append(window)
        return [self._answer(example["context"], windows)
                for example, windows in zip(examples, found)]

    def _answer(self, context, windows):
        """windows: list of (start (T,), end (T,), offsets (T, 2)) of one paragraph -> prediction"""
        tables = [span_scores(start.astype(np.float64), end.astype(np.float64),
                              offsets[:, 1] > offsets[:, 0], MAX_ANSWER)
                  for start, end, offsets in windows]
        spans = {}  # (first character, character after the last) -> score
        for table, (_, _, offsets) in zip(tables, windows):
            for score, i, j in best_spans(table, N_BEST):
                place = int(offsets[i, 0]), int(offsets[j, 1])
                spans[place] = max(score, spans.get(place, -np.inf))
        # A window that lacks the answer is sure of "none", so the least sure window counts.
        none = min(float(start[0] + end[0]) for start, end, _ in windows)
        best = sorted(spans.items(), key=lambda item: -item[1])[:N_BEST]
        total = float(logsumexp(np.concatenate([[none], *map(np.ravel, tables)])).item())
        listed = [{"text": context[a:b], "start": a, "probability": _rounded(np.exp(score - total))}
                  for (a, b), score in best]
        difference = none - best[0][1] if best else None
        given = best and difference <= self.threshold
        return {"answer": listed[0]["text"] if given else "",
                "start": listed[0]["start"] if given else None,
                "probability": (listed[0]["probability"] if given
                                else _rounded(np.exp(none - total))),
                "no_answer": None if difference is None else _rounded(difference),
                "best": listed}

    def calibrate(self, model):
        """Choose the threshold that gives the highest F1 on the validation examples."""
        examples = self.examples("valid")
        predictions = self.predict(model, examples)
        scored = [(prediction["no_answer"], squad.f1(prediction["best"][0]["text"], golds(example)),
                   bool(golds(example)))
                  for prediction, example in zip(predictions, examples) if prediction["best"]]
        if scored:
            _, threshold = squad.best_threshold(*zip(*scored))
            lowest = min(no_answer for no_answer, _, _ in scored)
            self.threshold = max(threshold, lowest - 1.0)  # JSON has no -inf
        write_json(self.model_folder / CALIBRATION, {"threshold": self.threshold})

    # ---- measuring

    def metrics(self, model):
        def exact(prediction, example):
            return squad.exact_match(prediction["answer"], golds(example))

        def only(has_answer):
            return share_of(lambda prediction, example: exact(prediction, example)
                            if bool(golds(example)) == has_answer else None)

        return {
            "exact match": share_of(exact),
            "F1": mean_of(lambda prediction, example: squad.f1(prediction["answer"],
                                                               golds(example))),
            "exact match, answerable": only(True),
            "exact match, unanswerable": only(False),
        }

    def baselines(self):
        return {"never an answer": _never, "word overlap": _WordOverlap}

    def pictures(self, model, examples, predictions):
        return {"threshold.png": _threshold_figure(predictions, examples, self.threshold)}

    def show(self, example, prediction):
        if prediction["answer"]:
            return f"{prediction['answer']}  {prediction['probability']:.1%}"
        best = prediction["best"]
        other = f"; the best guess is {best[0]['text']!r}" if best else ""
        return f"(no answer in this text{other})"


def golds(example):
    """-> list of the texts of the right answers"""
    return [answer["text"] for answer in example["answers"]]


def _rounded(number):
    return round(float(number), 4)


def _tokens_of(offsets, answer):
    """-> (first, last) of the tokens of an answer; (0, 0) if the window doesn't hold all of it

    offsets: (T, 2), (0, 0) outside the paragraph
    """
    start, end = answer["start"], answer["start"] + len(answer["text"])
    tokens = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start))
    paragraph = offsets[offsets[:, 1] > offsets[:, 0]]
    if len(tokens) == 0 or start < paragraph[0, 0] or end > paragraph[-1, 1]:
        return 0, 0
    return tokens[0], tokens[-1]


# ---- the user's files


def _read_squad(path):
    """Yield the examples in a file of SQuAD 1.1 or 2.0; ValueError for anything else."""
    content = check_fields(path, read_json(path, max_bytes=SQUAD_BYTES), {"data": list[dict]},
                           ["data"])
    for a, article in enumerate(content["data"]):
        where = f"data[{a}]"
        paragraphs = check_fields(path, article, {"paragraphs": list[dict]}, ["paragraphs"], where)
        for p, paragraph in enumerate(paragraphs["paragraphs"]):
            place = f"{where}.paragraphs[{p}]"
            found = check_fields(path, paragraph, {"context": str, "qas": list[dict]},
                                 ["context", "qas"], place)
            for q, pair in enumerate(found["qas"]):
                pair = check_fields(path, pair, {"question": str, "answers": list[dict],
                                                 "is_impossible": bool},
                                    ["question"], f"{place}.qas[{q}]")
                answers = [] if pair.get("is_impossible") else pair.get("answers", [])
                yield {"question": pair["question"], "context": found["context"],
                       "answers": answers}


def _checked(where, example):
    """-> the example with answers in our form; ValueError for one that can't be answered"""
    for name in Answering.question:
        if not example[name].strip():
            raise ValueError(f"{where}: {name} is empty")
    answers = example["answers"]
    if isinstance(answers, dict):  # as in the files of Hugging Face's datasets
        columns = check_fields(where, answers, {"text": list[str], "answer_start": list[int]},
                               ["text", "answer_start"], "answers")
        answers = [dict(zip(("text", "start"), pair)) for pair in zip(*columns.values())]
    found = []
    for answer in answers:
        answer = {"start" if name == "answer_start" else name: value
                  for name, value in answer.items()}
        answer = check_fields(where, answer, {"text": str, "start": int}, ["text", "start"],
                              "answers")
        text, start = answer["text"], answer["start"]
        if not text.strip() or start < 0 or not example["context"].startswith(text, start):
            raise ValueError(f"{where}: the answer {shown(text)} isn't at character {start} of the "
                             "context")
        found.append(answer)
    return {"question": example["question"], "context": example["context"], "answers": found}


# ---- baselines


def _never(train):
    """"No answer", whatever the question."""
    return lambda examples: [{"answer": ""}] * len(examples)


_SENTENCE = re.compile(r"[^.!?]+(?:\.(?=\S)[^.!?]*)*[.!?]*")
_WORD = re.compile(r"\w+(?:,\d+)*")
_STOP = frozenset("a an the of in on by for to is are was were does did do it at".split())


class _WordOverlap:
    """The sentence that shares most words with the question, and in it the first words of the kind
    that answers to such a question have: a number, names, or words in lower case.

    The kind is learned from the training examples, for each beginning of two words ("how many"),
    and so is the least share of the question's words that makes an answer.
    """

    def __init__(self, train):
        kinds = {}
        for example in train:
            for answer in example["answers"][:1]:
                kinds.setdefault(_beginning(example["question"]), Counter())[
                    _kind(answer["text"])] += 1
        self.kinds = {begin: counts.most_common(1)[0][0] for begin, counts in kinds.items()}
        guesses = [(self._guess(example), golds(example)) for example in train[:2000]]
        _, self.threshold = squad.best_threshold(
            [-overlap for (_, overlap), _ in guesses],
            [squad.f1(text, wanted) for (text, _), wanted in guesses],
            [bool(wanted) for _, wanted in guesses])

    def __call__(self, examples):
        guesses = map(self._guess, examples)
        return [{"answer": text if -overlap <= self.threshold else ""} for text, overlap in guesses]

    def _guess(self, example):
        """-> (answer, the share of the question's words that its sentence has)"""
        asked = set(_words(example["question"]))
        sentences = _SENTENCE.findall(example["context"]) or [example["context"]]
        shares = [len(asked & set(_words(sentence))) / max(len(asked), 1) for sentence in sentences]
        best = int(np.argmax(shares))
        kind = self.kinds.get(_beginning(example["question"]), "name")
        run = []  # neighboring words of this kind
        for match in _WORD.finditer(sentences[best]):
            word = match[0]
            fits = _kind(word) == kind and word.lower() not in asked | _STOP
            if fits:
                run.append(match)
            elif run:
                break
        if not run:
            return "", 0.0
        last = run[-1] if kind == "name" else run[0]
        return sentences[best][run[0].start() : last.end()], shares[best]


def _words(text):
    return [word.lower() for word in _WORD.findall(text) if word.lower() not in _STOP]


def _beginning(question):
    return tuple(question.lower().split()[:2])


def _kind(text):
    return "number" if text[0].isdigit() else "name" if text[0].isupper() else "word"


# ---- pictures


def _threshold_figure(predictions, examples, threshold):
    """Precision and recall of the answers, for each threshold"""
    figure, axes = new_figure(5, 3.4)
    precision, recall, thresholds = precision_recall(predictions, examples)
    axes.plot(recall, precision, color=COLORS[1])
    answered = np.searchsorted(thresholds, threshold, side="right")
    if answered:
        axes.plot(recall[answered - 1], precision[answered - 1], "o", color=COLORS[2],
                  label=f"the threshold chosen, {threshold:.2f}")
        axes.legend()
    axes.set_xlabel("share of the answerable questions answered exactly")
    axes.set_ylabel("share of the given answers that are exact")
    axes.set_ylim(0, 1.02)
    return figure


def precision_recall(predictions, examples):
    """-> precision (n,), recall (n,), thresholds (n,): answers given in the order of no_answer

    At index k the k + 1 questions that most surely have an answer are answered.
    precision: exact answers / answers given;  recall: exact answers / questions with an answer
    """
    scored = sorted((prediction["no_answer"],
                     squad.exact_match(prediction["best"][0]["text"], golds(example))
                     if golds(example) else 0)
                    for prediction, example in zip(predictions, examples) if prediction["best"])
    right = np.cumsum([exact for _, exact in scored])
    n_answerable = sum(bool(golds(example)) for example in examples)
    return (right / np.arange(1, len(right) + 1), right / max(n_answerable, 1),
            np.array([no_answer for no_answer, _ in scored]))
