"""How likely a model finds a text: the loss of every token, for decoders and for BERT.

    decoder:  loss_t = - ln p(x_t | x_1 … x_{t-1})
    BERT:     loss_t = - ln p(x_t | all other tokens),  x_t replaced by [MASK]

The sum of the first over t is - ln p(x). The second is a pseudo-log-likelihood (Salazar et al.
2020, "Masked language model scoring", eq. 2): not a probability of the text, but comparable between
texts.
"""

import numpy as np

from minillm.nn.module import inference
from minillm.ops.cross_entropy import token_losses

TOKENS = 2048  # in a batch


class Reader:
    """A decoder that gives every token its loss.

    model: a causal language model;  tokenizer: its tokenizer
    limit: the longest row of ids, the token before the first one included
    """

    kind = "decoder"

    def __init__(self, model, tokenizer, limit):
        self.model, self.tokenizer, self.limit = model, tokenizer, limit

    def rows_of(self, texts):
        """-> list of lists of ids, each as training writes a document: behind the end of another"""
        end = self.tokenizer.eos_token_id
        return [[*([] if end is None else [end]), *self.tokenizer.encode(text)] for text in texts]

    def losses(self, rows, report=lambda done, total: None):
        """-> for each row of T ids, float64 (T - 1,): the losses of all but the first id, in nats

        Of a row that is longer than the model reads at once, later tokens are predicted from at
        least the half of that before them.
        """
        if max(map(len, rows), default=0) > self.limit:
            pieces = [_pieces(len(row), self.limit) for row in rows]
            found = iter(self.losses([row[start:end] for row, each in zip(rows, pieces)
                                      for start, end, _ in each], report))
            return [np.concatenate([next(found)[-new:] for _, _, new in each]) for each in pieces]
        return self._losses_of_rows(rows, report)

    def _losses_of_rows(self, rows, report):
        found = [None] * len(rows)
        done = 0
        for batch in _batches(rows):
            ids = _padded([rows[number] for number in batch])
            lengths = np.array([len(rows[number]) for number in batch])
            for number, losses, n in zip(batch, self._losses_of(ids, lengths), lengths):
                found[number] = losses[: n - 1]
            done += len(batch)
            report(done, len(rows))
        return found

    def _losses_of(self, ids, lengths):
        """ids: int64 (B, T), padded on the right -> float64 (B, T - 1)"""
        with inference(self.model):
            logits = self.model(ids[:, :-1]).logits
        seen = np.arange(1, ids.shape[1]) < lengths[:, None]
        return token_losses(logits, np.where(seen, ids[:, 1:], -1), 0.0)[0].astype(np.float64)


class MaskedReader(Reader):
    """A BERT that gives every token its loss behind a mask; one forward for every token."""

    kind = "masked"

    def rows_of(self, texts):
        """-> list of lists of ids, [CLS] text [SEP]; of a text that is too long, its end"""
        rows = [self.tokenizer.encode(text) for text in texts]
        return [row if len(row) <= self.limit else [row[0], *row[1 - self.limit:]] for row in rows]

    def losses(self, rows, report=lambda done, total: None):
        """-> for each row, float64 (T - 2,): the losses of all but [CLS] and [SEP], in nats

        Raises ValueError for a row that is longer than the model reads.
        """
        longest = max(map(len, rows), default=0)
        if longest > self.limit:
            raise ValueError(f"a text has {longest} tokens, wanted at most {self.limit}, what the "
                             "model reads at once")
        return [losses[:-1] for losses in self._losses_of_rows(rows, report)]

    def _losses_of(self, ids, lengths):
        B, T = ids.shape
        mask = (np.arange(T) < lengths[:, None]).astype(np.int64)
        losses = np.zeros((B, T - 1))
        for t in range(1, T - 1):
            rows = np.flatnonzero(lengths - 1 > t)
            hidden = ids[rows]
            hidden[:, t] = self.tokenizer.mask_token_id
            with inference(self.model):
                logits = self.model(hidden, attention_mask=mask[rows]).logits[:, t]
            losses[rows, t - 1] = token_losses(np.ascontiguousarray(logits), ids[rows, t], 0.0)[0]
        return losses


def _pieces(length, limit):
    """-> list of (start, end, number of ids at the end that no earlier piece has predicted)"""
    found = [(0, min(length, limit), min(length, limit) - 1)]
    while found[-1][1] < length:
        done = found[-1][1]
        end = min(length, done + limit // 2)
        found.append((end - limit, end, end - done))
    return found


def _batches(rows):
    """Yield lists of indices of rows of similar lengths, of about TOKENS tokens together."""
    batch = []
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number])):
        if batch and (len(batch) + 1) * len(rows[number]) > TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _padded(rows):
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(ids, rows):
        place[: len(row)] = row
    return ids
