"""How the next token is chosen, and what is kept of those before it.

What a text is to be continued with is `ids`, the tokens so far: of a decoder those of the text and
what follows it, of an encoder-decoder those that its decoder has written, the start token first,
of a masked language model all tokens, one of them hidden. None: those of the text alone.
"""

import time
import warnings

import numpy as np

from minillm.explorer.views import offline, view
from minillm.generation.generate import follow_beams, stream
from minillm.generation.options import complete_options
from minillm.generation.processors import build_processors
from minillm.generation.prompts import find_prompts, output_vocab_size
from minillm.generation.text_stream import StreamDecoder
from minillm.insight.anatomy import stacks_of
from minillm.insight.subject import Subject
from minillm.nn.module import inference
from minillm.ops.softmax import log_softmax

NEUTRAL = {  # the filters that the page has, at the values that change nothing
    "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "temperature": 1.0, "top_h": None,
    "top_k": 0, "top_p": 1.0, "min_p": None, "typical_p": 1.0, "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
OWN_RULES = (  # options that a checkpoint may set, which the page has no controls for
    "sequence_bias", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "min_length",
    "min_new_tokens", "forced_bos_token_id", "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "remove_invalid_values",
)
ALTERNATIVES = 10  # of a token of the text, with their probabilities
NAMED = 300  # the likeliest next tokens, whose names the page gets with their logits
OFFLINE_TOKENS, OFFLINE_LAYERS = 5, 4  # what a page without a server has of them
STEPS = 8  # the last tokens, which are read one by one where the rest is prefilled
MOST_LOGITS = 2**26  # numbers: of longer texts, the logits of the first tokens are left out
LONGEST = 1024  # tokens to generate
PRECISION = 1e-5  # the difference, relative to the largest logit, that rounding may make


@view
def generation_next(subject: Subject, text: str, ids: list[int] = None,
                    position: int = None) -> dict:
    """What the model expects after `ids`, or of a masked language model in the place `position`:

    kind: "decoder", "encoder-decoder", "masked" or "none"; a model of the last kind has no more
    ids (T,);  n_text: how many of them are the text's;  limit: of T, or None
    logits: float32 (V,), after the rules of the model's own generation_config, or None: nothing is
        hidden;  own_rules: the options in it that apply;  ends: the ids that end a text
    shown, log_p, rank: int (n,), float64 (n,), int (n,): the places of the tokens of `ids` that the
        model has predicted from those before them, log p of each, how many are likelier
    alternatives, alternatives_log_p: (n, 10), the likeliest tokens in those places
    names: {id: text} of `ids`, the alternatives and the likeliest next tokens
    cache: see `_cache`, and
        difference: float (STEPS + 1,) at most, max |cached - uncached logits| after the prefill and
        after each of the last tokens, read one by one;  tolerance
    """
    kind = kind_of(subject)
    if kind == "none":
        return {"kind": kind, "architecture": type(subject.model).__name__}
    if kind == "masked":
        return _hidden(subject, text, ids, position)
    so_far = Continuation(subject, text, ids)
    expected = so_far.uncached()
    logits, own_rules = _by_own_rules(so_far, expected[-1])
    first = len(so_far.ids) - len(expected)  # of those whose next token is known
    places = np.arange(first + 1, len(so_far.ids))
    found = {"kind": kind, "ids": so_far.ids, "n_text": so_far.n_text, "limit": so_far.limit,
             "logits": logits, "own_rules": own_rules, "ends": so_far.ends,
             "source": so_far.source_names,
             **_surprise(places, so_far.ids[places], expected[:-1]),
             "cache": {**_cache(so_far, expected), "tolerance": _tolerance(expected)}}
    return {**found, "names": _names(subject, found)}


def kind_of(subject):
    """-> "decoder", "encoder-decoder", "masked", or "none" for a model without scores of tokens"""
    if not subject.predicts_tokens:
        return "none"
    if not hasattr(subject.model, "prefill"):
        return "masked"
    return "encoder-decoder" if subject.is_encoder_decoder else "decoder"


class Continuation:
    """The tokens so far, as the model reads them.

    ids: int64 (T,);  source: (S,), what an encoder reads, or None;  n_text: tokens of the text
    """

    def __init__(self, subject, text, ids=None):
        self.subject, self.model = subject, subject.model
        read = subject.encode(text)
        self.limit = self.model.config.position_limit
        self.source = read if subject.is_encoder_decoder else None
        self.source_names = None if self.source is None else subject.names(read)
        if self.source is not None:
            self._require_length("the text", read)
            read = find_prompts(self.model, read[None], None, None, [{}]).ids[0]
        self.n_text = len(read)
        self.ids = read if ids is None else np.array(ids, np.int64)
        size = output_vocab_size(self.model.config)
        if not len(self.ids) or self.ids.min() < 0 or self.ids.max() >= size:
            raise ValueError(f"ids is {ids!r:.60}, wanted one or more ids below {size}")
        if self.source is not None and self.ids[0] != read[0]:
            raise ValueError(f"ids begins with {self.ids[0]}, wanted the start token {read[0]}")
        self._require_length("the text and what follows it", self.ids)

    def _require_length(self, name, ids):
        if self.limit is not None and len(ids) > self.limit:
            raise ValueError(f"{name}: {len(ids)} tokens, wanted at most {self.limit}, which is "
                             "all that the model reads")

    def inputs(self, ids):
        """-> the arguments of the model's forward, its prefill and `generate`"""
        if self.source is None:
            return {"input_ids": ids[None]}
        return {"input_ids": self.source[None], "decoder_input_ids": ids[None]}

    @property
    def ends(self):
        ends = self.model.generation_config.eos_token_id
        return [] if ends is None else [int(id) for id in np.ravel(ends)]

    def uncached(self):
        """-> logits (n, V) of one pass over all tokens, without a cache: those after the last n"""
        n = max(STEPS + 1, MOST_LOGITS // output_vocab_size(self.model.config))
        few = {} if len(self.ids) <= n else {"logits_to_keep": n}
        with inference(self.model):
            return self.model(**self.inputs(self.ids), **few).logits[0]

    def cached(self):
        """Prefill all tokens but the last STEPS, and read those one by one

        -> logits (STEPS + 1, V) at most, and what `generate` keeps between two tokens
        """
        last = max(1, len(self.ids) - STEPS)
        logits, state = self.model.prefill(**self.inputs(self.ids[:last]), max_length=len(self.ids))
        rows = [logits[0]]
        for token in self.ids[last:]:
            rows.append(self.model.step(np.array([token]), state)[0])
        return np.stack(rows), state


def _by_own_rules(so_far, logits):
    """-> logits (V,) after the processors that the model's generation_config asks for, such as
    words that are never said, but without the filters of the page; names of these options
    """
    ids = so_far.ids[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a length that nobody asked for
        given = {**NEUTRAL, "do_sample": False, "num_beams": 1, "max_new_tokens": LONGEST,
                 "renormalize_logits": False}
        full = so_far.limit is not None and so_far.n_text >= so_far.limit
        options = complete_options(so_far.model, given, None, so_far.n_text - full, 0)
    source = ids if so_far.source is None else so_far.source[None]
    processors = build_processors(options, ids[:, : so_far.n_text], vocab_size=len(logits),
                                  source_ids=source)
    scores = logits[None]
    for processor in processors:
        scores = processor(ids, scores)
    return scores[0].astype(np.float32), [
        name for name in OWN_RULES if getattr(so_far.model.generation_config, name)]


def _surprise(places, ids, logits):
    """places, ids: (n,);  logits: (n, V), from which they were predicted -> dict"""
    log_p, _ = log_softmax(logits.astype(np.float64)) if len(logits) else (logits, None)
    likeliest = np.argsort(-log_p, axis=-1, kind="stable")[:, :ALTERNATIVES]
    own = log_p[np.arange(len(ids)), ids][:, None]
    return {"shown": places, "log_p": own[:, 0].astype(np.float64),
            "rank": (log_p > own).sum(axis=-1), "alternatives": likeliest,
            "alternatives_log_p": np.take_along_axis(log_p, likeliest, axis=-1).astype(np.float64)}


def _names(subject, found):
    ids = [np.ravel(found["ids"]), np.ravel(found["alternatives"])]
    if found["logits"] is not None:
        ids.append(np.argsort(-found["logits"], kind="stable")[:NAMED])
    unique = np.unique(np.concatenate(ids)).tolist()
    return shown(subject, unique)


def shown(subject, ids):
    """-> {id: its text}"""
    return dict(zip(map(int, ids), subject.names(ids)))


@view
def generation_names(subject: Subject, ids: list[int]) -> dict:
    """names: {id: text}, where `generation_next` gave none"""
    if any(not 0 <= id < 2**31 for id in ids) or len(ids) > LONGEST:
        raise ValueError(f"ids has {len(ids)} numbers, wanted at most {LONGEST}, none negative")
    return {"names": shown(subject, ids)}


@view
def generation_words(subject: Subject, words: str) -> dict:
    """ids: of words that somebody writes, as they follow or replace a token; names: {id: text}"""
    if len(words) > LONGEST:
        raise ValueError(f"words has {len(words):,} characters, wanted at most {LONGEST:,}")
    side = "text_target" if subject.is_encoder_decoder else "text"
    ids = subject.tokenizer(**{side: words}, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError("words is empty, wanted at least one token")
    return {"ids": ids, "names": shown(subject, ids)}


# ---- the cache


def _cache(so_far, expected):
    """What the model keeps of the tokens so far:

    shape: (n_kv_heads, T, D) of K, and of V, in each of n_layers;  n_heads: the heads that read it
    bytes: of all;  windows: how many keys a query of each layer sees, or None
    memory: (n_kv_heads, S, D), of an encoder's output, or None
    norms: float32 (n_layers, 2, T), the lengths of all heads' keys and values of each token
    """
    computed, state = so_far.cached()
    found = {"difference": np.abs(computed - expected[-len(computed):]).max(axis=-1)}
    own, memory = _layers(state)
    if not own:  # an architecture of one's own keeps what it likes
        return found
    K, _ = own[0].views()
    blocks = _blocks(so_far.model)
    norms = [[np.sqrt(np.square(x[0], dtype=np.float64).sum(axis=(0, 2))) for x in layer.views()]
             for layer in own]
    return {**found, "shape": K.shape[1:], "dtype": str(K.dtype), "n_layers": len(own),
            "n_heads": blocks[0].n_heads if blocks else len(K[0]),
            "windows": [block.module.attention.positions.window for block in blocks],
            "bytes": sum(x.nbytes for layer in own for x in layer.views()),
            "memory": memory[0].views()[0].shape[1:] if memory else None,
            "memory_bytes": sum(x.nbytes for layer in memory for x in layer.views()),
            "norms": np.array(norms, np.float32)}


def _layers(state):
    """-> the LayerCaches of a DecodingState: of the tokens so far, and of an encoder's output"""
    cache = getattr(state, "cache", None)
    if hasattr(cache, "self_attention"):
        return cache.self_attention.layers, cache.cross_attention.layers
    return getattr(cache, "layers", []), []


def _blocks(model):
    """-> list of the blocks that write into the cache; empty for an architecture of other parts"""
    stacks = list(stacks_of(model).values())
    return stacks[-1] if stacks else []


def _tolerance(logits):
    return PRECISION * max(1.0, float(np.abs(logits).max()))


@view
def generation_cache(subject: Subject, text: str, ids: list[int] = None, layer: int = 0,
                     memory: bool = False) -> dict:
    """K and V of one layer, float32 (n_kv_heads, T, D): what the cache holds after `ids`

    memory: those of an encoder's output instead;  tokens: T strings
    """
    _require_writing(subject)
    so_far = Continuation(subject, text, ids)
    own, of_memory = _layers(so_far.cached()[1])
    layers = of_memory if memory else own
    if not 0 <= layer < len(layers):
        raise ValueError(f"layer is {layer}, wanted 0 … {len(layers) - 1}")
    K, V = layers[layer].views()
    return {"K": K[0].astype(np.float32), "V": V[0].astype(np.float32),
            "tokens": so_far.source_names if memory else subject.names(so_far.ids)}


# ---- several tokens


@view
def generation_draws(seed: int, count: int = 256) -> dict:
    """The uniform numbers of `generate(seed=seed)`: it takes one for each token that it samples."""
    if not 0 <= seed < 2**32 or not 0 <= count <= 4096:
        raise ValueError(f"seed is {seed} and count is {count}, wanted 0 … 2 ** 32 - 1 and at most "
                         "4096")
    return {"draws": np.random.default_rng(seed).random(count)}


@view
def generation_stream(subject: Subject, text: str, report, ids: list[int] = None, n: int = 40,
                      do_sample: bool = True, seed: int = 0, options: dict = None) -> dict:
    """Generate n tokens after `ids`; each is reported as it is made: {"id", "name", "text": what it
    completes of a text, "seconds"}

    options: values of the filters in NEUTRAL
    -> {"ids": the new ones, "text", "seconds": of all}
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, wanted 0 … 2 ** 32 - 1")
    so_far, filters = Continuation(subject, text, ids), _filters(options)
    n = _room(so_far, n)
    if not do_sample:  # they don't change what is best
        filters = {name: filters[name] for name in ("repetition_penalty", "no_repeat_ngram_size")}
    try:
        tokens = stream(subject.model, **so_far.inputs(so_far.ids), max_new_tokens=n,
                        do_sample=do_sample, num_beams=1, num_return_sequences=1, seed=seed,
                        **filters)
    except TypeError as error:  # an option of a wrong type is the page's mistake, not ours
        raise ValueError(str(error)) from None
    started, new = time.perf_counter(), []
    text = StreamDecoder(subject.tokenizer, skip_special_tokens=False)
    for id in tokens:
        new.append(id)
        report(len(new), n, {"id": id, "name": shown(subject, [id])[id], "text": text.push(id),
                             "seconds": time.perf_counter() - started})
    return {"ids": new, "text": subject.tokenizer.decode(new),
            "seconds": time.perf_counter() - started}


@view
def generation_beams(subject: Subject, text: str, report, ids: list[int] = None, n: int = 10,
                     n_beams: int = 3, length_penalty: float = 1.0,
                     early_stopping: bool = False) -> dict:
    """All steps of `generate(num_beams=n_beams)` after `ids`:

    steps: list of BeamSteps as dicts, see beam_search.py; finished: list of (score, new ids)
    sequences: list of {"score", "ids", "text"}: the new ids of the best sequences, best first
    names: {id: text}
    """
    if not 2 <= n_beams <= 10:
        raise ValueError(f"n_beams is {n_beams}, wanted 2 … 10")
    if not -10 <= length_penalty <= 10:
        raise ValueError(f"length_penalty is {length_penalty}, wanted -10 … 10")
    so_far = Continuation(subject, text, ids)
    n, start = _room(so_far, n), len(so_far.ids)
    steps = []
    for step in follow_beams(subject.model, **so_far.inputs(so_far.ids), max_new_tokens=n,
                             do_sample=False, num_beams=n_beams, num_return_sequences=1,
                             length_penalty=length_penalty, early_stopping=early_stopping):
        finished = [(score, ids[start:]) for score, ids in step.finished]
        steps.append({**step._asdict(), "finished": finished})
        report(len(steps), n)
    found = set(np.concatenate([step["tokens"] for step in steps]).tolist())
    return {"steps": steps, "n_beams": n_beams,
            "sequences": [{"score": score, "ids": ids, "text": subject.tokenizer.decode(ids)}
                          for score, ids in steps[-1]["finished"]],
            "names": shown(subject, found)}


def _filters(options):
    """-> options of `generate`, neutral where none is given; ValueError for an unknown one"""
    for name in options or {}:
        if name not in NEUTRAL:
            raise ValueError(f"options has {name!r:.40}, wanted some of {', '.join(NEUTRAL)}")
    return {**NEUTRAL, **(options or {})}


def _room(so_far, n):
    """-> n, or less where the model can't read more"""
    _require_writing(so_far.subject)
    if not 1 <= n <= LONGEST:
        raise ValueError(f"n is {n}, wanted 1 … {LONGEST}")
    room = n if so_far.limit is None else min(n, so_far.limit - len(so_far.ids))
    if room < 1:
        raise ValueError(f"the model reads {so_far.limit} tokens, and that many are there")
    return room


def _require_writing(subject):
    """Raise ValueError for a model that has no next token."""
    if kind_of(subject) == "masked":
        raise ValueError("a masked language model doesn't generate from left to right")
    if kind_of(subject) == "none":
        raise ValueError(f"a {type(subject.model).__name__} doesn't generate")


# ---- a masked language model


def _hidden(subject, text, ids, position):
    """`generation_next` of a masked language model: the token at `position` is hidden, or else the
    first [MASK] counts
    """
    mask = subject.tokenizer.mask_token_id
    ids = subject.encode(text) if ids is None else Continuation(subject, text, ids).ids
    limit = subject.model.config.position_limit
    if limit is not None and len(ids) > limit:
        raise ValueError(f"the text has {len(ids)} tokens, wanted at most {limit}")
    hidden = np.flatnonzero(ids == mask)
    if position is None:
        position = int(hidden[0]) if len(hidden) else None
    elif not 0 <= position < len(ids):
        raise ValueError(f"position is {position}, wanted 0 … {len(ids) - 1}")
    found = {"kind": "masked", "ids": ids, "n_text": len(ids), "limit": limit, "mask": mask,
             "masks": hidden, "position": position, "own_rules": [], "ends": [], "logits": None,
             **_surprise(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 1)))}
    if position is not None and mask is not None:
        changed = ids.copy()
        changed[position] = mask
        with inference(subject.model):
            found["logits"] = subject.model(input_ids=changed[None]).logits[0, position].astype(
                np.float32)
    return {**found, "names": _names(subject, found)}


@view
def generation_hidden(subject: Subject, text: str, report, ids: list[int] = None) -> dict:
    """Hide each token of the text in turn, and ask a masked language model for it (Salazar et al.
    2020, sec. 2.2: the sum of log_p is the pseudo-log-likelihood)

    -> shown, log_p, rank, alternatives, alternatives_log_p as in `generation_next`; names
    """
    if kind_of(subject) != "masked":
        raise ValueError("tokens are hidden from a masked language model, this one predicts "
                         "the next")
    tokenizer = subject.tokenizer
    ids = subject.encode(text) if ids is None else Continuation(subject, text, ids).ids
    places = np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids))
    rows = np.tile(ids, (len(places), 1))
    rows[np.arange(len(places)), places] = tokenizer.mask_token_id
    logits = []
    for start in range(0, len(rows), 4):
        with inference(subject.model):
            part = subject.model(input_ids=rows[start : start + 4]).logits
        here = places[start : start + 4]
        logits.append(part[np.arange(len(here)), here])
        report(min(start + 4, len(rows)), len(rows))
    logits = np.concatenate(logits) if logits else np.zeros((0, 1))
    found = {"ids": ids, "logits": None, **_surprise(places, ids[places], logits)}
    return {**found, "names": _names(subject, found)}


@offline
def offline_generation(subject, text):
    """The text's answers, and those of the likeliest continuation of the first of them"""
    yield "generation_next", {}
    if kind_of(subject) == "masked":
        yield "generation_hidden", {}
    if kind_of(subject) not in ("decoder", "encoder-decoder"):
        return
    yield "generation_draws", {"seed": 0}
    for layer in range(min(OFFLINE_LAYERS, len(_blocks(subject.model)))):
        yield "generation_cache", {"layer": layer, "memory": False}
    so_far = Continuation(subject, text)
    ids, limit = so_far.ids.tolist(), so_far.limit
    room = OFFLINE_TOKENS if limit is None else min(OFFLINE_TOKENS, limit - len(ids))
    if room:
        yield "generation_beams", {"n": 10, "n_beams": 3, "length_penalty": 1,
                                   "early_stopping": False}
    for _ in range(room):
        likeliest = generation_next(subject, text, ids)["logits"].argmax()
        ids = [*ids, int(likeliest)]
        yield "generation_next", {"ids": ids}
