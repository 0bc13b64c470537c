import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minillm.text.added_tokens import AddedToken, AddedTokenSplitter
from minillm.text.encoding import BatchEncoding
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.patterns import compile_pattern, matches, translate

EVERY_CHARACTER = st.characters(exclude_categories=())  # lone surrogates too
EVERY_STRING = st.lists(
    st.one_of(st.text(EVERY_CHARACTER, max_size=20), st.sampled_from(["<|endoftext|>", "<pad>"]))
).map("".join)
read_only = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


# ---- ids and text

def test_ids_and_texts_are_those_of_transformers(tokenizer, expected):
    for text, ids, decoded, without_special in expected["cases"]:
        assert tokenizer.encode(text) == ids, text
        assert tokenizer.decode(ids) == decoded == text
        assert tokenizer.decode(ids, skip_special_tokens=True) == without_special


def test_training_learns_the_vocabulary_of_hugging_face(fixtures, expected):
    theirs = GPT2Tokenizer(fixtures / "trained" / "vocab.json", fixtures / "trained" / "merges.txt")
    ours = GPT2Tokenizer.train([expected["training_text"]], 400)
    assert ours._merges == theirs._merges
    # Their trainer puts special tokens first, GPT-2 has them last; the rest is in the same order.
    assert {token: id + 1 for token, id in ours.get_vocab().items() if id < 399} == {
        token: id for token, id in theirs.get_vocab().items() if id > 0
    }
    assert ours.eos_token_id == 399


@read_only
@given(EVERY_STRING)
def test_decode_is_the_inverse_of_encode(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@read_only
@given(EVERY_STRING)
def test_special_tokens_in_the_text_are_found_and_skipped(tokenizer, text):
    ids = tokenizer.encode(text)
    assert ids.count(tokenizer.eos_token_id) == text.count("<|endoftext|>")
    plain = text.replace("<|endoftext|>", "").replace("<pad>", "")
    assert tokenizer.decode(ids, skip_special_tokens=True).encode("utf-8", "surrogatepass") == (
        plain.encode("utf-8", "surrogatepass"))


@read_only
@given(st.lists(st.integers(0, 400)))
def test_any_ids_can_be_decoded(tokenizer, ids):
    text = tokenizer.decode(ids)
    for dtype in ("i8", "u2"):
        assert tokenizer.decode(np.array(ids, dtype)) == text
    assert tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids)) == text


@read_only
@given(st.text(EVERY_CHARACTER))
def test_tokens_and_ids_are_two_names_of_the_same(tokenizer, text):
    assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) == tokenizer.encode(text)


def test_decode_takes_an_id_a_row_and_rows(tokenizer):
    ids = tokenizer.encode("a!")
    assert tokenizer.decode(ids[0]) == "a"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode(np.array([ids, ids])) == ["a!", "a!"]
    assert tokenizer.batch_decode([ids, ids[:1]]) == ["a!", "a"]
    assert tokenizer.decode([ids, ids[:1]]) == ["a!", "a"]


def test_half_a_character_is_replaced(tokenizer):
    ids = tokenizer.encode("\U00010348")
    assert len(ids) > 1
    assert tokenizer.decode(ids[:-1]) == "\ufffd"


def test_spaces_are_not_cleaned_up(tokenizer):
    text = "one , two . it 's  three !"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_id_without_a_token_adds_nothing(tokenizer):
    # A model's vocabulary is often padded to a round number, so it may generate such an id.
    assert tokenizer.decode([65, 2100, 66]) == "ab"
    assert tokenizer.decode(401) == "" == tokenizer.decode(np.array([10**6]))
    assert tokenizer.convert_ids_to_tokens([65, 2100]) == ["a", None]
    assert tokenizer.convert_ids_to_tokens(2100) is None and tokenizer.token_bytes(2100) == b""
    with pytest.raises(ValueError, match="no token has"):
        tokenizer.pad_token_id = 2100


def test_ids_must_not_be_negative(tokenizer):
    for ids in (-1, [0, -2], np.array([-3])):
        with pytest.raises(ValueError, match="ids contain -"):
            tokenizer.decode(ids)


