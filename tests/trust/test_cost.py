"""What is stated before a training against what is counted and measured in one."""

import gc
import json
import tracemalloc
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import small_run

from minillm import kernels
from minillm.energy import EnergyMeter
from minillm.kernels.work import count_products
from minillm.models.auto import model_class
from minillm.ops import linear_cross_entropy
from minillm.training.architecture import new_config
from minillm.training.run import Run
from minillm.training.muon import make_optimizer, optimizer_groups
from minillm.training.settings import Settings
from minillm.trust.cost import calibration, estimate, planning
from minillm.trust.cost.calibration import _Stepper
from minillm.trust.cost.layers import Workload
from minillm.trust.cost.of_run import run_cost
from minillm.trust.cost.step import StepCost
from minillm.trust.cost.workloads import default_workload, random_batches

KINDS = [("gpt2", "causal_lm"), ("llama", "causal_lm"), ("mistral", "causal_lm"),
         ("qwen2", "causal_lm"), ("apertus", "causal_lm"), ("family", "causal_lm"),
         ("bert", "pretraining"), ("bert", "sequence_classification"), ("bert", "token_classification"),
         ("gpt2", "sequence_classification"), ("transformer", "seq2seq_lm")]


def config_of(kind, **sizes):
    model_type, head = kind
    config = new_config(Settings(model_type=model_type, **sizes), head, sizes["vocab_size"], 0)
    if model_type in ("transformer", "gpt2"):
        config = config.replace(pad_token_id=0)
    return config.replace(decoder_start_token_id=0) if model_type == "transformer" else config


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(KINDS), layers=st.integers(1, 2), heads=st.sampled_from([1, 2, 4]),
       width=st.sampled_from([1, 2, 3]), batch=st.integers(1, 3), length=st.integers(4, 9),
       vocabulary=st.integers(5, 40), recompute=st.booleans(), large=st.sampled_from([1, 1 << 28]))
def test_parameters_and_operations_are_those_that_are_counted(kind, layers, heads, width, batch,
                                                              length, vocabulary, recompute, large):
    config = config_of(kind, n_layer=layers, n_head=heads, n_embd=4 * width * heads,
                       vocab_size=vocabulary, block_size=length)
    work = replace(default_workload(config, kind[1], batch, length), recompute=recompute)
    stepper = _Stepper(config, kind[1], random_batches(config, kind[1], work))
    with patch.object(linear_cross_entropy, "LARGE", large), count_products() as found:
        cost = StepCost(config, kind[1], work)
        stepper.step()
    assert cost.parameters == stepper.model.num_parameters()
    assert cost.flops == sum(found.values())
    with count_products() as found:
        stepper.forward()
    assert cost.forward_flops == sum(found.values())


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[-1]], ids=" ".join)
@pytest.mark.parametrize("muon_steps", [1, 3])
def test_the_products_of_muon_are_those_that_are_counted(kind, muon_steps):
    muon = {"optimizer": "muon", "muon_steps": muon_steps}
    config = config_of(kind, n_layer=1, n_head=2, n_embd=8, vocab_size=11, block_size=5)
    work = default_workload(config, kind[1], 2, 5)
    stepper = _Stepper(config, kind[1], random_batches(config, kind[1], work), **muon)
    with count_products() as found:
        stepper.step()
    cost = StepCost(config, kind[1], work, **muon)
    assert cost.flops + cost.update_flops == sum(found.values())
    with count_products() as found:  # the gradients are still there
        stepper.optimizer.step()
    assert cost.update_flops == sum(found.values()) > 0


