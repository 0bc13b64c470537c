"""Translation, the task of the encoder-decoder                              (Vaswani et al. 2017)

    <zh> three hundred and five thousand and twelve  ->  三十万五千零一十二

The generated examples are numbers and dates (data/numbers_and_dates.py), whose translations are
right or wrong. The user's own parallel texts, in any languages, are lines  source <tab> target .

A model that is new reads and writes all digits backwards, 210503 for 305012. So the position of a
digit is its place, ones first, however long the number is, and no zeros have to be counted (Lee et
al. 2023, section 3, for sums). Texts are turned around here, on their way in and out.

A prediction also says where the decoder looked: for each token that it wrote, how much weight its
cross-attention gave to each token of the source. Nobody taught it these alignments (Bahdanau et al.
2015, section 5.2.1); the best layer to read them is often not the last (Garg et al. 2019).
"""

import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import regex

from minillm.figures import heat_map, new_figure
from minillm.hub import find_pretrained
from minillm.json_files import fields, read_json, write_json
from minillm.tasks.bleu import bleu_metric
from minillm.tasks.chrf import chrf_metric
from minillm.tasks.data import numbers_and_dates
from minillm.tasks.metrics import share_of
from minillm.tasks.seq2seq import Seq2SeqTask, answer, encode_pairs, train_tokenizer

OPTIONS = "translation.json"  # beside a model: how it reads digits
LEARNED_FROM = 20_000  # training examples that a tokenizer and the baseline learn from, about
GRAM = 3  # characters in an n-gram of the baseline
SHADES = " ░▒▓█"  # weights below 0.1, 0.3, 0.5, 0.7 and above
PICTURED = 6  # test examples in alignment.svg


