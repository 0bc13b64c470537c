"""Before and after for a language model: its stereotype, and how well it predicts text.

A small GPT-2 learns from sentences in which a share `bias` follows the stereotypes of words.py:

    The engineer said that he was tired.        nine times
    The engineer said that she was tired.       once

and again with each remedy of mending.py: both versions of each sentence, weights under which
occupation and pronoun are independent, or the model without the direction from *he* to *she* in its
table of embeddings. Beside the preference in minimal pairs (pair_scores.py) stands the loss: on
sentences in which the pronoun says nothing, and on sentences like the training's, where who doesn't
use it any more predicts worse.
"""

from typing import NamedTuple

import numpy as np

from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.models.gpt2_config import GPT2Config
from minillm.ops.softmax import softmax
from minillm.tasks.data.drawing import pick
from minillm.tasks.examples import ExampleBatches
from minillm.tasks.intervals import Score, bootstrap
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import AdamW
from minillm.trust.fairness.augmentation import augment_examples
from minillm.trust.fairness.mending import BATCH, RATE, WARMUP, Mending, plot
from minillm.trust.fairness.pair_scores import pair_bias, reader_of, score_pairs
from minillm.trust.fairness.pairs import template_pairs
from minillm.trust.fairness.words import TEMPLATES

VOCAB, LONGEST = 500, 32  # tokens
SIZES = {"n_embd": 48, "n_layer": 2, "n_head": 4}
STATES = {"tired": "tired happy late busy ready calm",
          "hungry": "hungry ill cold thirsty bored sad"}


class TextMeasured(NamedTuple):
    """intervals.Score each

    loss: nats a token, on sentences in which the pronoun says nothing;  loss_as_trained: on
        sentences like the training's
    preference, difference: of the stereotype in minimal pairs; without bias 0.5 and 0 nats
    """

    loss: Score
    loss_as_trained: Score
    preference: Score
    difference: Score


def generate(n, seed=0, bias=0.9):
    """-> {"train": examples, "valid": …, "test": …}, each with "text", "group" and "label", the
    occupation; the bias is in training and validation, and the test has each sentence twice

    Raises ValueError for a bias that isn't a share.
    """
    if not 0 <= bias <= 1:
        raise ValueError(f"bias is {bias}, wanted 0 to 1")
    rng = np.random.default_rng(seed)
    entry = TEMPLATES[0]
    jobs = [(job, side) for side, name in enumerate(("first", "second"))
            for job in entry[name].split()]

    def draw():
        template, (job, expected) = pick(rng, entry["templates"]), pick(rng, jobs)
        for word, states in STATES.items():
            template = template.replace(word, pick(rng, states.split()))
        return template, job, expected if rng.random() < bias else 1 - expected

    def example(template, job, group):
        text = template.format(x=job, g=entry["groups"][0].split()[group])
        return {"text": text, "group": group, "label": job}

    held = max(n // 10, 1)
    return {**{split: [example(*draw()) for _ in range(size)]
               for split, size in (("train", n), ("valid", held))},
            "test": [example(template, job, group) for template, job, _ in
                     (draw() for _ in range(held)) for group in (0, 1)]}


class TextMending(Mending):
    """The training of a language model that remedies are tried in: see Mending.

    splits: as `generate` makes them
    """

    def __init__(self, splits, steps=300, seed=0):
        self.splits, self.kind, self.steps, self.seed = splits, "gender", steps, seed
        self.directions = 1
        texts = [e["text"] for e in augment_examples(splits["train"])]
        self.tokenizer = GPT2Tokenizer.train(texts, VOCAB)
        self.pairs = [pair for pair in template_pairs(("en",))
                      if pair.concept == TEMPLATES[0]["concept"]]

    def _trained(self, examples, weights, progress):
        """The loss of a token counts as its sentence does:  dlogits = w (p - y) / n"""
        weights = [1.0] * len(examples) if weights is None else weights
        rows = [(self._row(e["text"]), w) for e, w in zip(examples, weights)]
        config = GPT2Config(vocab_size=len(self.tokenizer), n_positions=LONGEST,
                            initializer_range=0.1, **SIZES)
        model = GPT2LMHeadModel(config, seed=self.seed).train()
        optimizer = AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
        batches = ExampleBatches(rows, BATCH, self.seed)
        for step in range(self.steps):
            batch = next(batches)
            T = max(len(row) for row, _ in batch)
            ids = np.array([row + [0] * (T - len(row)) for row, _ in batch])
            seen = np.arange(1, T) < np.array([len(row) for row, _ in batch])[:, None]
            w = seen * np.array([w for _, w in batch])[:, None]
            dlogits, _ = softmax(model(ids[:, :-1]).logits)
            np.put_along_axis(dlogits, ids[:, 1:, None], np.take_along_axis(
                dlogits, ids[:, 1:, None], -1) - 1, -1)
            optimizer.zero_grad()
            model.backward((dlogits * (w / seen.sum())[..., None]).astype(np.float32))
            optimizer.lr = RATE * min(1, (step + 1) / WARMUP) * (1 - step / self.steps)
            optimizer.step(grad_scale=clip_factor(grad_norm(model.parameters()), 1.0))
            progress(step + 1)
        return model.eval()

    def _row(self, text):
        end = self.tokenizer.eos_token_id
        return [end, *self.tokenizer.encode(text), end][:LONGEST]

    def measure(self, model):
        """-> TextMeasured"""
        reader = reader_of(model, self.tokenizer)
        losses = [_mean_loss(reader, [e["text"] for e in self.splits[split]], self.seed)
                  for split in ("test", "valid")]
        strata = np.array([pair.stratum for pair in self.pairs])
        bias = pair_bias(score_pairs(reader, self.pairs), strata, self.seed)
        return TextMeasured(*losses, bias.preference, bias.difference)


def _mean_loss(reader, texts, seed):
    """-> Score: nats a token, with the interval of resampled texts"""
    rows = np.array([(losses.sum(), len(losses)) for losses in
                     reader.losses(reader.rows_of(texts))])
    low, high = bootstrap(rows, lambda sums: sums[0] / sums[1], seed)
    return Score(float(rows[:, 0].sum() / rows[:, 1].sum()), low, high)


def plot_text(found):
    """found: what `TextMending.try_all` returns -> matplotlib Figure"""
    return plot(found, "preference", 0.5, {"loss": "test: the pronoun says nothing",
                                           "loss_as_trained": "like the training"},
                "prefers the stereotype")
