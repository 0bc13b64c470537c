"""From a text to labelled spans: words, pieces, windows, tags.

    words            Mira          Holtby               left  .
    pieces    [CLS]  Mi     ##ra   Hol    ##tb   ##y    left  .   [SEP]
    tags             B-PER         I-PER                O     O

The first piece of a word has the word's tag; the others have none in training, and are not asked in
prediction (Devlin et al. 2018, section 5.3). A text with more pieces than the model reads at once
is cut into windows that overlap; a word's tag comes from the window that shows most around it. The
tags of a text are chosen together (viterbi.py).
"""

import functools
from typing import NamedTuple

import numpy as np

from minillm.models.auto import AutoConfig, model_class
from minillm.nn.module import inference
from minillm.ops.softmax import softmax
from minillm.tasks.base import labels_of
from minillm.tasks.span_f1 import bio_entities
from minillm.tasks.viterbi import best_path, bio_transitions
from minillm.text.auto import AutoTokenizer
from minillm.text.dataset import IGNORE
from minillm.text.normalizers import BertNormalizer
from minillm.text.pre_tokenizers import BertPreTokenizer
from minillm.text.traced_text import TracedText
from minillm.training.run import model_folder

_NORMALIZER = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False,
                             lowercase=False)
LEAST = 1e-12  # of a probability, so that its logarithm is finite
LONGEST = 512  # tokens of a window
OVERLAP = 0.25  # of two neighboring windows, as a share of their length


class Entity(NamedTuple):
    """A labelled span of a text. probability: of its least probable word's tag"""

    start: int
    end: int
    label: str
    probability: float


class Row(NamedTuple):
    """A window of a text, as the model reads it."""

    ids: list  # with the special tokens around them
    words: list  # the numbers of the text's words in it
    places: list  # of each word's first piece in `ids`
    end: int  # the place after the last word's last piece


def find_entities(model, text, tokenizer=None):
    """-> list of Entity (start, end, label, probability), in the order of the text

    model: a model with the head "token_classification", beside its tokenizer; or the path of a run
        folder or of a checkpoint, which is opened once
    """
    if tokenizer is None:
        model, tokenizer = _opened(str(model))
    return find_all_entities(model, tokenizer, [text])[0]


@functools.lru_cache(maxsize=4)
def _opened(path):
    """-> model, tokenizer"""
    folder = model_folder(path)
    model_type = AutoConfig.from_pretrained(folder).model_type
    return (model_class(model_type, "token_classification").from_pretrained(folder),
            AutoTokenizer.from_pretrained(folder))


def find_all_entities(model, tokenizer, texts, max_length=None):
    """-> for each text a list of Entity; max_length: of a window, default: the tokenizer's, which
    knows the length that the model was trained with"""
    limits = (max_length or tokenizer.model_max_length, model.config.position_limit, LONGEST)
    max_length = min(limit for limit in limits if limit is not None)
    tags = labels_of(model.config)
    all_words = [words_of(text) for text in texts]
    rows = [rows_of(text, words, tokenizer, max_length) for text, words in zip(texts, all_words)]
    flat = [row for group in rows for row in group]
    if not flat:
        return [[] for _ in texts]
    P = iter(word_probabilities(model, tokenizer, flat))
    return [entities(words, merged([(row, next(P)) for row in group], len(words), tags), tags)
            if words else [] for words, group in zip(all_words, rows)]


# ---- text to rows

def words_of(text):
    """-> list of (start, end) of the words of `text`, in characters

    Words are BERT's: what stands between white space, but each punctuation mark and each Chinese
    character by itself.
    """
    pieces = BertPreTokenizer().split(_NORMALIZER(TracedText.of(text)))
    return [piece.span(0, len(piece)) for piece in pieces]


