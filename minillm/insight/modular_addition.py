"""Addition modulo a prime: the task on which grokking was found, and then taken apart.

    a + b = c  (mod p)        input: the tokens a, b, "=";  answer: c, read at "="

There are only p² questions, so all of them are known, and so is the rule. A small transformer first
memorizes those that it is trained on. Much later, all at once, it answers the others, too: it has
found the rule ("grokking": Power et al. 2022). fourier.py shows which rule. (Nanda et al. 2023)
"""

from typing import NamedTuple

import numpy as np

from minillm.models.family import FamilyConfig, FamilyForCausalLM
from minillm.nn.loss import cross_entropy_loss
from minillm.nn.module import no_grad
from minillm.ops.cross_entropy import cross_entropy
from minillm.text.llama_tokenizer import LlamaTokenizer
from minillm.text.pre_tokenizers import Whitespace


class ModularAddition:
    """All questions a + b = ? modulo p, and which of them are for training.

    p: an odd number of at least 3, in the literature a prime;  share: of the questions to train on
    seed: which questions those are

    ids: int64 (p², 3), row a p + b is [a, b, p]: p is the token "="
    sums: int64 (p²,), the answers
    train, test: int64, rows of both, in random order
    """

    def __init__(self, p, share=0.35, seed=0):
        if p < 3 or p % 2 == 0:
            raise ValueError(f"p is {p}, wanted an odd number of at least 3, such as a prime")
        n = round(share * p * p)
        if not 0 < n < p * p:
            raise ValueError(f"share is {share}, wanted a number between 0 and 1")
        a, b = np.divmod(np.arange(p * p), p)
        self.p = p
        self.ids = np.stack([a, b, np.full(p * p, p)], axis=1)
        self.sums = (a + b) % p
        self.train, self.test = np.split(np.random.default_rng(seed).permutation(p * p), [n])


def new_config(p, d_model=64, n_heads=4, n_layers=1):
    """-> FamilyConfig: no norms and no biases, ReLU, d_ff = 4 d_model (Nanda et al. 2023, sec. 3)

    Without norms the residual stream is a plain sum, so a wave in it stays a wave. The fourth
    position is for the answer, if one is generated.
    """
    return FamilyConfig(
        vocab_size=p + 1, hidden_size=d_model, intermediate_size=4 * d_model,
        num_hidden_layers=n_layers, num_attention_heads=n_heads, max_position_embeddings=4,
        norm="none", norm_placement="pre", activation_function="relu", bias=False,
        tie_word_embeddings=False, position_embedding="learned", initializer_range=d_model**-0.5)


def new_model(p, d_model=64, n_heads=4, n_layers=1, seed=0):
    """-> FamilyForCausalLM with the configuration above"""
    return FamilyForCausalLM(new_config(p, d_model, n_heads, n_layers), seed)


def answers(model, ids):
    """ids: (N, 3) -> float32 (N, p), the logits of the p possible answers at "=" """
    with no_grad():
        return model(ids).logits[:, -1, :-1]


def answer_loss(model, ids, sums):
    """ids: (N, 3), sums: (N,) -> the Loss of the answers: nothing else is to be predicted"""
    targets = np.full(ids.shape, -100)
    targets[:, -1] = sums
    return cross_entropy_loss(model, model(ids).logits, targets)


class Score(NamedTuple):
    """Losses in nats, and shares of right answers"""

    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float


def score(logits, data):
    """logits: (p², p), of all questions, as `answers(model, data.ids)` gives them -> Score"""
    right = logits.argmax(axis=1) == data.sums
    splits = data.train, data.test
    return Score(*(float(cross_entropy(logits[rows], data.sums[rows])[0]) for rows in splits),
                 *(float(right[rows].mean()) for rows in splits))


def number_tokenizer(p):
    """-> LlamaTokenizer that reads "12 34 =" as [12, 34, p], and so for all numbers below p

    A word is a token as a whole; a number that has none falls into its digits. Spaces separate.
    """
    vocab = {name: id for id, name in enumerate([*map(str, range(p)), "="])}
    return LlamaTokenizer(vocab, [], bos_token=None, eos_token=None, unk_token=None, decoder=None,
                          pre_tokenizer=Whitespace(), bpe={"ignore_merges": True},
                          model_max_length=4)
