"""Continuous batching: requests enter and leave the batch between any two steps of decoding
                                                                        (Yu et al. 2022, "Orca")

To decode one token is to read all weights once, for one sequence or for sixteen. So decode many
together. But requests arrive at any time, and end after different numbers of tokens. A batch that
starts and ends together lets the late ones wait and the short ones idle. Three ideas fill the gaps:

    step     1   2   3   4   5   6   7   8
    slot 0   A…  a   a   a   D…  d   d   d      A…  a chunk of A's prompt;  a  a token of A
    slot 1   .   B…  B…  B…  b   b   b   b      C ends at step 5, and at step 6 E has its slot
    slot 2   .   .   C…  c   c   E…  e   e

Iteration-level scheduling (sec. 4.1): the batch is chosen anew for every step. A request takes a
    free slot as soon as there is one, and leaves it with its last token.
Selective batching (sec. 4.2): linear maps, norms and activations work on the rows of all requests
    together; attention takes one request after the other, because each has a number of keys of its
    own. Nothing is padded. (nn/attention.py, `_attend_each`)
Chunked prefill (Agrawal et al. 2024, "Sarathi-Serve", sec. 4.2): a prompt is read in chunks, one
    chunk between two tokens of the others, so a long prompt doesn't stall them. The chunks of
    several prompts are read together, which is selective batching, too.

Theorem. The text of a request doesn't depend on the other requests.
Proof. Its scores are functions of its own rows. A stored weight matrix is multiplied with up to
    LARGEST_STEP rows as with one (csrc/gemv.c), and with 17 rows as with any larger number
    (csrc/matmul.c): each adds the products of a row in the same order for any number of rows. A
    prompt is cut into chunks at places that depend on nothing else, and short chunks, of up to
    LARGEST_STEP tokens, are joined up to that number only, and never with long ones. So the scores
    agree bit for bit. Processors and the random generator belong to the request.                 ∎
With int4, with weights that aren't stored for inference (`model.quantize`), and beside a prompt
whose activations are so large or small that csrc/amx.h doesn't split them, the scores agree up to
rounding.
"""

import math
from collections import deque
from contextlib import contextmanager

import numpy as np

from minillm.checks import require_ids
from minillm.generation.decoding_state import DecodingState
from minillm.generation.generate import prepare
from minillm.generation.prompts import is_encoder_decoder
from minillm.generation.sampling import greedy, sample
from minillm.generation.stopping import is_done
from minillm.nn.kv_cache import KVCache
from minillm.ops.quantized import LARGEST_STEP

CHUNK = 128  # tokens of a prompt between two steps of decoding
CHUNKS = 4  # of several prompts in one step


