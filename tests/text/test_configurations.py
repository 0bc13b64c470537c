"""Every step of a tokenizer.json that minillm obeys, compared with the results of `transformers`.

The configurations and results are frozen in tests/fixtures/tokenizer/configurations.json, by
tests/fixtures/make_tokenizer.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from word_level import WordLevel

from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.normalizers import Lowercase
from minillm.text.post_processors import BertProcessing
from minillm.text.pre_tokenizers import Whitespace
from minillm.text.tokenizer import PreTrainedTokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "tokenizer"
CONFIGURATIONS = {one["name"]: one for one in json.loads(
    (FIXTURES / "configurations.json").read_text(encoding="utf-8"))}
STEPS = ("normalizer", "pre_tokenizer", "post_processor")
END = "<|endoftext|>"


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory):
    """{name: GPT2Tokenizer} of all configurations, each read from a tokenizer.json."""
    base = json.loads((FIXTURES / "transformers" / "tokenizer.json").read_text(encoding="utf-8"))
    folder = tmp_path_factory.mktemp("configurations")
    return {name: tokenizer_of(base, one, folder / str(index))
            for index, (name, one) in enumerate(CONFIGURATIONS.items())}


def tokenizer_of(base, configuration, folder):
    folder.mkdir()
    content = {**base, **{step: configuration[step] for step in STEPS},
               "added_tokens": base["added_tokens"] + configuration["added_tokens"],
               "model": {**base["model"], "ignore_merges": configuration["ignore_merges"]}}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return GPT2Tokenizer.from_pretrained(folder, pad_token="<pad>")


def as_json(encoding):
    return json.loads(json.dumps(encoding))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_ids_offsets_and_words_are_those_of_transformers(tokenizers, name):
    for text, ids, offsets, words, decoded in CONFIGURATIONS[name]["texts"]:
        encoding = tokenizers[name](text, return_offsets_mapping=True)
        assert encoding.input_ids == ids, text
        assert as_json(encoding.offset_mapping) == offsets, text
        assert encoding.word_ids() == words, text
        assert tokenizers[name].encode(text) == ids
        assert tokenizers[name].decode(ids) == decoded


@pytest.mark.parametrize("name", [name for name, one in CONFIGURATIONS.items() if one["calls"]])
def test_pairs_padding_truncation_and_overflow_are_those_of_transformers(tokenizers, name):
    for arguments, options, wanted in CONFIGURATIONS[name]["calls"]:
        texts = [tuple(one) if isinstance(one, list) and "is_split_into_words" not in options
                 else one for one in arguments]
        got = tokenizers[name](texts, return_offsets_mapping=True, return_token_type_ids=True,
                               return_special_tokens_mask=True, **options)
        assert as_json(got) == wanted and list(got) == list(wanted), (arguments, options)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_saving_loses_nothing(tokenizers, name, tmp_path):
    tokenizers[name].save_pretrained(tmp_path)
    again = GPT2Tokenizer.from_pretrained(tmp_path)
    assert [getattr(again, step) for step in STEPS] == [
        getattr(tokenizers[name], step) for step in STEPS]
    for text, ids, *_ in CONFIGURATIONS[name]["texts"]:
        assert again.encode(text) == ids


@given(name=st.sampled_from(sorted(CONFIGURATIONS)),
       text=st.text(st.characters(exclude_categories=()), max_size=30))
def test_offsets_change_no_ids_and_lie_in_the_text(tokenizers, name, text):
    tokenizer = tokenizers[name]
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert encoding.input_ids == tokenizer.encode(text)
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offset_mapping)
    assert len(encoding.tokens()) == len(encoding.word_ids()) == len(encoding.input_ids)


@given(name=st.sampled_from([name for name in CONFIGURATIONS if name.startswith("normalizer")]),
       text=st.text(st.one_of(st.characters(exclude_categories=()),
                              st.sampled_from("aé\u0301\u0316\u0323가\u1100\u1161ﬁ İ")),
                    max_size=20))
def test_tracing_a_normalizer_gives_the_same_text(tokenizers, name, text):
    normalizer = tokenizers[name].normalizer
    for one in getattr(normalizer, "normalizers", [normalizer]):
        traced, sources = one.trace(text)
        assert traced == one.apply(text) and len(sources) == len(traced)
        assert all(-1 <= source < len(text) for source in sources)


def test_offsets_of_gpt2_by_hand(tokenizers):
    tokenizer = tokenizers["post_processor: leave"]
    text = "a é!"
    # "é" is two bytes, which are two tokens here; both stand for the whole character.
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert encoding.tokens() == ["a", "Ġ", "Ã", "©", "!"]
    assert encoding.offset_mapping == [(0, 1), (1, 2), (2, 3), (2, 3), (3, 4)]
    assert encoding.char_to_token(2) == 2 and encoding.token_to_chars(3) == (2, 3)
    assert encoding.char_to_token(9) is None


def test_a_pair_by_hand(tokenizers):
    tokenizer = tokenizers["post_processor: bos"]
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    encoding = tokenizer("a", "b", return_token_type_ids=True, return_special_tokens_mask=True)
    assert encoding.input_ids == [0, a, 0, b] and encoding.token_type_ids == [0, 0, 1, 1]
    assert encoding.special_tokens_mask == [1, 0, 1, 0]
    assert encoding.sequence_ids() == [None, 0, None, 1]
    assert tokenizer.num_special_tokens_to_add(pair=True) == 2
    assert tokenizer.build_inputs_with_special_tokens([a], [b]) == [0, a, 0, b]
    assert tokenizer.create_token_type_ids_from_sequences([a], [b]) == [0, 0, 1, 1]
    assert tokenizer.get_special_tokens_mask([a], [b]) == [1, 0, 1, 0]
    assert tokenizer.get_special_tokens_mask([0, a], already_has_special_tokens=True) == [1, 0]
    assert tokenizer("a", "b", add_special_tokens=False).input_ids == [a, b]
    assert tokenizers["post_processor: nothing"]("a", "b").input_ids == [a, b]


def test_the_pieces_of_a_long_text_overlap(tokenizers):
    tokenizer = tokenizers["post_processor: bos"]
    text = "abcdefgh"
    whole = tokenizer.encode(text, add_special_tokens=False)
    encoding = tokenizer([text, "a"], truncation=True, max_length=5, stride=2, padding=True,
                         return_overflowing_tokens=True, return_tensors="np")
    assert encoding.overflow_to_sample_mapping.tolist() == [0] * (len(encoding.input_ids) - 1) + [1]
    rows = [row[mask == 1].tolist() for row, mask in zip(encoding.input_ids,
                                                          encoding.attention_mask)]
    assert all(row[0] == 0 and len(row) <= 5 for row in rows)
    assert rows[1][1:3] == rows[0][3:5]
    joined = rows[0][1:]
    for row in rows[1:-1]:
        joined += row[3:]
    assert joined == whole
    assert encoding.input_ids.dtype == np.int64


def test_template_options(tmp_path):
    tokenizer = GPT2Tokenizer.from_pretrained(FIXTURES / "transformers", add_eos_token=True)
    a = tokenizer.convert_tokens_to_ids("a")
    assert tokenizer.encode("a") == [a, 0] and not tokenizer.add_bos_token
    tokenizer.add_bos_token = True
    assert tokenizer.encode("a") == [0, a, 0] and tokenizer.add_eos_token
    tokenizer.save_pretrained(tmp_path)
    again = GPT2Tokenizer.from_pretrained(tmp_path)
    assert again.add_bos_token and again.add_eos_token and again.encode("a") == [0, a, 0]
    again.add_eos_token = False
    assert again.encode("a") == [0, a]
    # Without a tokenizer.json, the config says it.
    (tmp_path / "tokenizer.json").unlink()
    assert GPT2Tokenizer.from_pretrained(tmp_path).encode("a") == [0, a, 0]


def test_padding_rows_that_are_encoded_already(tokenizers):
    tokenizer = tokenizers["post_processor: nothing"]
    one, two = tokenizer("a"), tokenizer("a b")
    wanted = tokenizer(["a", "a b"], padding=True)
    assert tokenizer.pad([one, two]) == wanted
    assert tokenizer.pad({"input_ids": [one.input_ids, two.input_ids]}) == wanted
    assert tokenizer.pad(one, padding="max_length", max_length=3).input_ids == [*one.input_ids,
                                                                               400, 400]
    array = tokenizer.pad([one, two], return_tensors="pt", pad_to_multiple_of=4)
    assert array.input_ids.shape == (2, 4) and array.attention_mask.sum() == 3
    with pytest.raises(ValueError, match="no input_ids"):
        tokenizer.pad({"attention_mask": [1]})


@pytest.mark.parametrize("arguments, options, error, named", [
    ((["a", "b"], ["c"]), {}, ValueError, "text_pair has 1"),
    ((["a"], "c"), {}, TypeError, "text_pair"),
    ((["a", ["b", "c", "d"]],), {}, TypeError, "list"),
    (("a",), {"is_split_into_words": True}, TypeError, "is_split_into_words"),
    (("abcdef",), {"truncation": "only_second", "max_length": 3}, ValueError, "no second text"),
    (("a", "bcdefghi"), {"truncation": "only_first", "max_length": 7}, ValueError, "has 1 tokens"),
    (("a",), {"truncation": True, "max_length": 1}, ValueError, "special tokens alone are 2"),
    (("abcdef",), {"truncation": True, "max_length": 5, "stride": 4}, ValueError, "stride"),
    (("a",), {"stride": -1}, ValueError, "stride"),
    (("a",), {"pad_to_multiple_of": 0}, ValueError, "pad_to_multiple_of"),
    (("a",), {"truncation": True, "padding": True, "max_length": 6, "pad_to_multiple_of": 4},
     ValueError, "multiple"),
    (("a",), {"padding": True, "padding_side": "up", "pad_to_multiple_of": 9}, ValueError,
     "padding_side"),
    (("a",), {"no_such_option": 1}, TypeError, "no_such_option"),
])
def test_calls_that_mean_nothing(tokenizers, arguments, options, error, named):
    with pytest.raises(error, match=named):
        tokenizers["post_processor: roberta"](*arguments, **options)


def test_targets_become_labels(tokenizers):
    tokenizer = tokenizers["post_processor: bos"]
    both = tokenizer("a b", text_target="c")
    assert both["labels"] == tokenizer.encode("c") and both.input_ids == tokenizer.encode("a b")
    assert tokenizer(text_target="c") == tokenizer("c")


def test_where_a_tokenizer_is_looked_for(tmp_path):
    folder = FIXTURES / "transformers"
    assert len(GPT2Tokenizer.from_pretrained(folder, use_fast=False, local_files_only=True)) == 401
    assert len(GPT2Tokenizer.from_pretrained(folder.parent, subfolder="transformers")) == 401
    with pytest.raises(ValueError, match="trust_remote_code"):
        GPT2Tokenizer.from_pretrained(folder, trust_remote_code=True)
    with pytest.raises(TypeError, match="no_such_option"):
        GPT2Tokenizer.from_pretrained(folder, no_such_option=1)
    with pytest.raises(FileNotFoundError, match="no/where"):
        GPT2Tokenizer.from_pretrained("no/where", local_files_only=True)


class WordTokenizer(PreTrainedTokenizer):
    def _join(self, ids):
        return " ".join(self.convert_ids_to_tokens(ids))


def test_another_algorithm_needs_a_model_and_a_way_back():
    ids = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "cat": 4, ",": 5}
    tokenizer = WordTokenizer(
        ids, WordLevel(ids), Whitespace(), normalizer=Lowercase(),
        post_processor=BertProcessing(sep=["[SEP]", 2], cls=["[CLS]", 1]),
        special_tokens={"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
        clean_up_tokenization_spaces=True)
    encoding = tokenizer("The Cat,", "a cat", return_offsets_mapping=True,
                         return_token_type_ids=True)
    assert encoding.input_ids == [1, 3, 4, 5, 2, 0, 4, 2] == tokenizer.encode("The Cat,", "a cat")
    assert encoding.token_type_ids == [0, 0, 0, 0, 0, 1, 1, 1]
    assert encoding.offset_mapping == [(0, 0), (0, 3), (4, 7), (7, 8), (0, 0), (0, 1), (2, 5),
                                       (0, 0)]
    assert tokenizer.decode(encoding.input_ids, skip_special_tokens=True) == "the cat, cat"
    assert tokenizer.encode("the cat [SEP] the", max_length=4) == [1, 3, 4, 2]
