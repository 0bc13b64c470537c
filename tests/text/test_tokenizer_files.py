import json
import shutil
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minillm.text.added_tokens import AddedToken
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.tokenizer_files import read_merges

FILES = ["merges.txt", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
         "vocab.json"]


@pytest.fixture
def folder(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def edit(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def same(a, b):
    names = ("errors", "add_prefix_space", "add_bos_token", "model_max_length", "padding_side",
             "truncation_side", "special_tokens_map", "all_special_tokens")
    return (a.get_vocab() == b.get_vocab() and a._merges == b._merges and a._added == b._added
            and all(getattr(a, name) == getattr(b, name) for name in names))


# ---- what is saved is what is loaded

def test_all_files_are_written(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(names=st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), max_size=3),
       prefix=st.booleans(), bos=st.booleans(), length=st.integers(1, 2000),
       side=st.sampled_from(["left", "right"]))
def test_round_trip(tmp_path, fixtures, names, prefix, bos, length, side):
    tokenizer = GPT2Tokenizer.from_pretrained(
        fixtures / "trained", add_prefix_space=prefix, add_bos_token=bos, model_max_length=length,
        padding_side=side, additional_special_tokens=names,
    )
    tokenizer.add_tokens([AddedToken("<x>", lstrip=True), "ordinary addition"])
    tokenizer.save_pretrained(tmp_path / "saved")
    assert same(GPT2Tokenizer.from_pretrained(tmp_path / "saved"), tokenizer)


def test_trained_tokenizer_round_trip(tmp_path, expected):
    tokenizer = GPT2Tokenizer.train([expected["training_text"]], 350, ["<|endoftext|>", "<sep>"])
    tokenizer.save_pretrained(tmp_path)
    assert same(GPT2Tokenizer.from_pretrained(tmp_path), tokenizer)


@pytest.mark.parametrize("kept", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
def test_either_kind_of_files_is_enough(folder, expected, kept):
    for name in set(FILES) - set(kept):
        (folder / name).unlink()
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    for text, ids, *_ in expected["cases"]:
        if "<pad>" not in text:  # without tokenizer.json or a config, <pad> is not known
            assert tokenizer.encode(text) == ids


# ---- what other versions write

def test_merges_need_no_version_line_and_may_look_like_comments(tmp_path):
    (tmp_path / "merges.txt").write_bytes("# #\n#version :\nĠ t\r\n\n".encode())
    assert read_merges(tmp_path / "merges.txt") == [("#", "#"), ("#version", ":"), ("Ġ", "t")]
    (tmp_path / "merges.txt").write_bytes("#version: 0.2\n# #\n".encode())
    assert read_merges(tmp_path / "merges.txt") == [("#", "#")]


def test_merges_of_tokenizer_json_may_be_strings_or_pairs(folder, tokenizer):
    def pairs(content):
        content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]

    edit(folder / "tokenizer.json", pairs)
    assert same(GPT2Tokenizer.from_pretrained(folder), tokenizer)


def test_special_tokens_as_strings_and_as_dicts(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    write(folder / "added_tokens.json", {"<pad>": 400, "<new>": 401})
    pad = {"content": "<pad>", "lstrip": False, "normalized": True, "rstrip": False,
           "single_word": False}
    for value in ("<pad>", pad, {"__type": "AddedToken", **pad}):
        named = {"eos_token": "<|endoftext|>", "pad_token": value}
        write(folder / "special_tokens_map.json", named)
        tokenizer = GPT2Tokenizer.from_pretrained(folder)
        assert (tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer)) == (0, 400, 402)
        assert tokenizer.encode("<pad><new>") == [400, 401]
        assert tokenizer.decode([400, 401], skip_special_tokens=True) == "<new>"


def test_special_tokens_of_the_config(folder):
    (folder / "tokenizer.json").unlink()
    write(folder / "special_tokens_map.json", {"pad_token": "<other>"})
    write(folder / "tokenizer_config.json", {
        "added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": True},
                                 "400": {"content": "<pad>", "special": True},
                                 "405": {"content": "<mask>", "lstrip": True, "special": True}},
        "bos_token": None, "pad_token": {"content": "<pad>"}, "mask_token": "<mask>",
        "model_max_length": 1024, "padding_side": "left", "tokenizer_class": "GPT2Tokenizer",
        "additional_special_tokens": ["<one>"], "clean_up_tokenization_spaces": True,
    })
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    assert tokenizer.bos_token is None and tokenizer.pad_token_id == 400
    assert tokenizer.model_max_length == 1024 and tokenizer.padding_side == "left"
    assert tokenizer.encode("  <mask><one>") == [405, 406]
    assert GPT2Tokenizer.from_pretrained(folder, padding_side="right").padding_side == "right"


