"""The two tasks that BERT is pre-trained on                (Devlin et al. 2018, section 3.1, A.1)

    [CLS] the cat [MASK] on the mat [SEP] it was soft [SEP]   ->   "sat";  B follows A

Masked language modeling: 15 % of the tokens are chosen, and the model predicts them. Of these, 80 %
are replaced by [MASK] and 10 % by a random token; 10 % stay, because [MASK] never occurs in the
texts that the model reads later. Next-sentence prediction: in half of the pairs B is what follows A
in its document, in the others a piece of another document.
"""

from typing import NamedTuple

import numpy as np

from minillm.nn.module import inference
from minillm.text.bert_tokenizer import BertTokenizer
from minillm.text.dataset import IGNORE, READ_AT_ONCE, RandomBatches
from minillm.training.language_modeling import LanguageModeling
from minillm.training.parallel.one_process import share_out

VALIDATION_BATCHES, VALIDATION_PAIRS = 16, 16  # 256 pairs


def mask_tokens(ids, maskable, mask_id, vocab_size, rng, *, share=0.15):
    """-> inputs, labels: int64 of the shape of `ids`; labels are -100 where nothing is predicted

    ids: integers (B, T);  maskable: bool (B, T), False at special tokens and padding
    """
    chosen = maskable & (rng.random(ids.shape) < share)
    labels = np.where(chosen, ids, IGNORE)
    fate = rng.random(ids.shape)
    random_ids = rng.integers(vocab_size, size=ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = np.where(chosen & (fate >= 0.9), random_ids, inputs)
    return inputs, labels


class PretrainingBatches(RandomBatches):
    """Endless batches of pairs, {argument of BertForPreTraining: int64 array}.

    dataset: a TokenDataset of documents, `tokenizer.sep_token` after each
    rng: numpy Generator, or a seed for one: the whole state, as in RandomBatches
    """

    def __init__(self, dataset, tokenizer, batch_size, block_size, rng):
        if block_size < 5:
            raise ValueError(f"block_size is {block_size}, wanted at least 5: [CLS] A [SEP] B "
                             "[SEP]")
        super().__init__(dataset, batch_size, block_size, rng)
        self.tokenizer = tokenizer
        self.ends = _places(dataset, tokenizer.sep_token_id)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])
        # A document of one token can't be cut in two.
        if not (self.ends - self.starts >= 2).any():
            raise ValueError(f"{dataset.path}: no document has two tokens")

    def skip(self):
        next(self)  # what is drawn depends on what is read

    def __next__(self):
        B, T = self.batch_size, self.block_size
        tokenizer, ids = self.tokenizer, np.full((B, T), self.tokenizer.pad_token_id)
        types, mask, maskable = np.zeros((3, B, T), np.int64)
        follows = np.zeros(B, np.int64)
        for row in range(B):
            first, second, follows[row] = self._pair(T - 3)
            n, end = len(first) + 2, len(first) + len(second) + 3
            ids[row, :end] = [tokenizer.cls_token_id, *first, tokenizer.sep_token_id,
                              *second, tokenizer.sep_token_id]
            types[row, n:end] = 1
            mask[row, :end] = 1
            maskable[row, 1 : n - 1] = maskable[row, n : end - 1] = 1
        inputs, labels = mask_tokens(ids, maskable == 1, tokenizer.mask_token_id, len(tokenizer),
                                     self.rng)
        return {"input_ids": inputs, "attention_mask": mask, "token_type_ids": types,
                "labels": labels, "next_sentence_label": follows}

    def _pair(self, room):
        """-> ids of A, ids of B, 0 if B follows A or 1: together at most `room` tokens"""
        piece, document = self._piece(room, least=2)
        cut = self.rng.integers(1, len(piece))
        if self.rng.random() < 0.5:
            return piece[:cut], piece[cut:], 0
        other, found = self._piece(len(piece) - cut)
        for _ in range(10):  # another document, if there is one
            if found != document:
                break
            other, found = self._piece(len(piece) - cut)
        return piece[:cut], other, 1

    def _piece(self, length, least=1):
        """-> ids of a random place of the text, at least `least` and at most `length`; the index
        of their document
        """
        while True:
            place = self.rng.integers(len(self.dataset))
            document = int(np.searchsorted(self.ends, place))
            if document == len(self.ends):  # after the last separator
                continue
            start, end = self.starts[document], self.ends[document]
            if end - start >= least:
                start = max(start, min(place, end - length))
                return self.dataset.read(int(start), int(min(start + length, end))), document


