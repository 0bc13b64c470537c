import importlib.util
import json
import sys
from pathlib import Path

import pytest

from minillm import MarianTokenizer
from minillm.text.auto import AutoTokenizer

FOLDER = Path(__file__).parents[1] / "fixtures" / "marian_tokenizer"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
with_library = pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is None,
                                  reason="needs the optional library sentencepiece")


@pytest.fixture(scope="module")
def tokenizer():
    return MarianTokenizer.from_pretrained(FOLDER)


def test_without_the_library_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ImportError, match=r'^this tokenizer needs the library sentencepiece: pip '
                                          r'install "minillm\[sentencepiece\]"$'):
        MarianTokenizer.from_pretrained(FOLDER)


@with_library
@pytest.mark.parametrize("case", EXPECTED["texts"], ids=lambda case: repr(case["text"])[:30])
def test_texts_as_in_transformers(tokenizer, case):
    assert tokenizer(case["text"])["input_ids"] == case["ids"]
    assert tokenizer.tokenize(case["text"]) == [
        "<unk>" if tokenizer.convert_tokens_to_ids(token) == 1 else token
        for token in case["tokens"]]  # the tokens of ids
    assert tokenizer.decode(case["ids"]) == case["decoded"]
    assert tokenizer.decode(case["ids"], skip_special_tokens=True) == case["without special"]


@with_library
def test_targets_are_labels(tokenizer):
    texts, ids = zip(*[(case["text"], case["ids"]) for case in EXPECTED["targets"]])
    assert tokenizer(text_target=list(texts))["input_ids"] == list(ids)
    both = tokenizer(["The"] * len(texts), text_target=list(texts))
    assert both["labels"] == list(ids)
    assert both["input_ids"] == [tokenizer("The")["input_ids"]] * len(texts)


@with_library
def test_saving_and_opening(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is MarianTokenizer and again.source_lang == "eng"
    assert not (tmp_path / "tokenizer.json").exists()
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')  # nobody reads it
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is MarianTokenizer
    for case in EXPECTED["texts"]:
        assert again(case["text"])["input_ids"] == case["ids"]


@with_library
def test_offsets_are_refused(tokenizer):
    with pytest.raises(ValueError, match="return_offsets_mapping is True"):
        tokenizer("The", return_offsets_mapping=True)


@with_library
def test_transformers_opens_what_is_saved(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save_pretrained(tmp_path)
    theirs = transformers.MarianTokenizer.from_pretrained(tmp_path)
    for case in EXPECTED["texts"]:
        assert theirs(case["text"])["input_ids"] == case["ids"]


@with_library
@pytest.mark.parametrize("match, options", [
    ("separate_vocabs is True", dict(separate_vocabs=True)),
    ("the unk_token '<none>' isn't in the vocabulary", dict(unk_token="<none>")),
])
def test_what_cannot_be_is_refused(match, options):
    with pytest.raises(ValueError, match=match):
        MarianTokenizer.from_pretrained(FOLDER, **options)


@with_library
def test_a_broken_model_is_refused():
    with pytest.raises(ValueError, match="not a file of SentencePiece"):
        MarianTokenizer({"<unk>": 0}, b"nothing", b"nothing")
