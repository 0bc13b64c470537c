"""DP-SGD: training whose result hardly depends on any single example.

Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar and Zhang 2016, "Deep Learning with Differential
Privacy", algorithm 1. Of N examples, with q = L / N for an expected batch of L:

    draw each example with probability q                      Poisson sampling: batches vary, also 0
    g_i = the gradient of example i alone                                  (nn/per_example.py)
    ḡ_i = g_i min(1, C / ‖g_i‖)                               no example weighs more than C
    g̃  = (Σ_i ḡ_i + σ C z) / L,   z ~ N(0, I)                 divided by L, not by the number drawn,
                                                              which would tell who is there

Adam, weight decay, the schedule and all later steps see the examples through g̃ alone, so they cost
no privacy. What the steps together have spent is in privacy_accountant.py.

What is promised, and what isn't, is in `DPSGD.facts`, which every run writes into its run.json.
Two caveats of any implementation with floating-point numbers: they represent neither the clipping
nor Gaussian noise exactly (Mironov 2012), and Philox, with its secret key, passes all statistical
tests, but is no cipher.
"""

import numpy as np

from minillm.json_files import read_json, write_json
from minillm.nn.per_example import per_example_gradients
from minillm.training.privacy_accountant import epsilon_spent, noise_for
from minillm.training.secret_random import SecretRandom


class Examples:
    """The private examples of a task, each of which the guarantee protects.

    unit: what one example is, in words, such as "one review"
    n: their number;  batch(indices): the batch of some of them, as the task's `loss` takes it
    """

    def __init__(self, unit, n, batch):
        self.unit, self.n, self.batch = unit, n, batch

    def __len__(self):
        return self.n


class DPSGD:
    """The private gradients of a run. Its state is the secret key of the steps to come.

    task: a task (task.py) with `private_examples(settings)`
    settings: with dp_epsilon or dp_noise. L = batch_size · grad_accum; a batch is processed in
        pieces of at most batch_size examples, whose clipped sums add up.

    Raises ValueError for a task without such examples, and for fewer of them than L.
    """

    def __init__(self, task, settings):
        require_private_task(type(task))
        self.task, self.settings = task, settings
        self.examples = task.private_examples(settings)
        self.expected = settings.batch_size * settings.grad_accum
        if len(self.examples) < self.expected:
            raise ValueError(f"batch_size · grad_accum is {self.expected}, wanted at most "
                             f"{len(self.examples)}, the number of private examples")
        self.q = self.expected / len(self.examples)
        self.noise = settings.dp_noise
        if self.noise is None:
            self.noise = noise_for(settings.dp_epsilon, self.q, settings.steps, settings.dp_delta)
        self.random = SecretRandom(settings.dp_seed)

    def gradients(self, model):
        """Do one step of algorithm 1: fill the .grad of every trainable parameter with g̃

        -> the mean loss of the examples that were drawn (None for none), their size
        """
        rng = self.random.next_step()
        drawn = np.flatnonzero(rng.random(len(self.examples)) < self.q)
        loss, size = 0.0, 0
        for start in range(0, len(drawn), self.settings.batch_size):
            piece = drawn[start : start + self.settings.batch_size]
            batch = self.examples.batch(piece)
            loss += len(piece) / len(drawn) * self._add_clipped(model, batch, len(piece))
            size += self.task.size(batch)
        self._add_noise(model, rng)
        return loss if len(drawn) else None, size

    def _add_clipped(self, model, batch, n):
        """Add Σ_i ḡ_i over the n examples of a batch to every .grad -> their mean loss"""
        with per_example_gradients(model, n) as examples:
            loss = self.task.loss(model, batch)
            loss.backward()
        examples.add_weighted(clip_factors(examples.norms(), self.settings.dp_clip))
        return loss.item()

    def _add_noise(self, model, rng):
        std = self.noise * self.settings.dp_clip
        for parameter in model.parameters():
            if not parameter.trainable:
                continue
            target, is_used = parameter.gradient_target()
            if not is_used:
                target[...] = 0
            dtype = target.dtype if target.dtype == np.float64 else np.float32
            noise = rng.standard_normal(target.shape, dtype)
            noise *= std
            target += noise
            target /= self.expected

    def epsilon(self, step):
        """-> the ε that the first `step` steps have spent"""
        return epsilon_spent(self.q, self.noise, step, self.settings.dp_delta)

    def state_dict(self):
        return self.random.state_dict()

    def load_state_dict(self, state):
        self.random.load_state_dict(state)

    def facts(self, step):
        """-> dict for run.json after `step` steps: the promise, and its limits"""
        settings = self.settings
        not_covered = [
            f"somebody with k of the examples ({self.examples.unit}) is protected with about k ε and "
            "a larger δ only",
            "the number of the examples, and what was removed or split off before training",
            "the texts held out to validate and test on, and all numbers computed from them, such as "
            "those in the card, model/README.md",
            "the losses in metrics.jsonl and loss.png: they are of private batches, without noise",
            "checkpoints/: they hold the key of the noise to come; publish model/, not the run",
            "settings that were chosen by looking at the results of other runs on the same data",
        ]
        if settings.model is None and settings.tokenizer is None:
            not_covered.insert(0, "the vocabulary: the tokenizer was trained on the private text, "
                                  "and its tokens quote it; --tokenizer takes another one")
        elif settings.model is not None:
            not_covered.append(f"what the model {settings.model} had learned before")
        if settings.dp_seed is not None:
            not_covered.insert(0, "ANYTHING: with dp_seed everybody can compute the noise and "
                                  "subtract it; this run is a test, and not private")
        return {
            "promise": f"(ε, δ)-differential privacy of the weights in model/, for adding or "
                       f"removing {self.examples.unit}",
            "one_example": self.examples.unit, "examples": len(self.examples),
            "sampling_rate": self.q, "expected_batch": self.expected,
            "noise_multiplier": self.noise, "clip": settings.dp_clip, "steps": settings.steps,
            "delta": settings.dp_delta, "target_epsilon": settings.dp_epsilon,
            "spent": {"steps": step, "epsilon": self.epsilon(step)},
            "accountant": "Rényi, Poisson sampling, add or remove one example",
            "not_covered": not_covered,
        }


def clip_factors(norms, max_norm):
    """-> (n,): min(1, C / ‖g_i‖), the factors that scale gradients of these norms to C at most"""
    return max_norm / np.maximum(norms, max_norm)


def require_private_task(cls):
    """ValueError, in one line, unless a task's class has examples that can be kept private"""
    reason = getattr(cls, "why_not_private", None)
    if reason is None and not hasattr(cls, "private_examples"):
        reason = "it has no private_examples"
    if reason is not None:
        raise ValueError(f"differential privacy isn't possible for the task {cls.name}: {reason}")


def record_privacy(path, facts):
    """Replace the privacy facts in a run.json, if there is such a file; atomically"""
    if path.is_file():
        write_json(path, {**read_json(path), "privacy": facts})