class Request:
    """One prompt and its continuation.

    ids: integers (T,) or (1, T);  options: those of `generate`, such as max_new_tokens and seed
    on_token: a function (token, logits (V,)) that receives each new token and the model's output
        that it was chosen from, before all processors. If it returns True, the request ends.
    on_prompt: a function (first, logits (n, V)) that receives the logits after the tokens
        first … first + n - 1 of the prompt, chunk by chunk; it costs time
    on_end: a function () that is called once, when the request has ended
    only_reads: end after the prompt, without a new token

    ids grows with each token. finish_reason: None, "stop" (an end-of-text token, a stop string or
    on_token), "length", "cancelled", or "error": then `error` is the exception.

    Raises what `generate` raises for its arguments.
    """

    def __init__(self, model, ids, *, on_token=None, on_prompt=None, on_end=None, only_reads=False,
                 **options):
        self.decoding = prepare(model, "Request", np.atleast_2d(ids), **options)
        if len(self.decoding.ids) != 1 or self.decoding.options.num_beams != 1:
            raise ValueError("a request is one prompt without beams, got "
                             f"{len(self.decoding.ids)} prompts and "
                             f"{self.decoding.options.num_beams} beams")
        ids = require_ids("input_ids", self.decoding.ids[0], model.config.vocab_size)
        self.n_prompt = len(ids)
        self._room = np.empty(self.decoding.options.max_length, np.int64)
        self.ids = self._room[: len(ids)]
        self.ids[:] = ids
        self.on_token, self.on_prompt, self.on_end = on_token, on_prompt, on_end
        self.only_reads = only_reads
        self.state = None  # the model's, from its first step to its last
        self.prompt_logits = None  # (1, V), once the prompt is read
        self.finish_reason = self.error = None

    @property
    def new_ids(self):
        return self.ids[self.n_prompt :]

    @property
    def is_reading(self):
        """Whether a part of the prompt is still to be read."""
        return self.prompt_logits is None

    def score(self, model, tokens):
        """Read the next tokens of the prompt, and report the logits after each -> logits (1, V) after
        the last"""
        begin = self.state.length
        logits = model.extend(tokens[None], self.state)[0]
        self.on_prompt(begin, logits)
        return logits[-1:]

    def choose(self, logits, likeliest=None):
        """Append the next token; it may end the request.

        logits: (1, V), the model's output;  likeliest: the token with the highest of them, if known
        """
        decoding = self.decoding
        options = decoding.options
        scores = decoding.process(self.ids[None], logits, logits)
        if options.do_sample:
            token = int(sample(scores, decoding.rng)[0])
        elif scores is logits and likeliest is not None and math.isfinite(logits[0, likeliest]):
            token = likeliest
        else:
            token = int(greedy(scores)[0])
        self.ids = self._room[: len(self.ids) + 1]
        self.ids[-1] = token
        stops = self.on_token is not None and self.on_token(token, logits[0]) is True
        if decoding.criteria and not stops:
            scores = decoding.recorded_scores()
            stops = is_done(decoding.criteria, self.ids[None], scores)[0]
        if stops or token in options.eos_token_id:
            self.end("stop")
        elif len(self.ids) == options.max_length:
            self.end("length")

    def end(self, reason, error=None):
        """End it, for the first of several reasons."""
        if self.finish_reason is None:
            self.finish_reason, self.error = reason, error
            self.state = self.prompt_logits = None
            if self.on_end is not None:
                self.on_end()