@pytest.mark.parametrize("kernel", ["numpy", "c"])
def test_the_count_is_the_same_for_all_implementations(kernel):
    if kernel == "c" and kernels.c_library.why_missing():
        pytest.skip("the C extension isn't built")
    config = config_of(KINDS[1], n_layer=1, n_head=2, n_embd=8, vocab_size=11, block_size=5)
    work = Workload(2, 5)
    with kernels.use(kernel), count_products() as found:
        _Stepper(config, "causal_lm", random_batches(config, "causal_lm", work)).step()
    assert sum(found.values()) == StepCost(config, "causal_lm", work).flops


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
@pytest.mark.parametrize("dropout, recompute", [(0.0, False), (0.1, False), (0.1, True)])
def test_the_peak_of_a_step_is_within_a_tenth(kind, dropout, recompute):
    config = config_of(kind, n_layer=3, n_head=4, n_embd=64, vocab_size=500, block_size=64,
                       dropout=dropout)
    work = replace(default_workload(config, kind[1], 8, 64), recompute=recompute)
    measured = peak_of_steps(config, kind[1], work)
    assert StepCost(config, kind[1], work).memory().peak == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_peak_is_stated_where_the_logits_never_exist_together(recompute, monkeypatch):
    monkeypatch.setattr(linear_cross_entropy, "LARGE", 1)
    monkeypatch.setattr(linear_cross_entropy, "CHUNK", 1)
    config = config_of(KINDS[0], n_layer=3, n_head=4, n_embd=64, vocab_size=2000, block_size=128)
    work = Workload(10, 128, recompute=recompute)
    measured = peak_of_steps(config, "causal_lm", work)
    assert StepCost(config, "causal_lm", work).memory().peak == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_the_optimizer_keeps(optimizer):
    config = config_of(KINDS[1], n_layer=2, n_head=2, n_embd=8, vocab_size=11, block_size=5)
    cost, settings = StepCost(config, optimizer=optimizer), Settings(optimizer=optimizer)
    state = make_optimizer(optimizer_groups(cost.model, settings), settings).state_dict()
    assert cost.memory().optimizer == sum(np.asarray(array).nbytes for name, array in state.items()
                                          if name not in ("t", "lr"))


def peak_of_steps(config, head, work):
    gc.collect()
    tracemalloc.start()
    try:
        stepper = _Stepper(config, head, random_batches(config, head, work))
        for _ in range(2):
            stepper.step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[-1]], ids=" ".join)
def test_a_prompt_and_a_token_cost_what_is_counted(kind):
    config = config_of(kind, n_layer=2, n_head=2, n_embd=16, vocab_size=30, block_size=20)
    model = model_class(*kind)(config).eval()
    cost = StepCost(config, kind[1], Workload(1, 5, 5 if kind[1] == "seq2seq_lm" else 0))
    source = 5 if kind[1] == "seq2seq_lm" else 0
    with count_products() as found:
        _, state = calibration._prefill(model, 5, 12)
    assert cost.prompt(5).forward_flops == sum(found.values())
    past = 1 if source else 5
    with count_products() as found:
        model.step(np.ones(1, np.int64), state)
    assert cost.token(past, source=source).forward_flops == sum(found.values())
    assert cost.cache_bytes(12, source=source) == state.cache.nbytes


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_largest_batch_fits_and_the_next_one_does_not(optimizer):
    config = config_of(KINDS[0], n_layer=2, n_head=2, n_embd=32, vocab_size=99, block_size=16)
    cost, room = StepCost(config, "causal_lm", Workload(4, 16), optimizer=optimizer), 5_000_000
    batch = cost.largest_batch(room)
    peaks = [StepCost(config, "causal_lm", Workload(n, 16), optimizer=optimizer).memory().peak
             for n in (batch, batch + 1)]
    assert peaks[0] <= room < peaks[1]
    assert cost.largest_batch(1000) == 0


def test_the_largest_batch_may_be_one_without_the_logits(monkeypatch):
    config = config_of(KINDS[0], n_layer=2, n_head=2, n_embd=32, vocab_size=999, block_size=16)

    def peak(n):
        return StepCost(config, "causal_lm", Workload(n, 16)).memory().peak

    monkeypatch.setattr(linear_cross_entropy, "LARGE", 4 * 999 * 16 * 100)  # of 100 texts
    monkeypatch.setattr(linear_cross_entropy, "CHUNK", 1)
    for room in (peak(50), peak(100), peak(200)):
        batch = StepCost(config, "causal_lm", Workload(4, 16)).largest_batch(room)
        assert peak(batch) <= room < max(peak(batch + 1), peak(100) + 1)


def test_six_n_d_leaves_out_attention_and_the_head():
    config = config_of(KINDS[0], n_layer=2, n_head=2, n_embd=32, vocab_size=99, block_size=16)
    cost = StepCost(config, "causal_lm", Workload(4, 16))
    left_out = sum(part.forward + part.backward for name, part in cost.parts.items()
                   if name in ("head", "attention scores"))
    biases_and_norms = 6 * 64 * (cost.parts["norms"].parameters + 2 * (3 + 1 + 4 + 1) * 32)
    assert cost.rule_of_thumb == cost.flops - left_out + biases_and_norms


# ---- time


def test_models_of_few_layers_tell_the_time_of_many():
    assert calibration._extrapolated({1: 5.0, 3: 9.0}, 12) == 5 + 11 * 2
    assert calibration._extrapolated({2: 5.0}, 2) == 5


