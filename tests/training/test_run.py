"""Run folders and settings."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import small_run, small_settings

from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.training.run import Run, create_numbered_run, create_run, model_folder
from minillm.training.settings import Settings


def test_a_new_run_has_everything_in_its_folder(tmp_path):
    run = small_run(tmp_path)
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "data", "model"}
    tokenizer = run.tokenizer()
    assert len(tokenizer) == run.config.vocab_size == 280
    text = tokenizer.decode(run.dataset("train").ids)
    assert text.count("<|endoftext|>") == run.data["train"]["documents"]
    opened = Run(run.folder)
    assert (opened.settings, opened.config, opened.data) == (run.settings, run.config, run.data)


def test_the_splits_share_no_document(tmp_path):
    run = small_run(tmp_path, valid=0.2, test=0.2)
    tokenizer = run.tokenizer()
    splits = [set(tokenizer.decode(run.dataset(split).ids).split("<|endoftext|>")) - {""}
              for split in ("train", "valid", "test")]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 24


def test_what_is_there_is_never_overwritten(tmp_path):
    run = small_run(tmp_path)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="--resume"):
        create_run(run.folder, run.settings)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        create_run(tmp_path / "file", run.settings)
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "file").read_text() == "mine"


def test_what_training_takes_is_known_before_the_model_is_made(tmp_path, monkeypatch):
    run = small_run(tmp_path)
    taken = []
    monkeypatch.setattr("minillm.training.architecture.require_memory",
                        lambda what, n: taken.append(n))
    small_run(tmp_path, "again")
    assert taken == 2 * [16 * run.new_model().num_parameters()]  # before the text is read, and after


@pytest.mark.parametrize("changes, message", [
    ({"text": "nowhere.txt"}, "no such file"),
    ({"block_size": 10_000}, "use a longer text or a smaller block_size"),
    ({"vocab_size": 10}, "vocab_size"),
    ({"tokenizer": "nowhere"}, "nowhere"),
    ({"model": "no/where/at/all"}, "no/where/at/all"),
    ({"valid": 0.6, "test": 0.6}, "leaves nothing to train on"),
])
def test_a_run_that_cannot_begin_leaves_nothing(tmp_path, changes, message):
    settings = small_settings(tmp_path, **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_run(tmp_path / "deep" / "run", settings)
    assert not (tmp_path / "deep" / "run").exists()


def test_fine_tuning_starts_from_the_model_and_its_tokenizer(tmp_path):
    first = small_run(tmp_path, "first")
    source = GPT2LMHeadModel(first.config, seed=8)
    source.save_pretrained(first.model_folder)
    second = small_run(tmp_path, "second", model=str(first.folder), dropout=0.25, block_size=8)
    model = second.new_model()
    assert model.training and model.config.resid_pdrop == 0.25
    for one, other in zip(model.parameters(), source.parameters()):
        assert (one.data == other.data).all()
    assert second.tokenizer().get_vocab() == first.tokenizer().get_vocab()
    with pytest.raises(ValueError, match="block_size is 17, wanted at most 16"):
        small_run(tmp_path, "third", model=str(first.folder), block_size=17)


def test_a_run_folder_stands_for_its_model(tmp_path):
    run = small_run(tmp_path)
    assert model_folder(run.folder) == str(run.model_folder)
    assert model_folder(tmp_path) == str(tmp_path)
    assert model_folder("gpt2") == "gpt2"
    shutil.rmtree(run.model_folder)
    with pytest.raises(FileNotFoundError, match="run is a run folder without a model"):
        model_folder(run.folder)


def test_folders_are_numbered(tmp_path):
    settings = small_settings(tmp_path)
    (tmp_path / "demo-2").write_text("a file")
    (tmp_path / "demo-3").mkdir()
    folders = [create_numbered_run(tmp_path, "demo", settings).folder.name for _ in range(3)]
    assert folders == ["demo-1", "demo-4", "demo-5"]
    with pytest.raises(FileNotFoundError):
        create_numbered_run(tmp_path / "new", "demo", Settings(text="nowhere"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"settings": {}}', "nonsense", "[" * 1000, '{"a": ' * 1000,
])
def test_a_damaged_run_json_is_an_error(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="run.json"):
        Run(tmp_path)


@pytest.mark.parametrize("changes, message", [
    ({"settings": None}, "settings is None, wanted an object"),
    ({"settings": []}, "settings is "),
    ({"config": "gpt2"}, "config is 'gpt2'"),
    ({"task": "dancing"}, "task is 'dancing', wanted one of language_modeling"),
    ({"settings": {"steps": "many"}}, "steps is 'many', wanted int"),
    ({"settings": {"steps": None}}, "steps is None"),
    ({"settings": {"steps": True}}, "steps is True"),
    ({"settings": {"steps": 1.5}}, "steps is 1.5"),
    ({"settings": {"text": 1}}, "text is 1, wanted str or null"),
    ({"settings": {"speed": 1}}, "settings has"),
    ({"config": {"model_type": "dancer"}}, "model_type is 'dancer'"),
    ({"config": {"model_type": "gpt2", "n_embd": "wide"}}, "n_embd"),
])
def test_wrong_types_in_run_json_are_one_line(tmp_path, changes, message):
    path = small_run(tmp_path).folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message) as caught:
        Run(path.parent)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_run_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        Run(tmp_path)


@given(st.builds(Settings, steps=st.integers(1, 10**6), lr=st.floats(1e-6, 10),
                 text=st.none() | st.text(), seed=st.integers(0, 2**40)))
def test_settings_survive_json(settings):
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize("changes", [
    {"steps": 0}, {"batch_size": -1}, {"lr": 0}, {"lr": float("nan")}, {"dropout": -0.1},
    {"lr": float("inf")}, {"weight_decay": float("inf")}, {"clip": 0}, {"keep": 0},
    {"n_embd": 30, "n_head": 4},
])
def test_settings_out_of_range(changes):
    with pytest.raises(ValueError, match=f"^{next(iter(changes))} is "):
        Settings(**changes)


def test_an_unknown_setting_is_an_error():
    with pytest.raises(ValueError, match="learning_rate"):
        Settings.from_dict({"learning_rate": 1})
