"""Scrubbing through a run: each step's numbers are those of its model, opened by hand."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from tests.helpers.small_runs import small_run

from minillm.explorer.views import checkpoints
from minillm.explorer.views.checkpoints import (
    checkpoint,
    head_history,
    offline_checkpoints,
    run_history,
)
from minillm.insight.attention import attention_weights, repeated_tokens, summarize_heads
from minillm.insight.subject import Subject
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.training.metrics import read_metrics
from minillm.training.snapshots import History, snapshot_steps

TEXT = "The cat number 2 sees the cat"
STEPS = sorted({*snapshot_steps(12, 5), 9, 12})  # the last two are checkpoints


@pytest.fixture(scope="module")
def subject(run):
    return Subject.open(str(run.folder))


@pytest.fixture
def explorer(subject):
    return SimpleNamespace(subjects={"a": subject}, practice=None, kept={})


def test_the_history_of_a_run(run, subject):
    found = run_history(subject)
    assert found["steps"] == STEPS and found["total"] == 12
    assert found["exact"] == [step in (9, 12) for step in STEPS]
    records, _ = read_metrics(run.folder / "metrics.jsonl")
    for name in ("loss", "valid_loss"):
        series = found["series"][name]
        wanted = {record["step"]: record[name] for record in records if name in record}
        assert dict(zip(series["x"].tolist(), series["y"].tolist())) == wanted
    assert found["commands"] == [f"minillm train --resume {run.folder} --steps 24 --snapshots 20"]


@pytest.mark.parametrize("step", STEPS)
def test_a_checkpoint_is_the_model_opened_by_hand(run, subject, explorer, step):
    model, reading = History(run).open(step), subject.read(TEXT)
    with no_grad():
        output = model(reading.ids[None], labels=reading.ids[None])
    weights = attention_weights(model, reading.ids[None])
    found = checkpoint(subject, explorer, TEXT, step, exact=True)
    np.testing.assert_array_equal(found["weights"], np.concatenate(weights))
    rounded = checkpoint(subject, explorer, TEXT, step)["weights"]
    assert rounded.dtype == np.uint8
    assert np.abs(rounded / 255 - found["weights"]).max() <= 0.5 / 255 + 1e-7
    assert found["loss"] == pytest.approx(output.loss.item(), rel=1e-6)  # of a traced forward
    assert found["tokens"] == reading.tokens
    for (layer, h), summary in summarize_heads(weights).items():
        for name in ("previous", "first", "itself", "entropy"):
            assert found["scores"][name][layer, h] == getattr(summary, name)
    p, _ = softmax(output.logits[0, -1].astype(np.float64))
    assert [each["id"] for each in found["top"]] == list(np.argsort(-p, kind="stable")[:6])
    assert found["top"][0]["p"] == pytest.approx(p.max(), rel=1e-5)
    assert found["answer"]["id"] == subject.said(reading)


def test_the_heads_over_the_whole_run(run, subject, explorer):
    seen = []
    found = head_history(subject, explorer, lambda *report: seen.append(report), TEXT)
    assert found["steps"].tolist() == STEPS
    assert [(done, total) for done, total, _ in seen] == [
        (i + 1, len(STEPS)) for i in range(len(STEPS))]
    ids = repeated_tokens(run.config.vocab_size, 12)
    for i, step in enumerate(STEPS):
        single = checkpoint(subject, explorer, TEXT, step)
        for name in ("previous", "first", "itself", "entropy"):
            np.testing.assert_array_equal(found["scores"][name][i], single["scores"][name])
        summary = summarize_heads(attention_weights(History(run).open(step), ids), 12)
        for (layer, h), each in summary.items():
            assert found["scores"]["induction"][i, layer, h] == each.induction
        assert found["loss"][i] == single["loss"] == seen[i][2]["loss"]
        assert found["p"][i] == single["answer"]["p"]
        assert (found["said"][i], found["p_said"][i]) == (single["top"][0]["name"],
                                                          single["top"][0]["p"])


def test_opened_models_are_kept_within_bounds(run, subject, explorer, monkeypatch):
    size = sum(x.nbytes for x in subject.model.state_dict().values())
    monkeypatch.setattr(checkpoints, "KEPT_BYTES", 3 * size)
    for step in STEPS:
        checkpoint(subject, explorer, TEXT, step)
        assert len(explorer.kept["checkpoints"]) <= 3
    first = next(iter(explorer.kept["checkpoints"].values()))
    checkpoint(subject, explorer, TEXT, STEPS[-3])
    assert next(reversed(explorer.kept["checkpoints"].values())) is first  # moved, not opened again


def test_a_long_text_is_shown_in_part(run, subject, explorer, monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_TOKENS", 4)
    found = checkpoint(subject, explorer, TEXT, 12)
    assert found["weights"].shape == (2, 2, 4, 4) and len(found["tokens"]) == 4
    assert found["n_tokens"] == len(subject.read(TEXT).ids)


def test_a_step_that_is_not_kept_is_refused(subject, explorer):
    with pytest.raises(ValueError, match="step is 5, wanted one that .* has kept: 0, 1, 3, 7, 9"):
        checkpoint(subject, explorer, TEXT, 5)


def test_what_the_run_deletes_meanwhile_is_said(run, explorer, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    subject = Subject.open(str(tmp_path / "run"))
    (tmp_path / "run" / "checkpoints" / "step-000009" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="the run has deleted it in the meantime"):
        checkpoint(subject, explorer, TEXT, 9)


def test_another_model_is_told_what_makes_a_run(explorer):
    packaged = Subject.open("pydoc-tiny")
    found = run_history(packaged)
    assert found["run"] is None and found["commands"][0] == "minillm demo"
    assert found["commands"][2] == ("minillm finetune --model pydoc-tiny --text my_text.txt "
                                    "--snapshots 20")
    with pytest.raises(ValueError, match="pydoc-tiny is not a run folder, wanted one"):
        checkpoint(packaged, explorer, TEXT, 0)
    assert list(offline_checkpoints(packaged, TEXT)) == [("run_history", {})]


def test_a_masked_model_has_heads_but_no_induction(tmp_path, explorer):
    run = small_run(tmp_path, model_type="bert", steps=2, snapshots=2, block_size=24)
    run.trainer().train()
    subject = Subject.open(str(run.folder))
    found = head_history(subject, explorer, lambda *report: None, "The [MASK] sees")
    assert found["scores"]["induction"] is None and found["scores"]["entropy"].shape == (2, 1, 2)
    assert np.isfinite(found["loss"]).all() and (found["p"] <= found["p_said"] + 1e-9).all()


def test_a_page_without_a_server_has_every_step(subject):
    asked = list(offline_checkpoints(subject, TEXT))
    assert [fields["step"] for name, fields in asked if name == "checkpoint"] == STEPS