def rows_of(text, words, tokenizer, max_length):
    """-> list of Row, the windows of a text of at most max_length tokens; [] without words"""
    if not words:
        return []
    # A space before the word stays with it: for byte-level tokenizers it is part of the piece.
    starts = [start - (text[start - 1 : start] == " ") for start, _ in words]
    encoding = tokenizer([text[start:end] for start, (_, end) in zip(starts, words)],
                         is_split_into_words=True, add_special_tokens=False)
    pieces = [[] for _ in words]
    for id, word in zip(encoding["input_ids"], encoding.word_ids()):
        pieces[word].append(id)
    room = max_length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise ValueError(f"max_length is {max_length}, wanted room for one token beside the "
                         f"{max_length - room} special ones")
    return [_row(pieces, window, tokenizer, room)
            for window in windows([len(ids) for ids in pieces], room, int(OVERLAP * room))]


def _row(pieces, window, tokenizer, room):
    """Join the words' pieces, and put the special tokens around them -> Row"""
    ids, words, places = [], [], []
    for word in window:
        if pieces[word] and len(ids) < room:  # a tokenizer may drop a word of odd characters
            words.append(word)
            places.append(len(ids))
            ids += pieces[word]
    ids = ids[:room]
    whole = tokenizer.build_inputs_with_special_tokens(ids)
    before = tokenizer.get_special_tokens_mask(ids).index(0) if ids else 0
    return Row(whole, words, [before + place for place in places], before + len(ids))


def windows(sizes, room, overlap):
    """-> list of ranges of words that together cover all of them, in order

    sizes: the number of pieces of each word
    room: the pieces of a window; a larger word has a window of its own
    overlap: neighbors share as many words as have together at most this many pieces
    """
    found, first = [], 0
    while True:
        end, used = first, 0
        while end < len(sizes) and (end == first or used + sizes[end] <= room):
            used += sizes[end]
            end += 1
        found.append(range(first, end))
        if end == len(sizes):
            return found
        # Go back by the overlap, as far as the next word still fits.
        least, first = first + 1, end
        shared, most = 0, min(overlap, room - sizes[end])
        while first > least and shared + sizes[first - 1] <= most:
            first -= 1
            shared += sizes[first]


# ---- rows to the model and back

def batch_of(rows, tokenizer, tag_ids=None):
    """-> {"input_ids", "attention_mask"} and, with tag_ids, {"labels"}: int64 (B, T)

    tag_ids: for each row the number of each of its words' tags; labels are -100 elsewhere
    """
    shape = len(rows), max(len(row.ids) for row in rows)
    ids = np.full(shape, tokenizer.pad_token_id or 0)
    mask, labels = np.zeros(shape, np.int64), np.full(shape, IGNORE)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = row.ids
        mask[number, : len(row.ids)] = 1
        if tag_ids is not None:
            labels[number, row.places] = tag_ids[number]
    batch = {"input_ids": ids, "attention_mask": mask}
    return batch if tag_ids is None else {**batch, "labels": labels}


def word_probabilities(model, tokenizer, rows, batch_size=32):
    """Yield for each row the probabilities of its words' tags, (words, tags); dropout is off"""
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        with inference(model):
            logits = model(**batch_of(batch, tokenizer)).logits
        yield from (softmax(scores[row.places])[0] for row, scores in zip(batch, logits))


def merged(rows, n_words, tags):
    """-> (n_words, tags): each word's probabilities from the window with most words around it

    rows: list of (Row, its probabilities). A word that no row has is outside for sure.
    """
    P, best = np.zeros((n_words, len(tags))), np.full(n_words, -1)
    P[:, tags.index("O") if "O" in tags else 0] = 1
    for row, probabilities in rows:
        for word, p in zip(row.words, probabilities):
            left = word - row.words[0] if row.words[0] > 0 else n_words
            right = row.words[-1] - word if row.words[-1] < n_words - 1 else n_words
            if min(left, right) > best[word]:
                P[word], best[word] = p, min(left, right)
    return P


def entities(words, P, tags):
    """-> list of Entity, from the most probable row of tags

    words: (start, end) of each, in characters, one at least;  P: (words, tags)
    """
    chosen = best_path(np.log(np.maximum(P, LEAST)), *bio_transitions(tags))
    return [Entity(words[first][0], words[end - 1][1], label,
                   float(P[range(first, end), chosen[first:end]].min()))
            for first, end, label in bio_entities([tags[number] for number in chosen])]
