"""Texts to learn from and to compare with, as a model reads them.

Probes, the tuned lens and autoencoders learn from the vectors of many tokens; ablation replaces a
part's value by what it is in other texts. They take what the model itself learned from, if it is in
a run folder; a file or a folder of the user's; or the topics of Python's help().
"""

from typing import NamedTuple

import numpy as np

from minillm.insight.anatomy import Anatomy
from minillm.insight.inputs import read_ids
from minillm.tasks.bio_files import read_tagged
from minillm.tasks.tagger import LONGEST, rows_of
from minillm.text.corpus import read_corpus
from minillm.training.run import Run
from minillm.training.task import PRETRAINING

ROWS = 16  # texts in a batch
LONGEST_TEXT = 64  # characters that are read of a document, for each token of a text


class Texts(NamedTuple):
    """batches: list of dicts, the arguments of the model's forward for some texts of one length
    ids: list of integers (B, T), for each batch the ids whose vectors the chosen stack holds
    """

    batches: list
    ids: list

    @property
    def n_tokens(self):
        return sum(each.size for each in self.ids)

    @property
    def words(self):
        """-> int64 (N,): all ids, in the order of the rows of `residual_streams`"""
        return np.concatenate([each.ravel() for each in self.ids])

    def context(self, row, before=8, after=0):
        """-> (ids before the token, its id, ids behind it), for a row of `residual_streams`"""
        for ids in self.ids:
            if row < ids.size:
                b, t = divmod(row, ids.shape[1])
                return (ids[b, max(0, t - before) : t], int(ids[b, t]),
                        ids[b, t + 1 : t + 1 + after])
            row -= ids.size
        raise IndexError(f"row is {row}, wanted at most {self.n_tokens - 1}")


def texts_for(subject, n_tokens=4096, length=64, path=None, of="decoder", seed=0):
    """-> Texts, with about n_tokens tokens

    length: of the texts in tokens, without those that the tokenizer adds; less if the model reads
        less. Shorter documents are shorter texts.
    path: a text file or a folder; None: the subject's own data if it is a run, else the topics of
        Python's help()
    of: "encoder": the ids are those that an encoder-decoder's encoder reads, and its decoder reads
        no more than its start token. "decoder": the decoder reads what the model itself writes.
    seed: which texts

    Raises FileNotFoundError and ValueError, in one line, for a path without text.
    """
    limit = subject.model.config.position_limit
    added = subject.tokenizer.num_special_tokens_to_add()
    if limit is not None:
        length = max(1, min(length, limit - added))
    windows = _windows(subject, path, length, np.random.default_rng(seed))
    by_length, n = {}, 0
    for window in windows:
        row = subject.tokenizer.build_inputs_with_special_tokens([int(id) for id in window])
        by_length.setdefault(len(row), []).append(row)
        n += len(row)
        if n >= n_tokens:
            break
    rows = [np.array(group[start : start + ROWS]) for group in by_length.values()
            for start in range(0, len(group), ROWS)]
    batches = [inputs for ids in rows for inputs in _inputs(subject, ids, of)]
    ids = [inputs["input_ids"] if of == "encoder" else read_ids(inputs) for inputs in batches]
    return Texts(batches, ids)


def _windows(subject, path, length, rng):
    """Yield arrays of ids, `length` long if the document has as many, without special tokens"""
    run = None if path is not None or subject.folder is None else _run_of(subject.folder)
    if run is not None and run.task_class.name in PRETRAINING:
        dataset = run.dataset("train")
        length = min(length, len(dataset))
        for start in rng.integers(len(dataset) - length + 1, size=len(dataset)):
            yield dataset.read(int(start), int(start) + length)
        return
    if run is not None:
        task = run.task()
        documents = list(task.texts(task.examples("train")))
    else:
        documents = [document.text for document in read_corpus(path)]
    for i in rng.permutation(len(documents)):
        text = documents[i][: LONGEST_TEXT * length]  # more of one text would be more of the same
        ids = subject.tokenizer.encode(text, add_special_tokens=False)
        if len(ids) < length:
            if len(ids) > 1:
                yield ids
            continue
        for start in range(0, len(ids) - length + 1, length):
            yield ids[start : start + length]


def _run_of(folder):
    """-> the Run whose model is in `folder`, or None"""
    return Run(folder.parent) if (folder.parent / "run.json").is_file() else None


def _inputs(subject, ids, of):
    """ids: (B, T) -> list of dicts of the forward's arguments"""
    if not subject.is_encoder_decoder:
        return [{"input_ids": ids}]
    if of == "encoder":
        return [{"input_ids": ids, "decoder_input_ids": np.full((len(ids), 1), subject.start_id)}]
    return [{"input_ids": row[None], "decoder_input_ids": subject.answer(row)[None]} for row in ids]


# ---- labels of tokens


def tagged_texts(subject, path):
    """Read a file of tagged words, as tasks/bio_files.py describes it, but with tags of any kind

    -> Texts, one in each batch; labels: int64 (N,), -100 where there is none; names: list of tags

    A word's tag is the label of its first token; in a decoder, which has seen the whole word only
    then, of its last one. Raises ValueError, in one line, for a file that isn't one.
    """
    if subject.is_encoder_decoder:
        of, causal = "encoder", False
    else:
        of, causal = "decoder", Anatomy(subject.model).blocks[-1].module.attention.causal
    limits = (subject.tokenizer.model_max_length, subject.model.config.position_limit, LONGEST)
    max_length = min(limit for limit in limits if limit is not None)
    read = read_tagged(path)
    names = sorted({tag for _, tags in read for tag in tags})
    number = {tag: n for n, tag in enumerate(names)}
    batches, ids, labels = [], [], []
    for words, tags in read:
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1].tolist()
        spans = [(start, start + len(word)) for start, word in zip(starts, words)]
        for row in rows_of(" ".join(words), spans, subject.tokenizer, max_length):
            own = np.full(len(row.ids), -100)
            places = [next_ - 1 for next_ in (*row.places[1:], row.end)] if causal else row.places
            own[places] = [number[tags[word]] for word in row.words]
            batches += _inputs(subject, np.array([row.ids]), of)
            ids.append(np.array([row.ids]))
            labels.append(own)
    return Texts(batches, ids), np.concatenate(labels), names
