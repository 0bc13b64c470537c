"""What one training step, one prompt and one generated token cost: operations, memory, bytes moved.

All are formulas of the configuration and the shape of a batch. Nothing is computed and no weight is
drawn.
"""

from dataclasses import dataclass, replace

from minillm.models.auto import model_class
from minillm.nn import DecoderBlock, EncoderBlock, GatedFeedForward
from minillm.ops import linear_cross_entropy
from minillm.ops.orthogonalize import STEPS
from minillm.training.muon import inner_matrices
from minillm.trust.cost.layers import (
    FLOAT,
    Workload,
    block_bytes,
    by_part,
    chunk_bytes,
    kept_bytes,
    layers,
    loses_logits,
    recomputed_bytes,
)
from minillm.trust.cost.newton_schulz import newton_schulz_flops

EVALUATION_BATCH = 16  # windows at once: training/evaluate.py


@dataclass
class Memory:
    """Bytes of arrays in training, at the moment of a step when they are most."""

    weights: int
    gradients: int
    optimizer: int  # Adam's two moments; of Muon's matrices one
    activations: int  # what the forward keeps
    logits: int  # 0 if they never exist together: a chunk of them is temporary
    temporary: int  # the largest that a backward needs beside them

    @property
    def peak(self):
        return (self.weights + self.gradients + self.optimizer + self.activations + self.logits
                + self.temporary)