class ContinuousBatch:
    """A model, and the requests that it works on.

        batch = ContinuousBatch(model)
        batch.submit(Request(model, ids, max_new_tokens=20))
        while batch.step(): ...                       # submit and cancel between any two steps

    slots: list of the Requests in the batch, None where one is free;  waiting: those before them
    chunk: how many tokens of a prompt are read in a step; of all prompts at most CHUNKS times as many

    Not thread-safe: one thread submits, cancels and steps.
    """

    def __init__(self, model, n_slots=16, chunk=CHUNK):
        if is_encoder_decoder(model) or not hasattr(model, "step_each"):
            raise ValueError(f"continuous batching needs a decoder-only language model, got a "
                             f"{type(model).__name__}")
        for name, value in (("n_slots", n_slots), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"{name} is {value}, wanted at least 1")
        self.model, self.chunk = model, chunk
        self.slots = [None] * n_slots
        self.waiting = deque()

    def submit(self, request):
        """Queue a request."""
        self.waiting.append(request)

    def cancel(self, request):
        """End a request wherever it is; its slot is free for the next step."""
        request.end("cancelled")
        self._free()

    def step(self):
        """Read a chunk of each prompt, and one token of every text -> whether there is more to do"""
        self.read()
        return self.write()

    def read(self):
        """The first half of a step: let requests in, read prompts, choose the first tokens."""
        self._admit()
        self._read_prompts()

    def write(self):
        """The other half: choose the next token of every text -> whether there is more to do"""
        self._decode()
        self._free()
        return bool(self.waiting) or any(self.slots)

    def _admit(self):
        """The free slots go to those who have waited longest."""
        for slot, request in enumerate(self.slots):
            if request is None and self.waiting:
                request = self.slots[slot] = self.waiting.popleft()
                capacity = request.decoding.options.max_length
                request.state = DecodingState(KVCache(capacity))

    def _read_prompts(self):
        """Read a chunk of each prompt, as many as a step takes; choose the first tokens."""
        budget = CHUNKS * self.chunk
        later = reading = [request for request in self.slots if request and request.is_reading]
        while later and budget > 0:
            joined, later = self._join(later, budget)
            if not joined:
                break
            with _errors_of(*[request for request, _ in joined]):
                self._read(joined)
            budget -= _n_tokens(joined)
        for request in reading:
            if not (request.is_reading or request.finish_reason):
                with _errors_of(request):
                    if request.only_reads:
                        request.end("length")
                    else:
                        request.choose(request.prompt_logits)

    def _join(self, requests, budget):
        """-> list of (request, tokens of its next chunk) for one forward; list of the others"""
        joined, later = [], []
        for request in requests:
            if request.state.length == 0 and self._share_or_wait(request):
                later.append(request)
            elif request.is_reading:
                begin = request.state.length
                tokens = request.ids[begin : min(begin + self.chunk, request.n_prompt)]
                if not joined or _may_join(joined, request, tokens, budget):
                    joined.append((request, tokens))
                else:
                    later.append(request)
        return joined, later

    def _read(self, joined):
        """joined: from `_join`"""
        first, tokens = joined[0]
        if first.on_prompt is not None:
            logits = first.score(self.model, tokens)
        else:
            logits = self.model.extend_each([tokens for _, tokens in joined],
                                            [request.state for request, _ in joined])
        for b, (request, _) in enumerate(joined):
            if request.state.length == request.n_prompt:
                request.prompt_logits = logits[b : b + 1]

    def _share_or_wait(self, request):
        """Copy the keys and values of whole chunks that another prompt begins with, too; from an
        equal prompt, everything. -> True, without copying, if another one that is read earlier will
        soon have more of them"""
        best, most, is_later = None, 0, False
        for other in self.slots:
            is_later = is_later or other is request
            if other in (None, request) or other.finish_reason or request.on_prompt:
                continue
            n = self._n_common(request, other)
            if other.is_reading and other.state.length < n:
                if other.state.length or not is_later:
                    return True
            elif n > most:
                best, most = other, n
        if best is not None:
            request.state = DecodingState(best.state.cache.copy(most))
            if most == request.n_prompt:
                request.prompt_logits = best.prompt_logits
        return False

    def _n_common(self, request, other):
        """-> how many tokens of the prompt can be copied from `other`, once it has read them"""
        n = min(request.n_prompt, other.n_prompt)
        differs = np.flatnonzero(request.ids[:n] != other.ids[:n])
        n = int(differs[0]) if len(differs) else n
        if n == request.n_prompt == other.n_prompt and not other.on_prompt:
            return n
        return min(n, request.n_prompt - 1) // self.chunk * self.chunk

    def _decode(self):
        """Read the last token of every text that goes on, and choose the next."""
        writing = [request for request in self.slots
                   if request and not request.is_reading and not request.finish_reason]
        for first in range(0, len(writing), LARGEST_STEP):
            rows = writing[first : first + LARGEST_STEP]
            with _errors_of(*rows):
                tokens = np.array([request.ids[-1] for request in rows])
                logits = self.model.step_each(tokens, [request.state for request in rows])
                likeliest = logits.argmax(axis=-1).tolist()
                for b, request in enumerate(rows):
                    with _errors_of(request):
                        request.choose(logits[b : b + 1], likeliest[b])

    def _free(self):
        """Free the slots of the requests that have ended."""
        self.slots = [None if request is None or request.finish_reason else request
                      for request in self.slots]
        if any(request.finish_reason for request in self.waiting):
            self.waiting = deque(request for request in self.waiting if not request.finish_reason)


@contextmanager
def _errors_of(*requests):
    """An error ends these requests, and nothing else."""
    try:
        yield
    except Exception as error:
        for request in requests:
            request.end("error", error)


def _n_tokens(joined):
    return sum(len(tokens) for _, tokens in joined)


def _may_join(joined, request, tokens, budget):
    """-> whether a chunk may be read in the same forward as others: see the theorem"""
    first, its_tokens = joined[0]
    is_short = len(tokens) <= LARGEST_STEP
    most = LARGEST_STEP if is_short else budget
    return (first.on_prompt is request.on_prompt is None
            and is_short == (len(its_tokens) <= LARGEST_STEP)
            and _n_tokens(joined) + len(tokens) <= most and len(joined) < LARGEST_STEP)
