"""Membership inference: was this text in the training data? Ask the model's losses.

A model predicts better what it was trained on, so a low loss speaks for a member (Yeom et al.
2018). But some texts are easy for everyone. Each score below corrects for that in its own way;
higher says "member". loss_t is the loss of token t, T the number of tokens, z the text's length in
bits when zlib has compressed it:

    loss        - 1/T Σ_t loss_t
    reference   1/T Σ_t (reference's loss_t) - 1/T Σ_t loss_t      against a model without the text
    zlib        - Σ_t loss_t / z                           Carlini et al. 2021, section 5.2
    min-k       - mean of the k % largest loss_t           Shi et al. 2024, eq. 1, k = 20
    blind       - z / T                                    doesn't ask the model at all

`blind` is the control. Members and others may differ by topic or style, and then any score seems to
work (Das, Zhang and Tramèr 2024): only what a score has beyond `blind` is the model's memory.
"""

import math
import zlib
from typing import NamedTuple

import numpy as np

from minillm.tasks.intervals import wilson
from minillm.trust.roc import auc, auc_interval, roc, tpr_at

K = 0.2
LEVELS = (0.01, 0.001)  # of the FPR
BLIND = "blind"


class Attack(NamedTuple):
    """How well a score tells members from others.

    auc, auc_interval: the area under the ROC curve, and its 95 % interval over documents
    tpr: {level of the FPR: TPR};  tpr_interval: {level: 95 % interval}
    fpr, tpr_curve: float (k,), the curve
    """

    auc: float
    auc_interval: tuple
    tpr: dict
    tpr_interval: dict
    fpr: np.ndarray
    tpr_curve: np.ndarray


def scores(losses, texts, reference=None):
    """-> {name: float (n,)}, higher for members

    losses: list of float (T,), the losses of each text's tokens, in nats;  texts: the n strings
    reference: the losses of the same texts in another model, in nats, whatever its tokens
    """
    total = np.array([each.sum() for each in losses])
    n_tokens = np.array([len(each) for each in losses])
    bits = np.array([zlib_bits(text) for text in texts])
    found = {"loss": -total / n_tokens}
    if reference is not None:
        found["reference"] = (np.array([each.sum() for each in reference]) - total) / n_tokens
    found["zlib"] = -total / bits
    found["min-k"] = np.array([min_k(each) for each in losses])
    found[BLIND] = -bits / n_tokens
    return found


def min_k(losses, k=K):
    """-> minus the mean of the largest ⌈k T⌉ of T losses"""
    return -float(np.sort(losses)[-math.ceil(k * len(losses)):].mean())


def zlib_bits(text):
    """-> bits of the compressed text"""
    return 8 * len(zlib.compress(text.encode("utf-8", "surrogatepass")))


def attack(members, others, member_groups=None, other_groups=None, seed=0):
    """-> Attack of a score

    members, others: float (n,) and (m,);  member_groups, other_groups: the document of each; None:
        every text is a document of its own
    """
    member_groups = np.arange(len(members)) if member_groups is None else member_groups
    other_groups = np.arange(len(others)) if other_groups is None else other_groups
    fpr, tpr = roc(members, others)
    found = {level: tpr_at(fpr, tpr, level) for level in LEVELS}
    return Attack(
        auc(members, others), auc_interval(members, others, member_groups, other_groups, seed),
        found, {level: wilson(round(each * len(members)), len(members))
                for level, each in found.items()}, fpr, tpr)