class Translation(Seq2SeqTask):
    """Examples {"source": …, "target": …}; a prediction is {"translation": …, "alignment": …}."""

    name = "translation"
    in_order = True
    generate = staticmethod(numbers_and_dates.generate)
    generated = numbers_and_dates.WHAT
    n_examples = 220_000
    defaults = {"vocab_size": 1000, "n_layer": 2, "n_head": 4, "n_embd": 128, "block_size": 64,
                "dropout": 0.0, "steps": 4000, "batch_size": 96, "lr": 2e-3, "warmup": 200,
                "final_lr": 0.02, "eval_every": 500, "checkpoint_every": 500}

    def __init__(self, folder, settings, model_folder=None):
        super().__init__(folder, settings, model_folder)
        self.turned = _turns_digits(self.model_folder)

    @classmethod
    def prepare(cls, folder, settings, report):
        prepared = super().prepare(folder, settings, report)
        turned = settings.model is None or _turns_digits(find_pretrained(settings.model))
        write_json(folder / "model" / OPTIONS, {"turned_digits": turned})
        config = prepared.config
        if settings.model is None and "normalize_before" in config.field_names():
            # Post-norm, as in the paper, needs smaller steps (Xiong et al. 2020).
            prepared = prepared._replace(config=config.replace(normalize_before=True))
        return prepared

    def source(self, example):
        return turn_digits(example["source"]) if self.turned else example["source"]

    def target(self, example):
        return turn_digits(example["target"]) if self.turned else example["target"]

    @classmethod
    def new_tokenizer(cls, examples, vocab_size, report):
        few = _some(examples)
        return train_tokenizer([turn_digits(example["source"]) for example in few],
                               [turn_digits(example["target"]) for example in few],
                               vocab_size, report)

    def predict_batch(self, model, examples):
        sources = [self.source(example) for example in examples]
        found = answer(model, self.tokenizer, sources, num_beams=self.num_beams,
                       max_length=self.max_length)
        aligned = alignments(model, self.tokenizer, sources, found, self.max_length)
        if self.turned:
            found = [turn_digits(text) for text in found]
            for alignment in aligned:
                for side in ("source", "target"):
                    alignment[side] = [turn_digits(token) for token in alignment[side]]
        return [{"translation": text, "alignment": alignment}
                for text, alignment in zip(found, aligned)]

    def metrics(self, model):
        own = {
            "exact match": share_of(lambda text, example: text == example["target"]),
            "BLEU": bleu_metric(tokenize="zh"),
            "chrF": chrf_metric(),
        }
        return {name: metric._replace(of_example=_of_text(metric.of_example))
                for name, metric in own.items()}

    def baselines(self):
        return {"copy": _copy, "nearest": _nearest}

    def pictures(self, model, examples, predictions):
        figure, grid = new_figure(9, 9, rows=PICTURED // 2, columns=2)
        # The longest translations, for there the order of the words differs most.
        order = sorted(range(len(examples)),
                       key=lambda i: -len(predictions[i]["alignment"]["target"]))
        for axes, i in zip(grid.ravel(), order):
            draw_alignment(axes, predictions[i]["alignment"])
        for axes in grid.ravel()[len(order):]:
            axes.set_axis_off()
        return {"alignment.svg": figure}

    def show(self, example, prediction):
        return f"{prediction['translation']}\n{alignment_text(prediction['alignment'])}"


def _some(examples):
    """-> about LEARNED_FROM of the examples, spread evenly"""
    return examples[:: max(1, len(examples) // LEARNED_FROM)]


def turn_digits(text):
    """-> the text with each run of digits backwards; twice is the text itself

    >>> turn_digits("2026-03-15, or 305012")
    '6202-30-51, or 210503'
    """
    return regex.sub("[0-9]+", lambda found: found[0][::-1], text)


def _turns_digits(folder):
    """-> whether the model in the folder was trained on turned digits"""
    path = Path(folder) / OPTIONS
    if not path.is_file():
        return False
    options = fields(path, read_json(path), {"turned_digits": bool}, ["turned_digits"])
    return options["turned_digits"]


def _of_text(of_example):
    return lambda prediction, example: of_example(prediction["translation"], example)


# ---- baselines


def _copy(train):
    """The source itself, without a tag: numbers and names often stay as they are."""
    return lambda examples: [{"translation": _without_tag(example["source"])}
                             for example in examples]


def _without_tag(text):
    tag, _, rest = text.partition(" ")
    return rest if tag.startswith("<") and tag.endswith(">") else text


def _nearest(train):
    """The translation of the training source with the most similar n-grams of characters, of many:

        cosine of tf-idf vectors,  tf-idf = occurrences · log(texts / texts with the n-gram)
    """
    train = _some(train)
    grams = [_grams(example["source"]) for example in train]
    frequency = Counter(gram for counts in grams for gram in counts)
    idf = {gram: np.log(len(train) / count) for gram, count in frequency.items()}
    places, weights = defaultdict(list), defaultdict(list)
    for row, counts in enumerate(grams):
        norm = np.linalg.norm([count * idf[gram] for gram, count in counts.items()]) or 1.0
        for gram, count in counts.items():
            places[gram].append(row)
            weights[gram].append(count * idf[gram] / norm)
    index = {gram: (np.array(places[gram]), np.array(weights[gram], np.float32)) for gram in places}

    def translation(text):
        scores = np.zeros(len(train), np.float32)
        for gram, count in _grams(text).items():
            if gram in index:
                rows, weight = index[gram]
                scores[rows] += count * idf[gram] * weight
        return {"translation": train[int(scores.argmax())]["target"]}

    return lambda examples: [translation(example["source"]) for example in examples]


def _grams(text):
    text = f" {text} "
    return Counter(text[i : i + GRAM] for i in range(len(text) - GRAM + 1))


# ---- alignments


def alignments(model, tokenizer, sources, targets, max_length=None):
    """-> for each pair of texts {"source": S tokens, "target": T tokens, "weights": T lists of S}

    Row t are the weights of the decoder's cross-attention, in its middle layer, as means over the
    heads, when the model has read the tokens before t and is about to write token t. The forward is
    that of training, with the answers as labels.
    """
    inputs = encode_pairs(tokenizer, sources, targets, max_length)
    layers = model(**inputs, output_attentions=True).cross_attentions
    weights = layers[len(layers) // 2].mean(axis=1).astype(np.float64)  # (B, T, S)
    found = []
    for ids, mask, labels, W in zip(inputs["input_ids"], inputs["attention_mask"],
                                    inputs["labels"], weights):
        source, target = ids[mask > 0], labels[labels >= 0]
        found.append({
            "source": token_texts(tokenizer, source), "target": token_texts(tokenizer, target),
            "weights": W[: len(target), : len(source)].round(2).tolist(),
        })
    return found


def token_texts(tokenizer, ids):
    """-> list of str: what each token spells, with "·" for spaces"""
    return [tokenizer.decode([int(id)]).replace(" ", "·") for id in ids]


def alignment_text(alignment):
    """-> a picture for the terminal: a line for each token of the translation, with a darker block
    below a token of the source the more weight it has. Turned digits stand ones first, as the model
    reads and writes them."""
    source, target = alignment["source"], alignment["target"]
    margin = max(map(_columns, target), default=0)
    lines = [" " * margin + "  " + " ".join(source)]
    for token, row in zip(target, alignment["weights"]):
        cells = [SHADES[min(int(weight * 5 + 0.5), 4)] * _columns(other)
                 for weight, other in zip(row, source)]
        line = token + " " * (margin - _columns(token)) + "  " + " ".join(cells)
        lines.append(line.rstrip())
    return "\n".join(lines)


def _columns(text):
    """-> the width of a text in a terminal, where a Chinese character is twice as wide"""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else
               not unicodedata.combining(character) for character in text)


def draw_alignment(axes, alignment):
    """Draw an alignment as a heat map: rows are the translation's tokens, columns the source's."""
    heat_map(axes, alignment["weights"], rows=alignment["target"], columns=alignment["source"],
             limits=(0, 1))
    axes.tick_params(axis="x", labelrotation=90)
