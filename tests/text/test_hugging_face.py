"""Comparison with Hugging Face's libraries, where they are installed."""

import json
import sys
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minillm.text.added_tokens import AddedToken
from minillm.text.bpe import count_words, train_bpe
from minillm.text.corpus import load_python_topics
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.patterns import compile_pattern, matches

tokenizers = pytest.importorskip("tokenizers")

# Which code points are letters depends on the Unicode version that a library was built with. The
# comparison keeps to those that were assigned long ago, and newer ones of fixed blocks.
ASSIGNED = [chr(code) for code in range(sys.maxunicode + 1)
            if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs", "Co")]
TEXT = st.one_of(
    st.text(st.sampled_from(ASSIGNED)),
    st.text(st.sampled_from("ab's tdx19 \n\t\r .,!_é語\u0301\u00a0\u3000\u200d😀👍🏽\x00\x1c\x85")),
    st.text(st.sampled_from("abc ")),
    st.sampled_from(["<|endoftext|>", "<pad>", "<x>", "word", "  ", " the language model"]),
)
TEXTS = st.lists(TEXT, max_size=6).map("".join)


@pytest.fixture(scope="module")
def ours(fixtures):
    tokenizer = GPT2Tokenizer.from_pretrained(fixtures / "transformers")
    tokenizer.add_tokens(["<x>", AddedToken("word", single_word=True), AddedToken("語", rstrip=True),
                          AddedToken("1", lstrip=True), "a<pad", "the language"])
    return tokenizer


@pytest.fixture(scope="module")
def theirs(ours, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    ours.save_pretrained(folder)
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


@settings(max_examples=300)
@given(text=TEXTS)
def test_ids_are_those_of_tokenizers(ours, theirs, text):
    assert ours.encode(text) == theirs.encode(text).ids


@given(ids=st.lists(st.integers(0, 400)))
def test_any_ids_decode_as_in_tokenizers(ours, theirs, ids):
    # Their decoder is strict UTF-8; ours lets lone surrogates through, as they came.
    text = ours.decode(ids)
    assume(not any("\ud800" <= char <= "\udfff" for char in text))
    assert text == theirs.decode(ids, skip_special_tokens=False)
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids)


def trained_by_tokenizers(texts, vocab_size):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    ))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@settings(max_examples=40)
@given(texts=st.lists(st.one_of(TEXTS, st.text("abc ", max_size=200)), max_size=6))
def test_training_is_that_of_tokenizers(texts):
    tokens, merges = train_bpe(count_words(texts), 300)
    vocab, their_merges = trained_by_tokenizers(texts, 300)
    assert {token: id for id, token in enumerate(tokens)} == vocab
    assert merges == their_merges


def test_training_on_the_default_corpus_is_that_of_tokenizers():
    texts = [document.text for document in load_python_topics()]
    tokens, merges = train_bpe(count_words(texts), 4096)
    vocab, their_merges = trained_by_tokenizers(texts, 4096)
    assert {token: id for id, token in enumerate(tokens)} == vocab
    assert merges == their_merges


@pytest.mark.parametrize("options", [
    {}, {"add_prefix_space": True}, {"add_bos_token": True},
    {"add_bos_token": True, "truncation_side": "left"},
    {"additional_special_tokens": ["<|user|>", "<|fin de texte|>"]},
    {"pad_token": "<|endoftext|>", "padding_side": "left", "model_max_length": 20},
])
@pytest.mark.parametrize("trained", [True, False])
def test_transformers_opens_what_is_saved(tmp_path, fixtures, expected, options, trained):
    transformers = pytest.importorskip("transformers")
    ours = GPT2Tokenizer.from_pretrained(fixtures / "transformers", **options)
    if trained:  # all special tokens are in vocab.json then
        made = GPT2Tokenizer.train([expected["training_text"]], 350, ["<|endoftext|>", "<pad>"])
        made.pad_token = "<pad>"
        ours = GPT2Tokenizer(made._vocab, made._merges, added_tokens=made._added,
                             **{"pad_token": "<pad>", **options})
    ours.save_pretrained(tmp_path)
    texts = [text for text, *_ in expected["cases"]] + ["<|user|> a<|fin de texte|>b <pad> "]
    for kind in ("GPT2Tokenizer", "GPT2TokenizerFast", "AutoTokenizer"):
        theirs = getattr(transformers, kind).from_pretrained(tmp_path)
        assert len(theirs) == len(ours) and theirs.get_vocab() == ours.get_vocab()
        for name in ("bos_token", "eos_token", "pad_token", "padding_side", "model_max_length",
                     "eos_token_id", "pad_token_id"):
            assert getattr(theirs, name) == getattr(ours, name), name
        for text in texts:
            ids = ours.encode(text)
            assert theirs.encode(text) == ids, (kind, text)
            assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(
                ids, skip_special_tokens=True), (kind, text)
        batch = dict(padding=True, truncation=True, max_length=15, return_tensors="np")
        for name, array in theirs(texts, **batch).items():
            assert (ours(texts, **batch)[name] == array).all()


def test_what_transformers_saves_is_opened(tmp_path, fixtures, expected):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2TokenizerFast.from_pretrained(
        fixtures / "transformers", padding_side="left", model_max_length=99)
    theirs.add_special_tokens({"additional_special_tokens": ["<|user|>"], "mask_token": "<mask>"})
    theirs.add_tokens(["new"])
    theirs.save_pretrained(tmp_path)
    ours = GPT2Tokenizer.from_pretrained(tmp_path)
    assert ours.get_vocab() == theirs.get_vocab() and ours.padding_side == "left"
    assert ours.model_max_length == 99
    for text in [text for text, *_ in expected["cases"]] + ["<|user|> a new <mask>"]:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(
            ids, skip_special_tokens=True)