def test_what_was_measured_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def measure():
        calls.append(1)
        return {"step": len(calls)}

    assert calibration.remembered({"a": 1}, measure)["step"] == 1
    assert calibration.remembered({"a": 1}, measure)["step"] == 1
    assert calibration.remembered({"a": 2}, measure)["step"] == 2
    assert calibration.remembered({"a": 1}, measure, again=True)["step"] == 3
    calibration.calibration_file().write_text("{broken")
    assert calibration.remembered({"a": 1}, measure)["step"] == 4


def test_a_measured_time_has_all_parts():
    config = config_of(KINDS[0], n_layer=4, n_head=2, n_embd=8, vocab_size=20, block_size=8)
    plan = estimate.plan_of_config(config, "causal_lm", batch=2, length=8, steps=10)
    found = calibration.measure_training(config, "causal_lm", random_batches(
        config, "causal_lm", plan.workloads[0]), seconds=0.01)
    assert found["step"] > 0 and found["forward"] > 0
    written = calibration.measure_generating(config, "causal_lm", 2, 4, seconds=0.01)
    assert written["prompt"] > 0 and written["token"] > 0


def test_a_rate_gives_the_time_without_measuring():
    config = config_of(KINDS[0], n_layer=2, n_head=2, n_embd=8, vocab_size=20, block_size=8)
    plan = estimate.plan_of_config(config, "causal_lm", batch=2, length=8, steps=10)
    times = estimate.times_by_rate(plan, 1e6)
    assert times.step == plan.flops / 1e6 and times.whole == 10 * times.step


# ---- energy


def make_zone(folder, number, name, joules):
    zone = folder / f"intel-rapl:{number}"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text(name)
    (zone / "max_energy_range_uj").write_text("10000000")
    (zone / "energy_uj").write_text(str(int(joules * 1e6)))
    return zone / "energy_uj"


def test_energy_is_the_sum_of_the_packages_and_of_their_memory(tmp_path):
    package, dram = make_zone(tmp_path, 0, "package-0", 4), make_zone(tmp_path, "0:1", "dram", 1)
    make_zone(tmp_path, "0:0", "core", 3)
    with EnergyMeter(tmp_path) as meter:
        package.write_text("6000000")
        dram.write_text("1500000")
        (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("9000000")
    assert meter.joules == pytest.approx(2.5) and meter.seconds > 0
    assert meter.watts == meter.joules / meter.seconds


def test_a_counter_may_start_again(tmp_path):
    package = make_zone(tmp_path, 0, "package-0", 9)
    with EnergyMeter(tmp_path) as meter:
        package.write_text("2000000")
    assert meter.joules == pytest.approx(3)


def test_without_counters_nothing_is_measured(tmp_path):
    with EnergyMeter(tmp_path / "missing") as meter:
        pass
    assert meter.joules is None and meter.watts is None
    package = make_zone(tmp_path, 0, "package-0", 1)
    with EnergyMeter(tmp_path) as meter:
        package.unlink()
    assert meter.joules is None


def test_an_estimate_says_that_it_is_one():
    found = estimate.energy(10, 2)
    assert found.joules == 10 * 2 * estimate.WATTS_PER_CORE and "estimate" in found.source
    assert found.grams is None
    measured = estimate.energy(3600, 2, measured=1000.0, grams_per_kwh=400)
    assert "measured" in measured.source and measured.grams == pytest.approx(400)
    assert "estimate" in estimate.energy(1, 2, watts=5.0, measured=7.0).source


# ---- planning


@settings(max_examples=50, deadline=None)
@given(st.floats(1e15, 1e26), st.sampled_from(list(planning.FITS.values())), st.floats(0.3, 3))
def test_no_other_size_does_better_in_the_same_operations(flops, fit, factor):
    plan = planning.plan_for_flops(flops, fit)
    assert 6 * plan.parameters * plan.tokens == pytest.approx(flops)
    other = planning.loss(plan.parameters * factor, plan.tokens / factor, fit)
    assert other >= plan.loss - 1e-9
    again = planning.plan_for_tokens(plan.tokens, fit)
    assert again.flops == pytest.approx(flops, rel=1e-6)


def test_chinchilla_by_the_refitted_law():
    """70 billion parameters on 1.4 trillion tokens: Hoffmann et al. 2022, table 4"""
    plan = planning.plan_for_flops(6 * 70e9 * 1.4e12)
    assert 15 < plan.tokens / plan.parameters < 25
    published = planning.plan_for_flops(6 * 70e9 * 1.4e12, planning.FITS["hoffmann"])
    assert published.tokens / published.parameters > 60


@pytest.mark.parametrize("flops", [0, -1, float("inf"), float("nan")])
def test_a_plan_needs_a_number(flops):
    with pytest.raises(ValueError, match="flops is"):
        planning.plan_for_flops(flops)


# ---- the command


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    from minillm.cli import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "measure_process", lambda: {"bytes": 10**8})

    def run(*arguments):
        status = main(["cost", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_the_command_states_everything(command):
    status, out, _ = command("--arch", "llama", "--n-layer", 2, "--n-embd", 64, "--steps", 10,
                             "--flops-per-second", 1e9, "--watts", 50, "--co2", 400, "--json")
    report = json.loads(out)
    assert status == 0
    training = report["training"]
    assert training["flops"] == 10 * training["flops_per_step"]
    assert training["seconds"] == pytest.approx(training["flops"] / 1e9)
    assert training["energy"]["joules"] == pytest.approx(50 * training["seconds"])
    assert training["energy"]["co2_grams"] == pytest.approx(
        training["energy"]["joules"] / 3.6e6 * 400)
    assert report["generating"]["seconds_per_token"] > 0
    status, out, err = command("--flops-per-second", 1e9)
    assert status == 0 and "attention scores" in out and "estimate" in err


def test_muon_adds_its_products_once_a_step(command):
    sizes = ("--n-layer", 1, "--n-embd", 64, "--grad-accum", 3, "--flops-per-second", 1e9)
    adamw, muon = (json.loads(command(*sizes, *optimizer, "--json")[1])["training"]
                   for optimizer in ((), ("--optimizer", "muon", "--muon-steps", 2)))
    added = muon["newton_schulz_flops_per_step"]
    # Q, K, V and the output: 2 steps of 4 n² m + 2 n³, n = m; both maps of the feed-forward, m = 4 n
    n = 64
    assert added == 4 * 12 * n**3 + 2 * (16 + 10) * n**3
    assert muon["flops_per_step"] == adamw["flops_per_step"] + added
    assert adamw["newton_schulz_flops_per_step"] == 0
    assert muon["memory"]["optimizer"] < adamw["memory"]["optimizer"]
    status, out, _ = command(*sizes, "--optimizer", "muon")
    assert status == 0 and "… of Newton–Schulz" in out


def test_a_configuration_of_a_file(command, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}))
    status, out, _ = command("--config", path, "--flops-per-second", 1e12, "--json")
    assert status == 0 and json.loads(out)["parameters"] == 124_439_808