@read_only
@given(st.lists(st.integers(0, 127), max_size=8),
       st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"]))
def test_ids_of_any_integer_dtype_are_the_same(tokenizer, ids, dtype):
    array = np.array(ids, dtype)
    assert tokenizer.decode(array) == tokenizer.decode(ids)
    assert tokenizer.convert_ids_to_tokens(array) == tokenizer.convert_ids_to_tokens(ids)
    assert tokenizer.decode(array[None]) == [tokenizer.decode(ids)]


def test_ids_must_be_integers(tokenizer):
    with pytest.raises(TypeError, match="float64"):
        tokenizer.decode([1.0])


@pytest.mark.parametrize("text", [None, 3, b"bytes", {"a": 1}])
def test_a_text_must_be_a_str(tokenizer, text):
    for method in (tokenizer, tokenizer.encode, tokenizer.tokenize):
        with pytest.raises(TypeError, match=type(text).__name__):
            method(text)
    with pytest.raises(TypeError, match=type(text).__name__):
        tokenizer(["fine", text])


# ---- arrays, padding, truncation

@pytest.mark.parametrize("kind", ["pt", "np"])
def test_return_tensors_gives_int64_arrays(tokenizer, kind):
    ids = tokenizer.encode("a! c", return_tensors=kind)
    assert isinstance(ids, np.ndarray) and ids.dtype == np.int64 and ids.shape[0] == 1
    assert ids[0].tolist() == tokenizer.encode("a! c")
    inputs = tokenizer("a! c", return_tensors=kind, padding=True, truncation=True)
    assert isinstance(inputs, BatchEncoding)
    assert inputs.input_ids is inputs["input_ids"] and inputs.input_ids.shape == ids.shape
    assert inputs.attention_mask.dtype == np.int64 and inputs.attention_mask.all()
    assert (lambda input_ids, attention_mask: True)(**inputs)
    assert inputs.to("cpu") is inputs


def test_one_text_without_arrays_gives_flat_lists(tokenizer):
    assert tokenizer("a!") == {"input_ids": tokenizer.encode("a!"), "attention_mask": [1, 1]}
    assert list(tokenizer("a", return_attention_mask=False)) == ["input_ids"]
    with pytest.raises(AttributeError, match="token_type_ids"):
        tokenizer("a").token_type_ids


def test_the_empty_text(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    array = tokenizer("", return_tensors="pt")["input_ids"]
    assert array.shape == (1, 0) and array.dtype == np.int64
    with pytest.raises(ValueError, match="empty list"):
        tokenizer([])


@read_only
@given(st.lists(st.text("ab "), min_size=1, max_size=5), st.sampled_from(["right", "left"]),
       st.sampled_from(["right", "left"]), st.integers(1, 8))
def test_padding_and_truncation(tokenizer, texts, padding_side, truncation_side, length):
    tokenizer.padding_side, tokenizer.truncation_side = padding_side, truncation_side
    rows = [tokenizer.encode(text) for text in texts]
    batch = tokenizer(texts, padding=True, return_tensors="np")
    assert batch.input_ids.shape == batch.attention_mask.shape == (len(rows), max(map(len, rows)))
    for row, ids, mask in zip(rows, batch.input_ids, batch.attention_mask):
        assert ids[mask == 1].tolist() == row
        assert (ids[mask == 0] == tokenizer.pad_token_id).all()
        missing = len(ids) - len(row)
        assert not mask[:missing].any() if padding_side == "left" else not mask[len(row):].any()
    cut = tokenizer(texts, padding="max_length", truncation=True, max_length=length)
    for row, ids, mask in zip(rows, cut.input_ids, cut.attention_mask):
        kept = [id for id, real in zip(ids, mask) if real]
        assert len(ids) == len(mask) == length
        assert kept == (row[:length] if truncation_side == "right" else row[-length:])


def test_truncation_goes_to_the_length_of_the_model(tokenizer):
    text = "t!t!t!"
    assert tokenizer(text, truncation=True) == tokenizer(text)  # no limit is known
    tokenizer.model_max_length = 3
    assert len(tokenizer.encode(text, truncation=True)) == 3
    assert len(tokenizer.encode(text, truncation=True, max_length=4)) == 4
    assert len(tokenizer.encode(text)) == 6
    assert len(tokenizer.encode(text, max_length=2)) == 2
    assert len(tokenizer.encode(text, truncation=False, max_length=2)) == 6
    assert len(tokenizer.encode("a", padding="max_length")) == 3


def test_several_texts_need_a_pad_token_only_if_their_lengths_differ(fixtures):
    tokenizer = GPT2Tokenizer.from_pretrained(fixtures / "trained")
    assert tokenizer.pad_token is None and tokenizer.pad_token_id is None
    assert tokenizer("a!", padding=True, return_tensors="pt").input_ids.shape == (1, 2)
    assert tokenizer(["a", "w"], padding=True, return_tensors="pt").input_ids.shape == (2, 1)
    with pytest.raises(ValueError, match="set tokenizer.pad_token"):
        tokenizer(["a", "a!"], padding=True)
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer(["a", "a!"], padding=True).attention_mask == [[1, 0], [1, 1]]


def test_unequal_lengths_without_padding_make_no_array(tokenizer):
    assert tokenizer(["a", "a!"]).attention_mask == [[1], [1, 1]]
    with pytest.raises(ValueError, match="1 to 2 tokens.*padding=True"):
        tokenizer(["a", "a!"], return_tensors="np")


@pytest.mark.parametrize("options, named", [
    ({"padding": "longer"}, "padding"), ({"padding": 1}, "padding"),
    ({"truncation": "yes"}, "trunc"),
    ({"max_length": 0}, "max_length"), ({"max_length": 2.5}, "max_length"),
    ({"return_tensors": "tf"}, "return_tensors"), ({"padding": "max_length"}, "max_length"),
])
def test_an_option_that_means_nothing_is_an_error(tokenizer, options, named):
    with pytest.raises(ValueError, match=named):
        tokenizer("a", **options)


# ---- special tokens and the vocabulary

def test_special_tokens(tokenizer):
    assert tokenizer.eos_token == tokenizer.bos_token == tokenizer.unk_token == "<|endoftext|>"
    assert tokenizer.eos_token_id == 0 and tokenizer.pad_token_id == 400
    assert tokenizer.all_special_tokens == ["<|endoftext|>", "<pad>"]
    assert tokenizer.all_special_ids == [0, 400]
    assert tokenizer.vocab_size == 400 and len(tokenizer) == 401 == len(tokenizer.get_vocab())
    assert tokenizer.convert_tokens_to_ids("no such token") == tokenizer.unk_token_id
    assert tokenizer.convert_ids_to_tokens([0, 1], skip_special_tokens=True) == ["!"]
    tokenizer.pad_token_id = 0
    assert tokenizer.pad_token == "<|endoftext|>"
    tokenizer.pad_token = None
    assert tokenizer.pad_token_id is None


def test_a_new_token_gets_the_next_id(tokenizer):
    with pytest.raises(ValueError, match="add_special_tokens"):
        tokenizer.pad_token = "[PAD]"
    assert tokenizer.add_special_tokens({"pad_token": "[PAD]"}) == 1
    assert tokenizer.pad_token_id == 401 and len(tokenizer) == 402 and tokenizer.vocab_size == 400
    assert tokenizer.encode("a[PAD]b")[1] == 401
    assert tokenizer.add_tokens(["[PAD]", "two words"]) == 1
    assert tokenizer.decode(tokenizer.encode("two words[PAD]"), skip_special_tokens=True) == (
        "two words")
    assert tokenizer.add_special_tokens({"cls_token": "[CLS]"}) == 1
    assert tokenizer.cls_token == "[CLS]" and tokenizer.cls_token_id == len(tokenizer) - 1
    with pytest.raises(ValueError, match="no_such_token"):
        tokenizer.add_special_tokens({"no_such_token": "[CLS]"})
    with pytest.raises(ValueError, match="empty"):
        tokenizer.add_tokens("")
    with pytest.raises(TypeError, match="int"):
        tokenizer.add_tokens([3])


def pieces(splitter, text):
    return [token.content if token else piece for piece, token in splitter.split(text)]


def test_the_longest_added_token_wins_at_one_place():
    splitter = AddedTokenSplitter([AddedToken("<a"), AddedToken("<a>"), AddedToken("a>b")])
    assert pieces(splitter, "x<a>b<a") == ["x", "<a>", "b", "<a"]
    assert pieces(AddedTokenSplitter([]), "text") == ["text"]


def test_options_of_added_tokens():
    splitter = AddedTokenSplitter([AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True),
                                   AddedToken("cat", single_word=True),
                                   AddedToken("<n", normalized=True)])
    assert pieces(splitter, "a  <l> b <r>  c cat concat<n <l>") == [
        "a", "<l>", " b ", "<r>", "c ", "cat", " concat", "<n", "<l>"]


def test_patterns_of_other_programs():
    assert translate(r"^\w+$|[^\w'\]]|\W") == (
        r"^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}²³¹¼½¾]+$|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}'\]]"
        r"|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}²³¹¼½¾]")
    for foreign in (r"\h", r"[a[b]]", r"[a&&b]", r"(?im:a)", r"[\W]", r"\bword"):
        with pytest.raises(ValueError, match="something else"):
            translate(foreign)
    assert list(matches(compile_pattern({"Regex": "a*"}), "baa")) == [
        (0, 0, True), (0, 1, False), (1, 3, True)]
    assert list(matches(compile_pattern({"String": "."}), "a.b")) == [
        (0, 1, False), (1, 2, True), (2, 3, False)]


def test_special_tokens_can_be_text(tokenizer):
    text = "a<|endoftext|>b"
    split = tokenizer(text, split_special_tokens=True).input_ids
    assert 0 not in split and tokenizer.decode(split) == text
    tokenizer.split_special_tokens = True
    assert tokenizer.encode(text) == split
    assert tokenizer(text, split_special_tokens=False).input_ids == [65, 0, 66]


def test_training_leaves_special_tokens_out():
    special = ("<|endoftext|>", "<|user|>")
    text = "<|user|>hello hello<|endoftext|>" * 50
    tokenizer = GPT2Tokenizer.train(iter([text]), 262, special_tokens=special)
    assert not any("|" in token for token in tokenizer.get_vocab() if len(token) > 1
                   and token not in special)
    assert tokenizer.all_special_tokens == list(special)
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == "hello hello" * 50
    assert len(tokenizer) == tokenizer.vocab_size == 262
    assert sorted(tokenizer.get_vocab().values()) == list(range(262))


def test_training_on_little_text_makes_fewer_tokens():
    tokenizer = GPT2Tokenizer.train("ab", 1000)
    assert len(tokenizer) == 257 and tokenizer.eos_token_id == 256
    assert tokenizer.decode(tokenizer.encode("ab, 语言")) == "ab, 语言"


def test_training_without_special_tokens():
    tokenizer = GPT2Tokenizer.train(["some text, some more text"], 260, special_tokens=())
    assert tokenizer.eos_token is None and tokenizer.all_special_tokens == []
    assert tokenizer.decode(tokenizer.encode("<|endoftext|>")) == "<|endoftext|>"


@pytest.mark.parametrize("arguments, error, named", [
    ((["text"], 256), ValueError, "vocab_size is 256, wanted at least 257"),
    (([], 300), ValueError, "no text"),
    ((["", "<|endoftext|>"], 300), ValueError, "no text"),
    ((["text", 3], 300), TypeError, "int"),
    ((["text"], 300, ["<a>", "<a>"]), ValueError, "special_tokens"),
    ((["text"], 300, [""]), ValueError, "special_tokens"),
    ((["text"], 300, ["x"]), ValueError, "'x'"),
])
def test_training_with_bad_arguments(arguments, error, named):
    with pytest.raises(error, match=named):
        GPT2Tokenizer.train(*arguments)


def test_prefix_space_and_beginning_of_text(fixtures):
    folder = fixtures / "transformers"
    tokenizer = GPT2Tokenizer.from_pretrained(folder, add_prefix_space=True)
    assert tokenizer.encode("word") == tokenizer.encode(" word")
    assert tokenizer.encode("") == []
    tokenizer = GPT2Tokenizer.from_pretrained(folder, add_bos_token=True)
    plain = tokenizer.encode("word", add_special_tokens=False)
    assert tokenizer.encode("word") == [0, *plain]
    for side in ("left", "right"):
        tokenizer.truncation_side = side
        assert tokenizer.encode("word", max_length=1) == [0]
        assert tokenizer.encode("x!", max_length=2)[0] == 0
    with pytest.raises(ValueError, match="bos_token"):
        GPT2Tokenizer.from_pretrained(folder, add_bos_token=True, bos_token=None)


def test_a_vocabulary_without_all_bytes_warns():
    with pytest.warns(UserWarning, match="254 of the 256 bytes"):
        tokenizer = GPT2Tokenizer({"a": 0, "b": 1, "ab": 2}, [("a", "b")])
    assert tokenizer.encode("aXb") == [2]  # as in Hugging Face's libraries
    assert tokenizer.eos_token_id == 3
