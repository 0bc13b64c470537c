"""A program for several ranks: are the gradients over MPI those of one process, bit for bit?

Rank 0 prints {name of a case: {what: whether it holds on all ranks, …}} as JSON.
"""

import json
import sys

import numpy as np
from mpi4py import MPI
from tiny_models import base_model

from minillm.models.lora import LoraConfig, inject
from minillm.nn.layers import Linear
from minillm.nn.loss import mean_squared_error_loss
from minillm.nn.module import Module
from minillm.training.muon import make_optimizer, optimizer_groups
from minillm.training.parallel.buckets import BucketedSum
from minillm.training.parallel.communicator import Ranks
from minillm.training.parallel.ordered_sum import OrderedSum
from minillm.training.parallel.sharding import ShardedSum
from minillm.training.random_state import reseed
from minillm.training.settings import Settings

COUNT = 4  # micro-batches


class Uneven(Module):
    """Micro-batch i runs the first layer 1 + i % 3 times, and the last of two layers only if i is
    odd.
    """

    def __init__(self):
        rng = np.random.default_rng(0)
        self.first, self.second, self.third, self.unused = (
            Linear(8, 8, rng=rng, std=0.5) for _ in range(4))

    def forward(self, x, index):
        self.remember(index)
        for _ in range(1 + index % 3):
            x = self.first(x)
        return self.third(x) if index % 2 else self.second(x)

    def backward(self, dy):
        index = self.recall()
        dx = (self.third if index % 2 else self.second).backward(dy)
        for _ in range(1 + index % 3):
            dx = self.first.backward(dx)
        return dx


def uneven_loss(model, index):
    rng = np.random.default_rng(index)
    x, y = rng.normal(size=(2, 5, 8)).astype(np.float32)
    return mean_squared_error_loss(model, model(x, index), y)


def model_loss(model, index):
    """The loss of a model of tests/fixtures on random ids."""
    rng = np.random.default_rng(index)
    ids = rng.integers(5, 40, size=(2, 7))
    labels = rng.integers(2, size=2) if "Classification" in type(model).__name__ else ids
    return model(input_ids=ids, labels=labels).loss


def lora():
    model = base_model("gpt2")
    inject(model, LoraConfig(r=2, lora_alpha=4.0, target_modules="all-linear"))
    return model


CASES = {
    **{name: (lambda name=name: base_model(name), model_loss)
       for name in ("gpt2", "llama", "bert", "marian")},
    "lora": (lora, model_loss),
    "muon": (lambda: base_model("apertus"), model_loss),
    "uneven": (Uneven, uneven_loss),
}


def gradients_of(summed, model, loss, mine, step):
    for index in range(COUNT):
        if mine[index]:
            reseed(model, 7, index)
            with summed.of(index, COUNT):
                (loss(model, index + 5 * step) / COUNT).backward()
    return [None if parameter.grad is None else parameter.grad.copy()
            for parameter in summed.parameters]


def same(a, b):
    return (a is None and b is None) or (
        a is not None and b is not None and a.tobytes() == b.tobytes())


def check(ranks, make, loss, settings):
    models = [make().train() for _ in range(3)]
    groups = [[{"params": model.parameters()}] if isinstance(model, Uneven)
              else optimizer_groups(model, settings) for model in models]
    learning = [[parameter for group in each for parameter in group["params"]] for each in groups]
    alone = OrderedSum(learning[0])
    bucketed = BucketedSum(ranks, learning[1], bucket_bytes=300)
    sharded = ShardedSum(ranks, learning[2], bucket_bytes=300)
    optimizers = [make_optimizer(summed.optimized(each), settings)
                  for summed, each in zip((alone, bucketed, sharded), groups)]
    facts = {"several buckets": len(bucketed.buckets) > 2}
    for step in range(2):
        wanted = gradients_of(alone, models[0], loss, [True] * COUNT, step)
        got = gradients_of(bucketed, models[1], loss, ranks.share(COUNT), step)
        part = gradients_of(sharded, models[2], loss, ranks.share(COUNT), step)
        mine = [owner == ranks.rank for owner in sharded.owners]
        facts[f"gradients {step}"] = all(map(same, got, wanted))
        facts[f"sharded gradients {step}"] = all(
            same(a, b if is_mine else None) for a, b, is_mine in zip(part, wanted, mine))
        facts[f"norms {step}"] = alone.norm() == bucketed.norm() == sharded.norm()
        for summed, optimizer in zip((alone, bucketed, sharded), optimizers):
            optimizer.step(grad_scale=0.5)
            summed.share_weights()
        for which, (name, others) in enumerate((("", learning[1]), ("sharded ", learning[2]))):
            facts[f"{name}weights {step}"] = all(
                same(a.data, b.data) for a, b in zip(learning[0], others))
    if isinstance(models[1], Uneven):
        facts["sent twice"] = ranks.size != 2 or bucketed.repeated > 0
    else:
        facts["sent before the backward ended"] = bucketed.early >= len(bucketed.buckets) - 1
    kept = alone.moments(optimizers[0])
    gathered = sharded.moments(optimizers[2])
    if ranks.rank == 0:
        facts["moments"] = list(kept) == list(gathered) and all(
            same(kept[name], gathered[name]) for name in kept)
    fewer = make_optimizer(sharded.optimized(groups[2]), settings)
    sharded.restore(fewer, 2, 0.1, kept)
    facts["restored moments"] = all(
        same(a, optimizers[2].state_dict()[name]) for name, a in fewer.state_dict().items()
        if isinstance(a, np.ndarray))
    return facts


def main():
    ranks = Ranks()
    results = {}
    for name in sys.argv[1].split(","):
        settings = Settings(lr=0.1, layer_lr_decay=0.9,
                            optimizer="muon" if name == "muon" else "adamw")
        found = ranks.all_gather(check(ranks, *CASES[name], settings))
        results[name] = {what: all(facts.get(what, True) for facts in found) for what in found[0]}
    if ranks.rank == 0:
        print(json.dumps(results))
    MPI.COMM_WORLD.Barrier()


if __name__ == "__main__":
    main()