def _places(dataset, id):
    """-> int64 array of the places of `id` in a TokenDataset"""
    found = [start + np.flatnonzero(dataset.read(start, min(start + READ_AT_ONCE, len(dataset)))
                                    == id) for start in range(0, len(dataset), READ_AT_ONCE)]
    return np.concatenate(found)


class PretrainingResult(NamedTuple):
    """How well a model does both tasks: the mean loss in nats, and the shares that are right."""

    loss: float
    masked_accuracy: float
    next_sentence_accuracy: float
    n_pairs: int


class BertPretraining(LanguageModeling):
    """BERT's pre-training on the token files in a run folder: see minillm/training/task.py."""

    name = "bert_pretraining"
    head = "pretraining"
    tokenizer_class = BertTokenizer
    separator = "sep_token"
    why_not_private = ("its pairs join pieces of two documents, so no example is one piece of text; "
                       "wanted a decoder, or a task with labels")
    cut = None  # a pair of texts has no shorter beginning
    headings = ("loss (nats)", "masked accuracy", "next-sentence accuracy", "pairs")

    def __init__(self, folder, settings):
        super().__init__(folder, settings)
        self.tokenizer = BertTokenizer.from_pretrained(self.folder / "model")

    @classmethod
    def prepare(cls, folder, settings, report):
        prepared = super().prepare(folder, settings, report)
        tokenizer = BertTokenizer.from_pretrained(folder / "model")
        config = prepared.config.replace(pad_token_id=tokenizer.pad_token_id)
        return prepared._replace(config=config)

    def batches(self, settings):
        return PretrainingBatches(self.splits["train"], self.tokenizer, settings.batch_size,
                                  settings.block_size, settings.seed)

    def loss(self, model, batch):
        return model(**batch, sparse_prediction=True).loss

    def size(self, batch):
        return int(batch["attention_mask"].sum())

    def evaluate(self, model):
        result = self.measure(model, "valid")
        if result is None:
            return {}
        return {"valid_loss": result.loss, "valid_masked_accuracy": result.masked_accuracy,
                "valid_next_sentence_accuracy": result.next_sentence_accuracy}

    @classmethod
    def least_tokens(cls, block_size):
        return block_size + 1

    @classmethod
    def measure_text(cls, model, dataset, block_size, tokenizer, report=None):
        """-> PretrainingResult, always of the same pairs and masks; ValueError for a text that is
        too short
        """
        batches = PretrainingBatches(dataset, tokenizer, VALIDATION_PAIRS, block_size, 0)

        def measured(numbered):
            number, batch = numbered
            with inference(model):
                output = model(**batch, sparse_prediction=True)
            labels = batch["labels"]
            if report is not None:
                report(number, VALIDATION_BATCHES)
            return (output.loss.item(),
                    output.prediction_logits.argmax(-1) == labels[labels != IGNORE],
                    output.seq_relationship_logits.argmax(-1) == batch["next_sentence_label"])

        numbered = zip(range(1, VALIDATION_BATCHES + 1), batches)
        losses, masked, following = zip(*share_out(measured, numbered))
        masked, following = np.concatenate(masked), np.concatenate(following)
        return PretrainingResult(float(np.mean(losses)), float(masked.mean()),
                                 float(following.mean()), following.size)

    @staticmethod
    def cells(result):
        return (f"{result.loss:.4f}", f"{result.masked_accuracy:.1%}",
                f"{result.next_sentence_accuracy:.1%}", f"{result.n_pairs:,}")
