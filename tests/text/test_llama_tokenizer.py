"""The tokenizer of Llama 2 and Mistral 7B: byte-pair encoding on characters, as SentencePiece's."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import LlamaTokenizer
from minillm.generation.text_stream import text_pieces
from minillm.text.auto import AutoTokenizer
from minillm.text.bpe import merge_short
from minillm.text.decoders import ByteFallback, Strip
from minillm.text.gpt2_tokenizer import GPT2Tokenizer

FIXTURE = json.loads(Path(__file__).parents[1].joinpath("fixtures", "llama_tokenizer.json")
                     .read_text(encoding="utf-8"))
VOCAB, MERGES = FIXTURE["vocab"], [tuple(merge) for merge in FIXTURE["merges"]]
# Without lone surrogates, which UTF-8 can't hold, and without the mark, which decodes as a space.
TEXT = st.text(st.one_of(st.sampled_from("the pieces are \n人工智能😀é"),
                         st.characters(exclude_categories=("Cs",)))).map(
    lambda text: text.replace("▁", " ").replace("<", "("))


def write(folder, name, config=None, **model):
    """Write the files of a configuration of the fixture -> the folder"""
    found = FIXTURE["configurations"][name]
    content = {**found["sections"], "model": {**found["model"], **model, "vocab": VOCAB,
                                              "merges": FIXTURE["merges"]}}
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    return {name: AutoTokenizer.from_pretrained(write(folder / name.replace(" ", "_"), name))
            for name in FIXTURE["configurations"]}


@pytest.mark.parametrize("name", FIXTURE["configurations"])
def test_ids_offsets_and_texts_are_those_of_tokenizers(tokenizers, name):
    tokenizer, found = tokenizers[name], FIXTURE["configurations"][name]
    assert type(tokenizer) is LlamaTokenizer
    for text, ids, offsets, decoded, without_special in found["cases"]:
        assert tokenizer.encode(text) == ids, text
        traced = tokenizer(text, return_offsets_mapping=True)
        assert traced["input_ids"] == ids, text
        assert list(map(list, traced["offset_mapping"])) == offsets, text
        assert tokenizer.decode(ids) == decoded, text
        assert tokenizer.decode(ids, skip_special_tokens=True) == without_special, text
    for ids, decoded, without_special in found["decoded"]:
        assert tokenizer.decode(np.array(ids)) == decoded
        assert tokenizer.decode(ids, skip_special_tokens=True) == without_special


@pytest.mark.parametrize("name", FIXTURE["configurations"])
def test_saved_and_read_again(tokenizers, name, tmp_path):
    tokenizer = tokenizers[name]
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is LlamaTokenizer and again.get_vocab() == tokenizer.get_vocab()
    for text, ids, *_ in FIXTURE["configurations"][name]["cases"]:
        assert again.encode(text) == ids
        assert again.decode(ids) == tokenizer.decode(ids)


@given(TEXT)
def test_every_text_is_decoded_as_it_was(tokenizers, text):
    for name in ("Llama 2", "Mistral 7B v0.3"):
        ids = tokenizers[name].encode(text)
        if not text.startswith("▁") and not (name[0] == "M" and text.startswith(" ")):
            assert tokenizers[name].decode(ids) == text  # a first space needs no other before it
        assert "".join(text_pieces(tokenizers[name], ids)) == tokenizers[name].decode(ids)


@given(TEXT)
def test_merges_are_those_of_the_definition(tokenizers, text):
    model = tokenizers["Llama 2"].model
    symbols = [id for character in text for id in (
        [VOCAB[character]] if character in VOCAB
        else [VOCAB[f"<0x{byte:02X}>"] for byte in character.encode()])]
    assert model.encode_word(text) == merge_short(symbols, model.merges)


@given(TEXT)
def test_the_spans_of_tokens_cover_the_text(tokenizers, text):
    spans = tokenizers["Mistral 7B v0.3"](text, return_offsets_mapping=True)["offset_mapping"]
    reached = 0
    for start, end in spans:
        assert start <= reached and end >= reached and start < end
        reached = end
    assert reached == len(text)


@given(st.binary(max_size=12))
def test_byte_fallback_decodes_runs_of_utf8(data):
    tokens = ByteFallback().decode(["a", *(f"<0x{byte:02x}>" for byte in data), "b"])
    try:
        middle = data.decode("utf-8")
    except UnicodeDecodeError:
        middle = "\ufffd" * len(data)
    assert "".join(tokens) == f"a{middle}b"


def test_strip_stops_at_another_character():
    assert Strip(" ", 2, 1).decode(["   a  ", " ", "", "b"]) == [" a ", "", "", "b"]


def test_a_stream_waits_for_the_bytes_of_a_character(tokenizers):
    tokenizer = tokenizers["Llama 2"]
    ids = tokenizer.encode("a 驙b")
    assert list(text_pieces(tokenizer, ids)) == ["a", " ", "驙", "b"]
    assert list(text_pieces(tokenizer, ids[:-2])) == ["a", " ", "\ufffd\ufffd"]


def test_special_tokens_and_padding_of_the_class(tmp_path):
    llama = AutoTokenizer.from_pretrained(write(
        tmp_path / "llama", "Llama 2", {"tokenizer_class": "LlamaTokenizer", "legacy": False,
                                        "add_prefix_space": None, "pad_token": "</s>"}))
    assert (llama.bos_token_id, llama.eos_token_id, llama.unk_token_id) == (1, 2, 0)
    batch = llama(["a piece", "a"], padding=True, return_tensors="np")
    assert batch["attention_mask"].tolist()[1][0] == 0 and batch["input_ids"][1, 0] == 2
    general = AutoTokenizer.from_pretrained(write(
        tmp_path / "general", "Llama 2", {"tokenizer_class": "PreTrainedTokenizerFast",
                                          "bos_token": "<s>"}))
    assert general.special_tokens_map == {"bos_token": "<s>"} and general.padding_side == "right"


def test_byte_level_files_keep_their_class(fixtures):
    assert type(AutoTokenizer.from_pretrained(fixtures / "transformers")) is GPT2Tokenizer


@pytest.mark.parametrize("change, message", [
    ({"dropout": 0.5}, "model.dropout is 0.5, which minillm does not have"),
    ({"end_of_word_suffix": "</w>"}, "model.end_of_word_suffix is '</w>'"),
    ({"unk_token": "<none>"}, "unk_token is '<none>', which the vocabulary does not have"),
    ({"scores": []}, "model.scores is not a field of a BPE model"),
    ({"fuse_unk": 1}, "model.fuse_unk is 1, wanted true or false"),
])
def test_models_that_are_refused(tmp_path, change, message):
    write(tmp_path, "Llama 2", **change)
    with pytest.raises(ValueError, match=message) as error:
        AutoTokenizer.from_pretrained(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name, section, message", [
    ("decoder", {"type": "CTC"}, "decoder is of type 'CTC', which minillm does not have"),
    ("pre_tokenizer", {"type": "Metaspace", "replacement": "__"}, "replacement is '__', wanted one"),
    ("pre_tokenizer", {"type": "Metaspace", "replacement": "_", "add_prefix_space": False},
     "prepend_scheme is 'always', but add_prefix_space is False"),
    ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [
        {"type": "Whitespace"}, {"type": "Metaspace", "replacement": "_",
                                 "prepend_scheme": "first"}]}, "Metaspace with prepend_scheme"),
])
def test_steps_that_are_refused(tmp_path, name, section, message):
    path = write(tmp_path, "Llama 2") / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: section}))
    with pytest.raises(ValueError, match=message):
        AutoTokenizer.from_pretrained(tmp_path)


def test_no_tokenizer_json(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer.json there$"):
        LlamaTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="transformers writes one from tokenizer.model"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_transformers_opens_what_is_saved(tokenizers, tmp_path):
    transformers = pytest.importorskip("transformers")
    for name, tokenizer in tokenizers.items():
        folder = tmp_path / name.replace(" ", "_")
        tokenizer.save_pretrained(folder)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        for text, ids, *_ in FIXTURE["configurations"][name]["cases"]:
            assert theirs.encode(text, add_special_tokens=False) == ids, (name, text)
            assert theirs.decode(ids) == tokenizer.decode(ids), (name, text)
