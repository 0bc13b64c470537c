"""Training on many machines: by hand on arrays, on paper, and where both have a closed form."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.models.gpt2_config import GPT2Config
from minillm.training.local_steps import OuterStep
from minillm.training.noise_scale import noise_scale
from minillm.trust.cost.layers import FLOAT, Workload
from minillm.trust.cost.step import StepCost
from minillm.trust.scale import batch_size, network
from minillm.trust.scale.cluster import Cluster, expected_maximum, factor_for, step_time
from minillm.trust.scale.compression import BFLOAT16, INT8, NONE, read_compression, top_k
from minillm.trust.scale.network import ALGORITHMS, Network, all_reduce, read_network
from minillm.trust.scale.profile import (
    StepProfile,
    profile_of_rate,
    profile_of_size,
    profile_of_times,
)
from minillm.trust.scale.ring import owner_all_reduce, ring_all_reduce

# ---- an all-reduce by hand


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 9), each=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_ring_gives_the_sum_and_sends_the_least(n, each, seed):
    arrays = list(np.random.default_rng(seed).standard_normal((n, n * each), np.float32))
    before = [array.copy() for array in arrays]
    for function in (ring_all_reduce, owner_all_reduce):
        sums, sent = function(arrays)
        for result in sums:
            np.testing.assert_array_equal(result, sums[0])  # the same bits on all nodes
            np.testing.assert_allclose(result, np.sum(arrays, axis=0), rtol=1e-4, atol=1e-5)
        assert (sent * n == 2 * (n - 1) * arrays[0].nbytes).all()
    np.testing.assert_array_equal(arrays, before)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 9), size=st.integers(1, 40))
def test_sizes_that_n_does_not_divide_are_summed_too(n, size):
    arrays = list(np.random.default_rng(n).integers(-9, 9, size=(n, size)))
    for function in (ring_all_reduce, owner_all_reduce):
        np.testing.assert_array_equal(function(arrays)[0], [np.sum(arrays, axis=0)] * n)


def test_owners_add_in_the_order_of_nodes_and_a_ring_does_not():
    arrays = list(np.random.default_rng(0).standard_normal((5, 1000), np.float32))
    in_order = arrays[0].copy()
    for array in arrays[1:]:
        in_order += array
    np.testing.assert_array_equal(owner_all_reduce(arrays)[0][0], in_order)
    assert (ring_all_reduce(arrays)[0][0] != in_order).any()


# ---- the simulator


profiles = st.builds(
    StepProfile, st.floats(0.01, 2), st.lists(st.tuples(st.floats(0.001, 1), st.integers(
        0, 10**8)), min_size=1, max_size=8).filter(lambda stages: sum(n for _, n in stages))
    .map(tuple), st.floats(0, 0.2))
networks = st.builds(Network, st.floats(0, 1e-3), st.floats(1e7, 1e11))
compressions = st.sampled_from([NONE, BFLOAT16, INT8, top_k(0.01)])
clusters = st.builds(
    Cluster, st.integers(2, 2000), networks, st.sampled_from(["best", *ALGORITHMS]),
    st.integers(10**5, 10**8), st.booleans(), st.just(False), compressions, st.floats(0, 0.2))


@settings(max_examples=60, deadline=None)
@given(profiles, clusters, st.integers(1, 4))
def test_without_overlap_a_step_is_the_sum_of_its_parts(profile, cluster, accumulate):
    cluster = with_(cluster, overlap=False, jitter=0.0)
    count = max(1, round(profile.n_bytes / cluster.bucket))
    bucket = cluster.compression.all_reduce(cluster.nodes, profile.n_bytes / count,
                                            cluster.network, cluster.algorithm)
    found = step_time(profile, cluster, accumulate)
    assert found.seconds == pytest.approx(
        accumulate * (profile.forward + profile.backward) + profile.update + count * bucket)
    assert found.exposed == pytest.approx(found.communication)


@settings(max_examples=60, deadline=None)
@given(profiles, clusters)
def test_a_step_is_never_faster_than_either_of_its_parts(profile, cluster):
    found = step_time(profile, cluster)
    assert found.seconds >= max(found.compute, profile.forward + found.communication) * (1 - 1e-9)
    assert found.seconds <= found.compute + found.communication + 1e-9
    assert 0 < found.efficiency <= 1 + 1e-9 and -1e-9 <= found.share < 1
    starts_and_ends = [time for bucket in found.buckets for time in bucket[1:]]
    assert starts_and_ends == sorted(starts_and_ends)  # one link, one bucket at a time


@settings(max_examples=40, deadline=None)
@given(profiles, clusters)
def test_one_node_and_an_infinite_network_only_compute(profile, cluster):
    alone = step_time(profile, with_(cluster, nodes=1))
    assert alone.seconds == alone.alone == profile.alone and alone.sent == 0
    ideal = with_(cluster, network=Network(0.0, math.inf), jitter=0.0)
    assert step_time(profile, ideal).seconds == pytest.approx(profile.alone)


@settings(max_examples=60, deadline=None)
@given(profiles, clusters, st.floats(1, 10))
def test_a_better_network_never_makes_a_step_slower(profile, cluster, factor):
    seconds = step_time(profile, cluster).seconds
    network = cluster.network
    for better in (Network(network.latency, factor * network.bandwidth),
                   Network(network.latency / factor, network.bandwidth)):
        assert step_time(profile, with_(cluster, network=better)).seconds <= seconds * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(profiles, clusters.filter(lambda cluster: not cluster.compression.is_sparse))
def test_a_sharded_optimizer_sends_as_much_and_updates_a_part(profile, cluster):
    cluster = with_(cluster, compression=NONE, overlap=False)
    plain, sharded = (step_time(profile, with_(cluster, shard_optimizer=flag))
                      for flag in (False, True))
    assert sharded.sent == pytest.approx(plain.sent)
    assert sharded.communication == pytest.approx(plain.communication + all_reduce(
        cluster.nodes, profile.n_bytes, cluster.network, cluster.algorithm) / 2 - (
        plain.communication / 2))
    assert sharded.compute <= plain.compute


@settings(max_examples=30, deadline=None)
@given(profiles, clusters, st.integers(2, 500))
def test_local_steps_divide_the_communication(profile, cluster, H):
    one = step_time(profile, with_(cluster, jitter=0.0, overlap=False, bucket=10**12))
    many = step_time(profile, with_(cluster, jitter=0.0, local_steps=H))
    assert many.exposed == pytest.approx(one.exposed / H)
    assert many.sent == pytest.approx(one.sent / H)


def with_(cluster, **changes):
    from dataclasses import replace

    return replace(cluster, **changes)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10), st.floats(1, 1e9), networks)
def test_the_formulas_of_thakur_rabenseifner_and_gropp(power, n_bytes, net):
    n, a, b = 2**power, net.latency, net.bandwidth
    moved = 2 * (n - 1) / n * n_bytes / b
    assert network.ring(n, n_bytes, net) == pytest.approx(2 * (n - 1) * a + moved)
    assert network.halving(n, n_bytes, net) == pytest.approx(2 * power * a + moved)
    assert network.tree(n, n_bytes, net) == pytest.approx(2 * power * (a + n_bytes / b))
    assert all_reduce(n, n_bytes, net) == (0 if n == 1 else min(
        each(n, n_bytes, net) for each in ALGORITHMS.values()))


def test_sparse_gradients_are_gathered_and_never_take_more_than_dense_ones():
    net, n_bytes, sparse = Network(0.0, 1e9), 10**8, top_k(0.01)
    few, many = (sparse.all_reduce(n, n_bytes, net, "ring") for n in (2, 1000))
    assert few == pytest.approx(0.02 * 1e8 / 1e9)  # what one other node sends
    assert many == all_reduce(1000, n_bytes, net, "ring")
    assert sparse.sent(2, n_bytes) == 0.02 * n_bytes


def test_the_slowest_of_many():
    assert expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-4)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-4)
    draws = np.random.default_rng(0).normal(size=(20_000, 64)).max(axis=1)
    assert expected_maximum(64) == pytest.approx(draws.mean(), abs=0.02)


def test_the_batch_for_an_efficiency():
    profile, cluster = profile_of_size(1e9, 1024, 1e14), Cluster(64, read_network("10Gbit"))
    for efficiency in (0.5, 0.9):
        factor = factor_for(efficiency, profile, cluster)
        assert step_time(profile.batch_times(factor), cluster).efficiency == pytest.approx(
            efficiency, abs=1e-4)
    assert factor_for(0.9, profile, with_(cluster, jitter=0.5)) == math.inf
    assert factor_for(0.9, profile, with_(cluster, nodes=1)) == 0


# ---- profiles


def test_a_profile_has_all_parameters_and_the_tied_table_last():
    config = GPT2Config(vocab_size=50, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    cost = StepCost(config, "causal_lm", Workload(2, 8))
    profile = profile_of_rate(cost, 1e9)
    assert profile.n_bytes == FLOAT * cost.parameters
    assert profile.alone == pytest.approx(cost.flops / 1e9)
    assert profile.stages[0][1] == 0 and profile.stages[-1][1] == FLOAT * 50 * 16
    measured = profile_of_times(cost, 1.0, 2.0, 0.5)
    assert measured.backward == pytest.approx(2.0) and measured.n_bytes == profile.n_bytes
    assert profile_of_size(1e6, 10, 1e9).alone == pytest.approx(6e7 / 1e9)


# ---- larger batches


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6))
def test_steps_against_examples_is_a_hyperbola(batch, critical, least):
    steps = batch_size.steps_needed(batch, critical, least)
    examples = batch_size.examples_needed(batch, critical, least)
    assert examples == pytest.approx(batch * steps)
    assert (steps / least - 1) * (examples / (least * critical) - 1) == pytest.approx(1)
    assert batch_size.useful(batch, critical) == pytest.approx(least * critical / examples)


def test_the_critical_batch_of_language_models():
    assert batch_size.critical_batch(3.0) == pytest.approx(1.07e6, rel=0.01)


def test_the_noise_scale_of_gradients_that_are_known():
    rng = np.random.default_rng(0)
    G, std, b, B = np.array([3.0, 4.0, 0.0, 0.0]), 10.0, 2, 32
    norms = {size: np.mean([np.sum((G + std * rng.normal(size=(size, 4)).mean(axis=0)) ** 2)
                            for _ in range(4000)]) for size in (b, B)}
    found = noise_scale(norms[b], norms[B], b, B)
    assert found.signal == pytest.approx(25, rel=0.1)
    assert found.noise == pytest.approx(4 * std**2, rel=0.1)
    assert found.examples == pytest.approx(16, rel=0.2)
    assert math.isnan(noise_scale(5.0, 1.0, 1, 2).examples)
    with pytest.raises(ValueError, match="wanted 0 < b < B"):
        noise_scale(1.0, 1.0, 4, 4)


# ---- local steps


@settings(max_examples=20, deadline=None)
@given(k=st.integers(1, 4), seed=st.integers(0, 99))
def test_without_momentum_the_outer_step_is_the_mean_of_the_workers(k, seed):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    workers = [[rng.normal(size=array.shape) for array in weights] for _ in range(k)]
    outer = OuterStep(weights, lr=1.0, momentum=0.0)
    outer.step(workers)
    for got, *theirs in zip(outer.weights, *workers):
        np.testing.assert_allclose(got, np.mean(theirs, axis=0), atol=1e-12)


def test_two_outer_steps_by_hand():
    outer = OuterStep([np.array([1.0])], lr=0.5, momentum=0.9)
    outer.step([[np.array([0.0])], [np.array([0.4])]])  # Δ = 0.8, v = 0.8
    assert outer.weights[0][0] == pytest.approx(1 - 0.5 * (0.8 + 0.9 * 0.8))
    outer.step([[outer.weights[0] - 0.1]])  # Δ = 0.1, v = 0.9 · 0.8 + 0.1
    assert outer.weights[0][0] == pytest.approx(0.24 - 0.5 * (0.1 + 0.9 * 0.82))


# ---- names, and the command


@pytest.mark.parametrize("text, latency, bandwidth", [
    ("10Gbit", 20e-6, 1.25e9), ("100Gbit/5us", 5e-6, 12.5e9), ("2.5 Mbit/1ms", 1e-3, 312_500)])
def test_a_network_by_its_name(text, latency, bandwidth):
    found = read_network(text)
    assert (found.latency, found.bandwidth) == (pytest.approx(latency), pytest.approx(bandwidth))


@pytest.mark.parametrize("text", ["", "10", "10GB", "0Gbit", "-1Gbit", "1.1.1Gbit", "10Gbit/",
                                  "10Gbit/5", "10Gbit/-1s", "10Gbit/infs"])
def test_what_is_no_network(text):
    with pytest.raises(ValueError, match="network is .* wanted bits a second"):
        read_network(text)


def test_kinds_of_compression():
    assert read_compression("bfloat16") is BFLOAT16 and read_compression("topk:0.01").share == 0.02
    for name in ("", "fp8", "topk", "topk:", "topk:0", "topk:2", "topk:nan"):
        with pytest.raises(ValueError, match="compress is .* wanted"):
            read_compression(name)


def test_what_a_cluster_refuses():
    for changes in (dict(nodes=0), dict(jitter=1.0), dict(algorithm="star"), dict(bucket=0),
                    dict(shard_optimizer=True, local_steps=2),
                    dict(shard_optimizer=True, compression=top_k(0.1))):
        with pytest.raises(ValueError, match=next(iter(changes))[:8]):
            Cluster(**{"nodes": 2, "network": read_network("1Gbit"), **changes})


@pytest.fixture
def command(capsys):
    from minillm.cli import main

    def run(*arguments):
        status = main(["cost", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_the_command_on_two_networks(command, tmp_path):
    picture = tmp_path / "scale.svg"
    arguments = ("scale", "--model", "gpt2", "--flops-per-second", 1e14, "--nodes", 1, 8, 64,
                 "--critical-batch", 1e6, "--compare", "--picture", picture)
    status, out, _ = command(*arguments, "--json")
    report = json.loads(out)
    assert status == 0 and report["parameters"] == 124_439_808 and picture.stat().st_size > 1000
    slow, fast = ([row for row in report["steps"] if row["network"] == name]
                  for name in ("10Gbit", "100Gbit"))
    assert slow[0]["efficiency"] == fast[0]["efficiency"] == 1
    assert slow[1]["seconds"] > fast[1]["seconds"] and fast[1]["sooner"] > 1
    assert slow[1]["sent"] == pytest.approx(2 * 7 / 8 * 4 * 124_439_808)
    assert {each["variant"] for each in report["comparison"]} >= {"bfloat16", "batch × 4"}
    status, out, err = command(*arguments)
    assert status == 0 and "efficiency" in out and "50 %" in err and "Douillard" in err


def test_strong_scaling_shares_the_batch_out(command):
    _, out, _ = command("scale", "--params", 1e9, "--flops-per-second", 1e14, "--batch-size", 64,
                        "--scaling", "strong", "--nodes", 1, 4, "--network", "100Tbit/0s", "--json")
    one, four = json.loads(out)["steps"]
    assert four["seconds"] == pytest.approx(one["seconds"] / 4, rel=0.01)
    assert four["tokens_per_step"] == one["tokens_per_step"] == 64 * 1024


@pytest.mark.parametrize("arguments, message", [
    (["scale", "--network", "10Gib"], "--network is '10Gib', wanted"),
    (["scale", "--compress", "zip"], "--compress is 'zip', wanted none"),
    (["scale", "--params", "1e9"], "wanted --flops-per-second"),
    (["scale", "--params", "1e9", "--flops-per-second", "1e14", "--optimizer", "muon"],
     "--optimizer is 'muon', and --params has no shapes"),
    (["scale", "--params", "1e9", "--model", "gpt2"], "wanted one of them"),
    (["scale", "--model", "gpt2", "--block-size", "2000"], "--block-size is 2000"),
    (["scale", "--scaling", "strong", "--nodes", "9"], "--nodes has 9"),
    (["scale", "--shard-optimizer", "--local-steps", "2"], "--shard-optimizer and local-steps"),
    (["scale", "--jitter", "-1"], "--jitter is -1"),
    (["scale", "--bucket", "nan"], "--bucket is nan"),
    (["scale", "--picture", "no/a.svg"], "--picture is 'no/a.svg', but there is no folder no"),
    (["scale", "--text", "a.txt"], "--text isn't for"),
    (["--nodes", "8"], "--nodes is for minillm cost scale"),
])
def test_errors_are_one_line(command, arguments, message):
    status, _, err = command(*arguments)
    assert status == 2 and message in err and err.count("\n") == 1
