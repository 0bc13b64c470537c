"""Windows and batches that grow: what a step reads is a function of its number."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import small_run, small_settings

from minillm.training.run import create_run
from minillm.training.settings import Settings
from minillm.training.warmups import (
    MULTIPLE,
    cut,
    require_growing_task,
    shape_at,
    steps_for_the_tokens_of,
)
from minillm.trust.cost.of_run import run_cost

sizes = st.integers(1, 70)
GROWING = {"length_warmup": 9, "batch_warmup": 7, "batch_size": 3, "dropout": 0.1}


@given(sizes, sizes, st.integers(0, 50), st.integers(0, 50))
def test_shapes_grow_to_the_whole_batch(rows, length, length_warmup, batch_warmup):
    settings = Settings(batch_size=rows, block_size=length, length_warmup=length_warmup,
                        batch_warmup=batch_warmup)
    shapes = np.array([shape_at(step, settings) for step in range(60)])
    assert (shapes >= 1).all() and (shapes[0] <= shapes[-1]).all()
    assert (np.diff(shapes, axis=0) >= 0).all()
    assert tuple(shapes[max(length_warmup, batch_warmup)]) == (rows, length)
    shorter = shapes[shapes[:, 1] < length, 1]
    assert not (shorter % MULTIPLE).any()
    if batch_warmup:
        assert shapes[0, 0] == max(1, rows // 4)
    if length_warmup:
        assert shapes[0, 1] == min(MULTIPLE, length)


@given(st.integers(1, 80), st.integers(0, 40), st.integers(0, 40))
def test_as_many_tokens_take_more_steps(whole, length_warmup, batch_warmup):
    settings = Settings(batch_size=5, block_size=24, length_warmup=length_warmup,
                        batch_warmup=batch_warmup)
    steps = steps_for_the_tokens_of(whole, settings)
    tokens = np.cumsum([np.prod(shape_at(step, settings)) for step in range(steps)])
    assert tokens[-1] >= whole * 120 > (tokens[-2] if steps > 1 else 0)
    assert steps == whole or length_warmup or batch_warmup


def test_a_batch_is_cut_from_the_whole_one(tmp_path):
    run = small_run(tmp_path, **GROWING)
    task = run.task()
    whole = next(task.batches(run.settings))
    for step in range(12):
        rows, length = shape_at(step, run.settings)
        parts = cut(task, whole, run.settings, step)
        assert all(np.array_equal(part, ids[:rows, :length]) for part, ids in zip(parts, whole))
        assert task.size(parts) == rows * length


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    whole, parts = (small_run(tmp_path, name, **GROWING) for name in ("whole", "parts"))
    whole.trainer().train()
    trainer = parts.trainer()
    for _ in range(5):
        trainer.training_step()
    trainer.save()
    again, _ = parts.resumed()
    again.train()
    records = [[{**json.loads(line), "tokens_per_s": 0}
                for line in (run.folder / "metrics.jsonl").read_text().splitlines()
                if '"loss"' in line] for run in (whole, parts)]
    assert records[0] == records[1] and len(records[0]) == 12
    arrays = [run.trainer() for run in (whole, parts)]
    for each in arrays:
        each.resume()
    first, second = (each.model.state_dict() for each in arrays)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_cost_of_a_run_counts_its_small_steps(tmp_path):
    settings = {"length_warmup": 12, "batch_size": 4}
    costs = [run_cost(small_run(tmp_path, str(n), **changes))
             for n, changes in enumerate((settings, {"batch_size": 4}))]
    read = sum(np.prod(shape_at(step, small_settings(tmp_path, **settings))) for step in range(12))
    assert abs(costs[0]["tokens"] - read) < 0.1 * read < 0.1 * costs[1]["tokens"]
    assert costs[0]["flops"] < 0.7 * costs[1]["flops"]


def test_an_option_may_change_on_resuming(tmp_path):
    run = small_run(tmp_path)
    trainer = run.trainer()
    trainer.training_step()
    trainer.save()
    again, _ = run.resumed({"length_warmup": 12})
    again.training_step()
    assert again.settings.length_warmup == 12 and again.step == 2


@pytest.mark.parametrize("changes, message", [
    ({"length_warmup": -1}, "length_warmup is -1, wanted at least 0"),
    ({"batch_warmup": 5, "dp_noise": 1.0}, "batch_warmup is 5, but private steps draw each whole "),
    ({"length_warmup": 5, "dp_epsilon": 1.0}, "length_warmup is 5, but private steps"),
])
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**changes)


@pytest.mark.parametrize("task, options", [
    ("bert_pretraining", {"model_type": "bert"}), ("sentiment", {"model_type": "bert"})])
def test_tasks_without_windows_refuse(tmp_path, task, options):
    settings = small_settings(tmp_path, **options, batch_warmup=3)
    with pytest.raises(ValueError, match="batch_warmup is 3, but a batch of the task"):
        create_run(tmp_path / "run", settings, task=task)
    assert not (tmp_path / "run").exists()
    require_growing_task(type("Task", (), {"name": task}), Settings())  # nothing grows
