"""Speculative decoding: several tokens from one forward, with exactly the distribution of plain
decoding                                (Leviathan, Kalman, Matias 2023, sec. 2; Chen et al. 2023)

A step of decoding reads all weights to produce one token, and reading them is what takes the time.
To *verify* n guessed tokens takes one forward, too: causal attention scores every position of a
text at once. So guess cheaply (drafts.py), and let the model check:

    text so far   x_1 … x_t                        the model:  p(· | x_1 … x_t)
    draft         d_1 … d_n                                    p(· | x_1 … x_t d_1)  …
    accepted      d_1 … d_a, and then one token of the model's own

A forward yields a + 1 tokens, from 1 to n + 1. How to accept so that nothing changes:

Theorem. Draw x from any distribution q. Accept it with probability min(1, p(x) / q(x)); otherwise
draw again, from norm(max(0, p - q)). The result is distributed as p.

Proof. Let β = Σ_x q(x) min(1, p(x) / q(x)) = Σ_x min(p(x), q(x)) be the probability of accepting.
    Σ_x max(0, p(x) - q(x)) = Σ_x (p(x) - min(p(x), q(x))) = 1 - β     normalizes the second draw,
    P(result = x) = q(x) min(1, p(x) / q(x)) + (1 - β) max(0, p(x) - q(x)) / (1 - β)
                  = min(p(x), q(x)) + max(0, p(x) - q(x))
                  = p(x).                                                                        ∎

By induction over the positions, the whole text is distributed as in plain decoding. p and q are
what is left after all logits processors and warpers, which see each drafted prefix in turn.

"Exactly" is up to rounding: a product of n rows may round otherwise than n products of one row.
Those of csrc/decode.c don't, except with int4: it verifies up to 16 tokens with the very scores of
plain decoding.
"""

import numpy as np

from minillm.generation.drafts import NO_DRAFT
from minillm.generation.sampling import greedy, piece_of, sample
from minillm.generation.stopping import is_done
from minillm.ops.softmax import softmax


def acceptance(p, q):
    """min(1, p / q): the probability of accepting each token, if it is drawn. p, q: (V,) -> (V,)"""
    return np.minimum(1, np.divide(p, q, out=np.ones_like(p), where=q > 0))


def residual(p, q):
    """norm(max(0, p - q)): what to draw from after a rejection. p, q: (V,) -> (V,)"""
    rest = np.maximum(0, p - q)
    total = rest.sum()
    return rest / total if total > 0 else p  # p = q up to rounding: nothing is ever rejected


def verified(x, p, q, rng):
    """x, a token that was drawn from q (V,) -> a token that is distributed as p (V,)

    It is x if and only if x is accepted: residual(x) is 0 wherever x can be rejected.
    """
    if rng.random() < acceptance(p, q)[x]:
        return x
    rest = residual(p, q)
    tokens = np.flatnonzero(rest)
    return tokens[piece_of(rest[tokens], rng.random())]


def next_token(scores, draft, i, decoding):
    """The model's processed scores (1, V) at token i of the draft -> the token that comes there"""
    if not decoding.options.do_sample:
        return greedy(scores)[0]
    if i == len(draft.tokens) or draft.probabilities is None:
        # Nothing drafted, or nothing drawn: q is 1 at the draft's token d. The theorem accepts d
        # with probability p(d) and otherwise draws from p without d. Draw from p, and call d
        # accepted if it comes: that is the same, and the same seed gives plain decoding's text.
        return sample(scores, decoding.rng)[0]
    p = softmax(scores[0].astype(np.float64))[0]
    return verified(draft.tokens[i], p, draft.probabilities[i], decoding.rng)


def speculate(decoding):
    """Decode one prompt. Yield the tokens: (1,) each, as plain decoding does.

    decoding: a `Decoding` with a drafter, see generate.py and drafts.py
    """
    options, drafter, counts = decoding.options, decoding.drafter, decoding.drafts
    length = decoding.ids.shape[1]
    ids = np.empty((1, options.max_length), np.int64)
    ids[:, :length] = decoding.ids
    logits, draft = decoding.begin(copies=1), NO_DRAFT
    state = decoding.state
    before = state.length - length  # positions read before the first of `ids`: inputs_embeds
    counts.forwards += 1
    while True:
        # logits: (n + 1, V), after the last token and after each token of the draft
        for i, scores in enumerate(logits):
            scores = decoding.process(ids[:, :length], scores[None], scores[None])
            token = next_token(scores, draft, i, decoding)
            ids[0, length] = token
            length += 1
            accepted = i < len(draft.tokens) and token == draft.tokens[i]
            counts.accepted += int(accepted)
            ends = length == options.max_length or _ends(decoding, ids[:, :length])
            if ends:
                state.crop(before + length - 1)
            yield ids[0, length - 1 : length].copy()
            if ends:
                return
            if not accepted:
                break
        drafter.learn(draft, i)
        # The model has read the rejected tokens, too. The last token is still to be read.
        state.crop(before + length - 1)
        draft = drafter(ids[0, :length], options.max_length - length - 1)
        new = np.append(ids[0, length - 1], draft.tokens)
        logits = decoding.model.extend(new[None], state)[0]
        counts.drafted += len(draft.tokens)
        counts.forwards += 1


def _ends(decoding, ids):
    """-> whether ids (1, T) are complete"""
    if ids[0, -1] in decoding.options.eos_token_id:
        return True
    return bool(is_done(decoding.criteria, ids, decoding.recorded_scores())[0])