class StepCost:
    """The costs of a model of `config` with `head`, for a Workload.

    A step is one in which all parameters learn: frozen ones cost less.
    optimizer, muon_steps: as in training/settings.py
    """

    def __init__(self, config, head="causal_lm", workload=None, model=None, optimizer="adamw",
                 muon_steps=STEPS):
        self.config, self.head = config, head
        self.optimizer, self.muon_steps = optimizer, muon_steps
        self.model = model or model_class(config.model_type, head)(config, draw_weights=False)
        self.workload = workload or Workload(16, config.position_limit or 128)
        self.parts = by_part(layers(self.model, self.workload))

    # ---- operations

    @property
    def parameters(self):
        return sum(part.parameters for part in self.parts.values())

    @property
    def forward_flops(self):
        return sum(part.forward for part in self.parts.values())

    @property
    def flops(self):
        """Of the forward and the backward of a batch"""
        return sum(part.forward + part.backward for part in self.parts.values())

    @property
    def update_flops(self):
        """Of the products in an update of the weights: Muon's, once a step; AdamW has none"""
        return newton_schulz_flops(self.model, self.muon_steps) if self.optimizer == "muon" else 0

    @property
    def rule_of_thumb(self):
        """6 N D: N parameters without embeddings, D tokens          (Kaplan et al. 2020, sec. 2.1)

        It leaves out the products of queries and keys, and of weights and values; and the output
        head, if its matrix is counted among the embeddings, as that of a small model is for its
        larger part.
        """
        embeddings = self.parts["embeddings"].parameters if "embeddings" in self.parts else 0
        return 6 * (self.parameters - embeddings) * self.workload.tokens

    # ---- memory

    def memory(self):
        """-> Memory of a training step (float32), all of whose parameters learn"""
        P, work = self.parameters, self.workload
        logits, temporary = FLOAT * self._logits(work), self._temporary(work)
        temporary += recomputed_bytes(self.model, work)
        if loses_logits(self.model, work):
            logits, temporary = 0, max(temporary, chunk_bytes(self.model, work))
        if self.head != "causal_lm":  # their gradient is a second array: only text overwrites them
            logits *= 2
        return Memory(FLOAT * P, FLOAT * P, FLOAT * self._moments(),
                      kept_bytes(self.model, work), logits, temporary)

    def _moments(self):
        """-> how many numbers the optimizer keeps"""
        if self.optimizer == "muon":
            return 2 * self.parameters - sum(each.size for each in inner_matrices(self.model))
        return 2 * self.parameters

    def _logits(self, work):
        """-> how many logits a batch gets"""
        if self.head in ("causal_lm", "seq2seq_lm"):
            return work.batch * work.length * self._vocabulary()
        if self.head == "pretraining":
            n = work.batch * work.length if work.predicted is None else work.predicted
            return n * self.config.vocab_size
        if self.head in ("token_classification", "question_answering"):
            return work.batch * work.length * self.config.num_labels
        return 0  # a few a text

    def _vocabulary(self):
        return getattr(self.config, "decoder_vocab_size", None) or self.config.vocab_size

    def _temporary(self, work):
        """The backward of a feed-forward network: gradients of all that is d_ff wide, and four of
        the residual stream's width."""
        N = work.batch * max(work.length, work.source) // work.passes
        block = self._block()
        d, d_ff = block.attention.d_model, block.feed_forward.contract.weight.shape[0]
        wide = 3 if isinstance(block.feed_forward, GatedFeedForward) else 2
        return FLOAT * N * (wide * d_ff + 4 * d)

    def evaluation_memory(self):
        """-> bytes beside weights, gradients and moments while the held-out text is measured"""
        work = replace(self.workload, batch=EVALUATION_BATCH)
        if loses_logits(self.model, work):
            return max(chunk_bytes(self.model, work), self._temporary(work))
        return FLOAT * self._logits(work) + self._temporary(work)

    def peak(self):
        """-> bytes of arrays, at most, in a training run with evaluations"""
        memory = self.memory()
        lasting = memory.weights + memory.gradients + memory.optimizer
        return max(memory.peak, lasting + self.evaluation_memory())

    def largest_batch(self, n_bytes):
        """-> the largest batch whose step takes at most `n_bytes` of arrays; 0 if none does

        The peak is a + b B, so two batches determine it; with other a and b if the logits are too
        large to be kept.
        """
        whole = self._largest_by(1, n_bytes)
        one = FLOAT * self._logits(self._batch(1))
        first = 1 + linear_cross_entropy.LARGE // max(1, one)  # the smallest with chunks
        if not loses_logits(self.model, self._batch(first)):
            return whole
        in_chunks = self._largest_by(first, n_bytes)
        return in_chunks if in_chunks >= first else min(whole, first - 1)

    def _largest_by(self, n, n_bytes):
        """-> the largest batch if the peaks of n and n + 1 examples are on its line"""
        small, more = (StepCost(self.config, self.head, self._batch(m), self.model,
                                self.optimizer).memory().peak for m in (n, n + 1))
        return max(0, n + int((n_bytes - small) // (more - small)))

    def _batch(self, n):
        work = self.workload
        predicted = work.predicted and max(1, round(work.predicted * n / work.batch))
        return replace(work, batch=n, predicted=predicted)

    def bytes_moved(self):
        """-> {what: bytes} that a training step reads and writes at least, from caches or memory

        weights: read forward and backward; their gradients written. optimizer: the gradients' norm,
        then weights, gradients and two moments read, all but the gradients written. activations:
        written once, read once. logits: written, read for the loss, turned into their gradient,
        which the head reads twice.
        """
        memory, P = self.memory(), self.parameters
        return {"weights": 3 * FLOAT * P, "optimizer": 8 * FLOAT * P,
                "activations": 2 * memory.activations, "logits": 6 * FLOAT * self._logits(
                    self.workload)}

    # ---- generating

    @property
    def generates(self):
        return self.head in ("causal_lm", "seq2seq_lm")

    def prompt(self, length, batch=1):
        """-> StepCost whose forward reads a prompt, and scores its last token"""
        work = Workload(batch, 1, length) if self.head == "seq2seq_lm" else Workload(
            batch, length, scored=1)
        return StepCost(self.config, self.head, work, self.model)

    def token(self, past, batch=1, source=0):
        """-> StepCost whose forward reads one token after `past` others"""
        return StepCost(self.config, self.head,
                        Workload(batch, 1, source, past=past, scored=1), self.model)

    def cache_bytes(self, length, batch=1, source=0):
        """-> bytes of the keys and values of `length` tokens, and of a decoder's source"""
        total = 0
        for block in self.model.modules():
            if isinstance(block, DecoderBlock):
                attention = block.attention
                total += 2 * batch * length * attention.n_kv_heads * attention.head_dim
                if getattr(block, "residual_cross", None) is not None:
                    cross = block.cross_attention
                    total += 2 * batch * source * cross.n_kv_heads * cross.head_dim
        return FLOAT * total

    def generating_memory(self, prompt, new, batch=1):
        """-> bytes of arrays, at most: the weights, the cache, and what reading the prompt takes"""
        source = prompt if self.head == "seq2seq_lm" else 0
        cache = self.cache_bytes(new if source else prompt + new, batch, source)
        reading = self._temporary(Workload(batch, prompt))
        return FLOAT * (self.parameters + batch * self._vocabulary()) + cache + reading

    def token_bytes(self, past, batch=1):
        """-> bytes that generating a token moves at least: all weights and the cache are read

        Of the embeddings, one row is read for each token, unless the head has the same table.
        """
        unread = 0
        if "embeddings" in self.parts and "head" in self.parts and self.parts["head"].parameters:
            unread = self.parts["embeddings"].parameters
        return FLOAT * (self.parameters - unread) + self.cache_bytes(past, batch)

    def _block(self):
        return max((module for module in self.model.modules()
                    if isinstance(module, (EncoderBlock, DecoderBlock))),
                   key=lambda block: block_bytes(block, 1))