@pytest.mark.parametrize("pattern", [
    r"\w+", r"\W", r"[\w']+", r"[^\w\s]", r"\d", r"\D+", r"\s", "^.", r".$", r"\p{N}", r"\p{Han}+",
    r"(?i:'s|k|ff|σ)"])
def test_patterns_match_what_oniguruma_matches(pattern):
    text = "".join(ASSIGNED)
    for every in (text, "\n".join(text[::97])):
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        wanted = [span for _, span in split.pre_tokenize_str(every)]
        got = matches(compile_pattern({"Regex": pattern}), every)
        assert [(start, end) for start, end, _ in got] == wanted


# ---- every step of a tokenizer.json, every option of a call

SPECIAL = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
           "pad_token": "<pad>"}


@pytest.fixture(scope="module")
def pairs_of(fixtures, tmp_path_factory):
    """A function (normalizer, pre_tokenizer, post_processor, ignore_merges) -> ours, theirs."""
    transformers = pytest.importorskip("transformers")
    base = json.loads((fixtures / "transformers" / "tokenizer.json").read_text(encoding="utf-8"))
    configurations = json.loads((fixtures / "configurations.json").read_text(encoding="utf-8"))
    components = {step: [one[step] for one in configurations if one["name"].startswith(step)]
                  for step in ("normalizer", "pre_tokenizer", "post_processor")}
    added = base["added_tokens"] + configurations[0]["added_tokens"]
    folder = tmp_path_factory.mktemp("drawn")
    made = {}

    def pair(normalizer, pre_tokenizer, post_processor, ignore_merges):
        chosen = normalizer, pre_tokenizer, post_processor, ignore_merges
        if chosen not in made:
            content = {**base, "added_tokens": added, **{
                step: components[step][index % len(components[step])]
                for step, index in zip(components, chosen)}}
            content["model"] = {**base["model"], "ignore_merges": ignore_merges}
            (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
            made[chosen] = (
                GPT2Tokenizer.from_pretrained(folder, pad_token="<pad>"),
                transformers.PreTrainedTokenizerFast(
                    tokenizer_file=str(folder / "tokenizer.json"), **SPECIAL))
        return made[chosen]

    return pair


DRAWN = st.tuples(st.integers(0, 15), st.integers(0, 24), st.integers(0, 11), st.booleans())
RICH = st.lists(st.one_of(TEXT, st.sampled_from([
    "e\u0301\u0316", "ﬁ", "İ", "가\u1100\u1161", " \r\n", "123456", "cat", "New Tok", " new tok ",
    "<x>  ", "语! ", "'S", "ſ", "aaa"])), max_size=5).map("".join)


@settings(max_examples=200)
@given(drawn=DRAWN, text=RICH, split=st.booleans())
def test_any_tokenizer_json_gives_the_tokens_of_transformers(pairs_of, drawn, text, split):
    ours, theirs = pairs_of(*drawn)
    for one in (ours, theirs):
        one.truncation_side = one.padding_side = "right"
    got = ours(text, return_offsets_mapping=True, split_special_tokens=split)
    wanted = theirs(text, return_offsets_mapping=True, split_special_tokens=split)
    assert dict(got) == dict(wanted) and ours.tokenize(text) == theirs.tokenize(text)
    assert got.word_ids() == wanted.word_ids() and got.tokens() == wanted.tokens()


@settings(max_examples=200)
@given(drawn=DRAWN, first=RICH, second=RICH, length=st.sampled_from([None, 7, 8, 12]),
       side=st.sampled_from(["right", "left"]), words=st.booleans(), options=st.fixed_dictionaries({
           "truncation": st.sampled_from([None, True, False, "only_first", "only_second"]),
           "stride": st.integers(0, 2), "padding": st.sampled_from([False, "max_length"]),
           "return_overflowing_tokens": st.booleans(), "add_special_tokens": st.just(True),
           "padding_side": st.sampled_from([None, "left"])}))
def test_any_call_gives_the_rows_of_transformers(pairs_of, drawn, first, second, length, side,
                                                 words, options):
    ours, theirs = pairs_of(*drawn)
    ours.truncation_side = theirs.truncation_side = side
    if length is None:
        options["padding"] = bool(options["padding"])
    if words:
        first, second = first.split(" "), second.split(" ")
    options |= {"max_length": length, "is_split_into_words": words, "return_offsets_mapping": True,
                "return_token_type_ids": True, "return_special_tokens_mask": True,
                "return_length": True}
    try:
        wanted = dict(theirs([(first, second), (second, first)], **options))
    except BaseException as error:  # PanicException of Rust is no Exception
        assume(not isinstance(error, KeyboardInterrupt))
        with pytest.raises(ValueError):
            ours([(first, second), (second, first)], **options)
        return
    got = ours([(first, second), (second, first)], **options)
    assert dict(got) == wanted and list(got) == list(wanted)


def test_what_is_trained_here_is_opened_there_and_back(tmp_path, expected):
    transformers = pytest.importorskip("transformers")
    made = GPT2Tokenizer.train([expected["training_text"]], 350, ["<|endoftext|>", "<sep>"])
    made.add_bos_token = True
    made.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    again = GPT2Tokenizer.from_pretrained(tmp_path / "theirs")
    for text, *_ in expected["cases"]:
        ids = made.encode(text)
        assert theirs.encode(text) == ids == again.encode(text)
    assert again.get_vocab() == made.get_vocab() and again.add_bos_token
