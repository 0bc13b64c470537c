"""The batches of a training step: their shapes, and batches of random numbers of these shapes."""

import itertools

import numpy as np

from minillm.nn.recompute import recompute_blocks
from minillm.text.dataset import IGNORE
from minillm.training.warmups import cut
from minillm.trust.cost.layers import Workload

MASKED = 0.15  # of the tokens, in BERT's pre-training
LOOKED_AT = 16  # batches of a run, to see how long they are


def default_workload(config, head, batch, length):
    """-> the Workload of a batch of texts that are all of this length"""
    if head == "pretraining":  # [CLS] and two [SEP] are never masked
        return Workload(batch, length, predicted=max(1, round(MASKED * batch * (length - 3))))
    if head == "seq2seq_lm":
        return Workload(batch, length, length)
    return Workload(batch, length)


def random_batches(config, head, work):
    """-> a function of a model, for calibration.measure_training: the Loss of random ids

    Raises ValueError for a head whose loss needs labels of a certain kind.
    """
    rng = np.random.default_rng(0)
    B, T, V = work.batch, work.length, config.vocab_size

    def batches(model):
        recompute_blocks(model, work.recompute)
        if head == "causal_lm":
            return lambda: _text_loss(model, rng.integers(V, size=(B, T + 1)))
        if head == "pretraining":
            return lambda: model(**_masked(rng, work, V), sparse_prediction=True).loss
        if head == "seq2seq_lm":
            target = getattr(config, "decoder_vocab_size", None) or V
            return lambda: model(rng.integers(1, V, size=(B, work.source)),
                                 decoder_input_ids=rng.integers(1, target, size=(B, T)),
                                 labels=rng.integers(1, target, size=(B, T))).loss
        if head in ("sequence_classification", "token_classification"):
            shape = (B,) if head == "sequence_classification" else (B, T)
            return lambda: model(rng.integers(1, V, size=(B, T)),
                                 labels=rng.integers(config.num_labels, size=shape)).loss
        raise ValueError(f"head is {head!r}, which has no loss of its own: wanted a task's run")

    return batches


def _text_loss(model, ids):
    return model(ids[:, :-1], shift_labels=ids[:, 1:], return_logits=False).loss


def _masked(rng, work, V):
    ids = rng.integers(1, V, size=(work.batch, work.length))
    labels = np.full(ids.shape, IGNORE)
    labels.flat[rng.permutation(ids.size)[: work.predicted]] = 1
    return {"input_ids": ids, "labels": labels, "next_sentence_label": np.zeros(len(ids), np.int64)}


def workloads_of_run(run):
    """-> list of the Workloads of some batches of a run, from its whole length"""
    task = run.task()
    return [workload_of(task, batch, run.config) for batch in sampled_batches(task, run.settings)]


def sampled_batches(task, settings, n=LOOKED_AT):
    """-> list of n batches: of examples, from the whole run, which may begin with short ones; of
    text, the first ones, in the shapes that batches have over the whole run
    """
    batches = task.batches(settings)
    first = next(batches)
    if not isinstance(first, list):
        spread = np.linspace(0, settings.steps - 1, n).round().astype(int).tolist()
        return [cut(task, batch, settings, step)
                for step, batch in zip(spread, itertools.chain([first], batches))]
    steps = settings.steps * settings.grad_accum
    wanted = set(np.linspace(0, steps - 1, n).round().astype(int).tolist())
    all_batches = itertools.chain([first], batches)
    return [batch for step, batch in zip(range(steps), all_batches) if step in wanted]


def workload_of(task, batch, config):
    """-> Workload of a batch of a task: see training/task.py

    Raises ValueError for a task whose batches have another form than those of minillm.
    """
    if isinstance(batch, tuple):  # text: inputs, targets
        return Workload(*batch[0].shape)
    if isinstance(batch, dict):  # BERT's pre-training
        return Workload(*batch["input_ids"].shape, predicted=int((batch["labels"] != IGNORE).sum()))
    if task.head == "base":
        return _of_pairs(task, batch)
    if not hasattr(task, "encode"):
        raise ValueError(f"task is {task.name!r}, whose batches have a form that has no known cost")
    arrays = task.encode(batch, config)
    if task.head == "seq2seq_lm":
        return Workload(*arrays["labels"].shape, arrays["input_ids"].shape[1])
    return Workload(*arrays["input_ids"].shape)


def _of_pairs(task, batch):
    """Two texts an example, in two passes of different lengths -> about the same work in one pass"""
    texts = [example["text"] for example in batch]
    partners = [example.get("partner", example["question"]) for example in batch
                if example["question"]]
    shapes = [task.tokenize(each)["input_ids"].shape for each in (texts, partners) if each]
    n_texts = sum(B for B, _ in shapes)
    return Workload(n_texts, round(sum(B * T for B, T in shapes) / n_texts),
                    passes=len(shapes))