def test_a_name_that_is_overruled(folder):
    tokenizer = GPT2Tokenizer.from_pretrained(folder, pad_token="<|endoftext|>", eos_token="<end>")
    assert tokenizer.pad_token_id == 0 and tokenizer.eos_token_id == 401


# ---- broken files: one line that says which

def break_json(path):
    path.write_text('{"cut": ')


def drop_merge_token(folder):
    (folder / "tokenizer.json").unlink()
    with open(folder / "merges.txt", "a", encoding="utf-8") as file:
        file.write("nowhere tobefound\n")


BROKEN = {
    "vocab.json cut": (lambda f: break_json(f / "vocab.json"), "vocab.json is not valid JSON"),
    "tokenizer.json cut": (lambda f: break_json(f / "tokenizer.json"), "tokenizer.json is not valid"),
    "config cut": (lambda f: break_json(f / "tokenizer_config.json"), "config.json is not valid JSON"),
    "config a list": (lambda f: write(f / "tokenizer_config.json", [1]), "config.json holds a list"),
    "not UTF-8": (lambda f: (f / "vocab.json").write_bytes(b"\xff"), "vocab.json is not UTF-8"),
    "merges not UTF-8": (lambda f: (f / "merges.txt").write_bytes(b"\xff \xff"), "txt: not UTF-8"),
    "a line of merges": (lambda f: (f / "merges.txt").write_text("a b\na b c\n"), "line 2"),
    "id a string": (lambda f: write(f / "vocab.json", {"a": "0"}), "vocab.json: the id"),
    "same id": (lambda f: write(f / "vocab.json", {"a": 0, "b": 0}), "the same id"),
    "empty": (lambda f: write(f / "vocab.json", {}), "vocab.json: no vocabulary"),
    "vocab.json disagrees": (lambda f: edit(f / "vocab.json", lambda v: v.update(new=999)),
                             "vocab.json: its vocabulary"),
    "merges.txt disagrees": (lambda f: (f / "merges.txt").write_text("t h\n"), "its merges"),
    "merge without token": (drop_merge_token, "'nowhere'"),
    "no model": (lambda f: write(f / "tokenizer.json", {"version": "1.0"}), "no 'model'"),
    "other model": (lambda f: edit(f / "tokenizer.json", lambda t: t["model"].update(
        type="WordPiece")), "model.type is 'WordPiece'"),
    "other pre-tokenizer": (lambda f: edit(f / "tokenizer.json", lambda t: t.update(
        pre_tokenizer={"type": "Whitespace"})), "pre_tokenizer is Whitespace"),
    "normalizer": (lambda f: edit(f / "tokenizer.json", lambda t: t.update(
        normalizer={"type": "Precompiled"})), "normalizer is of type 'Precompiled'"),
    "merges missing": (lambda f: edit(f / "tokenizer.json", lambda t: t["model"].pop("merges")),
                       "'merges'"),
    "token without id": (lambda f: edit(f / "tokenizer.json", lambda t: t["added_tokens"].append(
        {"content": "<x>"})), "no integer id"),
    "id taken": (lambda f: edit(f / "tokenizer.json", lambda t: t["added_tokens"].append(
        {"content": "<x>", "id": 5})), "'<x>' has id 5"),
    "special token a number": (lambda f: edit(f / "tokenizer_config.json", lambda t: t.update(
        pad_token=3)), "pad_token is 3"),
    "padding side": (lambda f: edit(f / "tokenizer_config.json", lambda t: t.update(
        padding_side="up")), "padding_side is 'up'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(folder, name):
    damage, message = BROKEN[name]
    damage(folder)
    with pytest.raises(ValueError) as caught:
        GPT2Tokenizer.from_pretrained(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_missing_files(folder):
    for name in ("tokenizer.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match="no tokenizer.json there, and no merges.txt"):
        GPT2Tokenizer.from_pretrained(folder)


def test_nothing_is_overwritten_if_saving_fails(folder, tokenizer, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        tokenizer.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_loading_and_saving_warns_of_nothing(fixtures, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shutil.copytree(fixtures / "transformers", tmp_path / "copy")
        GPT2Tokenizer.from_pretrained(tmp_path / "copy").save_pretrained(tmp_path / "saved")
