"""From the tokens of one text to what a client gets: pieces of text, log-probabilities, an end."""

from dataclasses import dataclass

import numpy as np

from minillm.generation.sampling import highest
from minillm.generation.text_stream import StreamDecoder
from minillm.ops.softmax import log_softmax


@dataclass
class TokenScore:
    """A token with the log-probability that the model gave it, before all options of sampling."""

    text: str
    bytes: list  # its bytes; text has U+FFFD where they aren't UTF-8
    logprob: float | None  # None for the first token of a prompt
    top: list  # of TokenScores, the likeliest tokens there, without `top` of their own
    offset: int  # where the token begins in the text, in characters


class Output:
    """One text that grows.

    tokenizer: of the model;  ends: set of ids of end-of-text tokens, which have no text
    stop: list of strings; the text ends before the first of them
    n_top: how many of the likeliest tokens to report with each, or None for no log-probabilities
    begin: the text that stands before it (the prompt, if it is echoed)
    """

    def __init__(self, tokenizer, ends=(), stop=(), n_top=None, begin=""):
        self.tokenizer, self.ends, self.stop, self.n_top = tokenizer, ends, stop, n_top
        self.decoder = StreamDecoder(tokenizer)
        self.begin, self.text, self.n_given = begin, "", 0
        self.scores, self.n_scores_given = [], 0
        self.n_tokens, self.is_stopped = 0, False

    def push(self, token, logits):
        """Add a token, chosen from logits (V,) -> whether a stop string is complete"""
        self.n_tokens += 1
        if token in self.ends:
            return False
        offset = len(self.begin) + len(self.text)
        self._append(self.decoder.push(token))
        if self.n_top is not None and not (self.is_stopped and offset >= self._end()):
            self.scores.append(self.score(token, logits, offset))
        return self.is_stopped

    def finish(self):
        """Add the rest of a character that no token has completed."""
        if not self.is_stopped:
            self._append(self.decoder.finish())

    def take(self, is_last=False):
        """-> the text, and the TokenScores, since the last call

        Before the last call, a text that may be the beginning of a stop string is held back, and
        the scores of its tokens with it.
        """
        end = len(self.text) if is_last else len(self.text) - self._n_uncertain()
        piece, self.n_given = self.text[self.n_given : end], max(end, self.n_given)
        scores = [score for score in self.scores[self.n_scores_given :]
                  if is_last or score.offset < len(self.begin) + end]
        self.n_scores_given += len(scores)
        return piece, scores

    def score(self, token, logits, offset):
        """-> TokenScore of a token, chosen from logits (V,); None: the first of a prompt"""
        text, its_bytes = self.text_of(token)
        if logits is None:
            return TokenScore(text, its_bytes, None, [], offset)
        logprobs = log_softmax(logits[None].astype(np.float64))[0][0]
        top = [TokenScore(*self.text_of(int(id)), float(logprobs[id]), [], offset)
               for id in (highest(logprobs, self.n_top) if self.n_top else [])]
        return TokenScore(text, its_bytes, float(logprobs[token]), top, offset)

    def text_of(self, token):
        """-> the text of a token alone, and its bytes"""
        if hasattr(self.tokenizer, "token_bytes"):
            its_bytes = self.tokenizer.token_bytes(token)
            return its_bytes.decode("utf-8", "replace"), list(its_bytes)
        text = self.tokenizer.decode([token])
        return text, list(text.encode("utf-8", "replace"))

    def _end(self):
        return len(self.begin) + len(self.text)

    def _append(self, piece):
        """Add text, and cut it before a stop string."""
        start = len(self.text)
        self.text += piece
        found = [at for stop in self.stop
                 if (at := self.text.find(stop, max(0, start + 1 - len(stop)))) >= 0]
        if found:
            self.text, self.is_stopped = self.text[: min(found)], True
            self.scores = [score for score in self.scores if score.offset < self._end()]

    def _n_uncertain(self):
        """-> the length of the longest end of the text that is the beginning of a stop string"""
        if self.is_stopped:
            return 0
        lengths = [n for stop in self.stop for n in range(1, len(stop))
                   if self.text.endswith(stop[:n])]
        return max(lengths, default=0)
