"""What benchmarks/scaling.py gives to the simulator, and what comes out."""

import numpy as np
import pytest

from benchmarks import scaling
from minillm.models.gpt2_config import GPT2Config
from minillm.trust.cost.layers import FLOAT, Workload
from minillm.trust.cost.step import StepCost
from minillm.trust.scale.network import Network


def test_a_prediction_is_the_slower_rank_and_what_it_sends():
    config = GPT2Config(vocab_size=50, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    cost = StepCost(config, workload=Workload(2, 8))
    silent = np.array([[[0.8, 1.0]] * 5, [[0.8, 1.2]] * 5])  # (ranks, rounds, gradients and all)
    network = Network(0.0, 1e6)
    found = scaling.predictions(cost, silent, network)
    sent = FLOAT * cost.parameters / 1e6  # an all-reduce of two ranks sends the array once
    assert found["2 ranks"] == pytest.approx(1.2 + sent)
    update = 1.1 - 0.8
    assert found["2 ranks, sharded"] == pytest.approx((1.1 - update / 2) * 1.2 / 1.1 + sent)


def test_the_models_are_those_that_are_named():
    assert set(scaling.MODELS) == {"demo", "larger"}
    assert all(len(sizes) == 6 for sizes in scaling.MODELS.values())
