"""DP-SGD: what one step computes, what a run records, promises and refuses."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import SMALL, small_run
from strategies import generators

from minillm import GPT2Config, GPT2LMHeadModel
from minillm.nn.loss import cross_entropy_loss
from minillm.training.checkpoint import list_checkpoints
from minillm.training.dp_sgd import DPSGD, Examples, clip_factors
from minillm.training.metrics import read_metrics
from minillm.training.privacy_accountant import epsilon_spent
from minillm.training.run import Run, create_run
from minillm.training.secret_random import SecretRandom
from minillm.training.settings import Settings

PRIVATE = dict(dp_noise=0.8, dp_seed=1, eval_every=100, batch_size=4)


class Rows:
    """A task of n examples, each a row of tokens."""

    name, unit = "rows", "rows"

    def __init__(self, n, T=5):
        self.ids = np.random.default_rng(3).integers(0, 20, (n, T))
        self.drawn = []

    def private_examples(self, settings):
        return Examples("one row", len(self.ids), self.batch)

    def batch(self, indices):
        self.drawn.append(indices)
        return self.ids[indices]

    def loss(self, model, batch):
        return cross_entropy_loss(model, model(batch).logits, np.roll(batch, -1, axis=1))

    def size(self, batch):
        return len(batch)


def small_model():
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2,
                                      initializer_range=0.3), seed=1).eval()


def gradients(task, model=None, **options):
    model = model or small_model()
    model.zero_grad()
    private = DPSGD(task, Settings(**{"dp_seed": 0, "dp_noise": 1e-12, **options}))
    result = private.gradients(model)
    return np.concatenate([p.grad.ravel() for p in model.parameters()]), result


def test_the_gradient_is_the_clipped_sum_over_the_expected_batch():
    task = Rows(6)
    private, (loss, size) = gradients(task, batch_size=6, dp_clip=0.5)  # q = 1: all are drawn
    assert size == 6 and loss > 1
    clipped = []
    for row in range(6):
        model = small_model()
        task.loss(model, task.ids[row : row + 1]).backward()
        g = np.concatenate([p.grad.ravel() for p in model.parameters()])
        clipped.append(g * min(1, 0.5 / np.linalg.norm(g)))
    np.testing.assert_allclose(private, np.sum(clipped, axis=0) / 6, rtol=1e-4, atol=1e-7)


def test_one_example_moves_the_sum_by_at_most_the_clipping_norm():
    task, without = Rows(6), Rows(6)
    without.ids = task.ids[:5]
    here, _ = gradients(task, batch_size=6, dp_clip=0.3)
    there, _ = gradients(without, batch_size=5, dp_clip=0.3)
    assert np.linalg.norm(6 * here - 5 * there) <= 0.3 * (1 + 1e-5)


def test_pieces_add_up_and_the_expected_batch_counts_all_of_them():
    whole, _ = gradients(Rows(6), batch_size=6)
    pieces, (_, size) = gradients(Rows(6), batch_size=2, grad_accum=3)
    assert size == 6
    np.testing.assert_allclose(pieces, whole, rtol=1e-4, atol=1e-7)


def test_noise_has_the_standard_deviation_of_the_accountant():
    noisy, _ = gradients(Rows(40), batch_size=2, dp_noise=3.0, dp_clip=2.0)
    assert np.std(noisy) == pytest.approx(3.0 * 2.0 / 2, rel=0.1)
    assert abs(np.mean(noisy)) < 0.3


def test_drawing_is_poisson_and_an_empty_batch_is_noise_alone():
    task, model, sizes = Rows(8), small_model(), []
    private = DPSGD(task, Settings(batch_size=1, dp_noise=1.0, dp_seed=0))
    for _ in range(150):
        model.zero_grad()
        task.drawn = []
        loss, _ = private.gradients(model)
        sizes.append(sum(map(len, task.drawn)))
        assert (loss is None) == (sizes[-1] == 0)
        assert all(np.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())
    assert 0 in sizes and max(sizes) >= 3
    assert np.mean(sizes) == pytest.approx(1, abs=0.3)
    assert np.var(sizes) == pytest.approx(8 * (1 / 8) * (7 / 8), abs=0.35)


@given(rng=generators, C=st.floats(1e-3, 1e3))
def test_clip_factors(rng, C):
    norms = np.append(rng.exponential(C, 5), 0)
    factors = clip_factors(norms, C)
    assert (factors * norms <= C * (1 + 1e-12)).all() and (factors <= 1).all()
    assert (factors[norms <= C] == 1).all()


def test_frozen_parameters_get_neither_gradient_nor_noise():
    model = small_model()
    model.transformer.wpe.freeze()
    private = DPSGD(Rows(6), Settings(batch_size=3, dp_noise=1.0, dp_seed=0))
    private.gradients(model)
    assert model.transformer.wpe.weight.grad is None


def test_secret_randomness_differs_continues_and_forgets():
    one, other = SecretRandom(), SecretRandom()
    assert one.next_step().random() != other.next_step().random()
    state = one.state_dict()
    drawn = [one.next_step().random() for _ in range(3)]
    resumed = SecretRandom(seed=7)
    resumed.load_state_dict(json.loads(json.dumps(state)))
    assert [resumed.next_step().random() for _ in range(3)] == drawn
    assert len({state["key"], one.state_dict()["key"], resumed.state_dict()["key"]}) == 2
    assert SecretRandom(7).next_step().random() == SecretRandom(7).next_step().random()
    for wrong in ({}, {"key": 3}, {"key": "zz"}, {"key": "00"}):
        with pytest.raises(ValueError, match="^state"):
            one.load_state_dict(wrong)


# ---- runs


def weights_of(run):
    newest = list_checkpoints(run.checkpoints)[-1]
    return [(newest / name).read_bytes() for name in ("model.safetensors", "state.json")]


def test_a_run_records_what_it_spends(tmp_path):
    run = small_run(tmp_path, **{**PRIVATE, "dp_noise": None, "dp_epsilon": 5.0}, dp_delta=1e-4)
    before = Run(run.folder).privacy
    assert before["spent"] == {"steps": 0, "epsilon": 0.0} and before["target_epsilon"] == 5.0
    run.trainer().train()
    run.write()  # as to record what the run has cost
    facts = Run(run.folder).privacy
    assert facts["spent"]["steps"] == 12 and 4.9 < facts["spent"]["epsilon"] <= 5.0
    assert facts["spent"]["epsilon"] == epsilon_spent(
        facts["sampling_rate"], facts["noise_multiplier"], 12, 1e-4)
    tokens = run.data["train"]["tokens"]
    assert facts["examples"] == tokens // 17 and facts["sampling_rate"] == 4 / facts["examples"]
    assert "17 consecutive tokens" in facts["one_example"]
    said = " ".join(facts["not_covered"])
    assert all(word in said for word in ("ANYTHING", "vocabulary", "validate", "checkpoints/"))
    records, _ = read_metrics(run.folder / "metrics.jsonl")
    spent = [record["epsilon"] for record in records if "epsilon" in record]
    assert spent == sorted(spent) and spent[-1] == facts["spent"]["epsilon"]


def test_a_private_run_resumes_bit_for_bit(tmp_path):
    whole = small_run(tmp_path, "whole", dropout=0.1, **PRIVATE)
    whole.trainer().train()
    run = small_run(tmp_path, "stopped", dropout=0.1, **PRIVATE)

    class Killed(BaseException):
        pass

    def kill(trainer):
        if trainer.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run.trainer(kill).train()
    assert Run(run.folder).privacy["spent"]["steps"] == 3  # that of the last checkpoint
    trainer, _ = Run(run.folder).resumed()
    assert trainer.step == 3
    trainer.train()
    assert weights_of(run) == weights_of(whole)
    assert Run(run.folder).privacy == Run(whole.folder).privacy


def test_a_run_killed_before_its_first_step_takes_the_same_steps_again(tmp_path):
    run = small_run(tmp_path, **{**PRIVATE, "dp_seed": None})
    seen = []

    class Killed(BaseException):
        pass

    def kill(trainer):
        seen.append(trainer.model.transformer.wte.weight.data.copy())
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            trainer, _ = Run(run.folder).resumed(report=kill) if seen else (run.trainer(kill), None)
            trainer.train()
    np.testing.assert_array_equal(*seen)


def test_noise_can_not_be_repeated_unless_it_is_a_test():
    a, b, c, d = (gradients(Rows(6), batch_size=3, dp_noise=1.0, dp_seed=seed)[0]
                  for seed in (None, None, 1, 1))
    assert (a != b).all() and (a != c).all() and (c == d).all()


def test_a_private_run_keeps_the_last_model(tmp_path):
    run = small_run(tmp_path, **{**PRIVATE, "eval_every": 4, "lr": 0.5, "dp_noise": 5.0})
    trainer = run.trainer()
    trainer.train()
    saved = GPT2LMHeadModel.from_pretrained(run.model_folder)
    for one, other in zip(saved.parameters(), trainer.model.parameters()):
        np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize("way", [dict(lora_rank=2), dict(freeze="1")])
def test_updates_and_frozen_layers_train_privately(tmp_path, way):
    base = small_run(tmp_path, "base", n_layer=2, steps=1, eval_every=100)
    base.trainer().train()
    run = small_run(tmp_path, "private", model=str(base.folder / "model"), **PRIVATE, **way)
    run.trainer().train()
    assert Run(run.folder).privacy["spent"]["steps"] == 12
    assert any("had learned before" in part for part in run.privacy["not_covered"])


def test_labelled_examples_train_privately(tmp_path):
    data = tmp_path / "reviews.tsv"
    data.write_text("".join(f"it was {word} number {n}\t{label}\n" for n in range(20)
                            for word, label in (("good", "positive"), ("bad", "negative"))))
    options = {**SMALL, **PRIVATE, "text": str(data), "model_type": "bert", "steps": 3}
    run = create_run(tmp_path / "run", Settings(**options), task="sentiment")
    run.trainer().train()
    assert Run(run.folder).privacy["one_example"] == "one labelled example"


# ---- refusals


@pytest.mark.parametrize("options, words", [
    (dict(dp_epsilon=8.0, dp_noise=1.0), "wanted one"), (dict(dp_epsilon=0.0), "dp_epsilon"),
    (dict(dp_noise=-1.0), "dp_noise"), (dict(dp_delta=1.0), "dp_delta"),
    (dict(dp_clip=float("inf")), "dp_clip"), (dict(dp_noise=float("nan")), "dp_noise")])
def test_settings_that_promise_nothing(options, words):
    with pytest.raises(ValueError, match=words):
        Settings(**options)


def test_what_a_private_run_can_not_change(tmp_path):
    settings = Settings(dp_epsilon=8.0)
    for change in (dict(batch_size=2), dict(grad_accum=2), dict(steps=2000), dict(dp_clip=2.0)):
        with pytest.raises(ValueError, match=next(iter(change))):
            settings.changed(change, 10)
    assert Settings(dp_noise=1.0).changed(dict(steps=2000), 10).steps == 2000


@pytest.mark.parametrize("options, task, words", [
    (dict(model_type="bert"), None, "two documents"), ({}, "faq", "compares the examples"),
    (dict(batch_size=1000), None, "number of private examples")])
def test_what_can_not_be_private_leaves_nothing_behind(tmp_path, options, task, words):
    settings = {**SMALL, **PRIVATE, "text": None, **options}
    if task is None:
        with pytest.raises(ValueError, match=words):
            small_run(tmp_path, **{**PRIVATE, **options})
    else:
        with pytest.raises(ValueError, match=words):
            create_run(tmp_path / "run", Settings(**settings), task=task)
    assert not (tmp_path / "run").exists()