def test_plans_on_the_command_line(command):
    status, out, err = command("plan", "--flops", 1e18)
    assert status == 0 and "Besiroglu" in out and "not as a promise" in err
    status, out, _ = command("plan", "--hours", 2, "--flops-per-second", 1e12)
    assert status == 0 and "7.2e+15" in out
    status, out, _ = command("plan", "--data", 1e9)
    assert status == 0 and "1 G" in out


@pytest.mark.parametrize("arguments, message", [
    (["--config", "missing.json"], "missing.json"),
    (["--config", "a.json", "--model", "b"], "wanted one of them"),
    (["--flops-per-second", "0"], "--flops-per-second"),
    (["plan"], "--hours"),
    (["plan", "--flops", "-1"], "flops is"),
    (["--task", "nothing"], "nothing"),
    (["--optimizer", "sgd"], "optimizer is 'sgd'"),
])
def test_mistakes_are_one_line(command, arguments, message):
    status, _, err = command(*arguments)
    assert status == 2 and message in err.splitlines()[-1]


def test_a_run_records_what_it_has_cost(tmp_path):
    from minillm.cli.training import _recorded

    run = small_run(tmp_path, steps=4)
    trainer = run.trainer()
    with _recorded(run, trainer):
        trainer.train()
    found = Run(run.folder).cost
    assert found == run_cost(Run(run.folder))
    plan = estimate.plan_of_run(run)
    assert found["steps"] == 4 and found["seconds"] > 0
    assert found["flops"] == 4 * plan.flops
    assert found["tokens"] == 4 * run.settings.batch_size * run.settings.block_size
    assert found["energy_is"] in ("measured", "estimated") and found["joules"] >= 0
    assert "threads: " in found["hardware"]


def test_a_run_of_an_earlier_version_has_no_times(tmp_path):
    found = run_cost(small_run(tmp_path, steps=4))
    assert found["seconds"] is None and found["energy_is"] is None and found["flops"] > 0


def test_the_batches_of_a_run_are_measured(tmp_path):
    run = small_run(tmp_path, n_layer=4, steps=8)
    before = {path.name for path in run.folder.iterdir()}
    found = calibration.measure_run(run, seconds=0.01)
    assert all(found[what] > 0 for what in ("step", "evaluation", "checkpoint"))
    assert {path.name for path in run.folder.iterdir()} == before
