"""BERT's tokenizer, compared with frozen results of `transformers`, and what must hold for any text."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.text.auto import AutoTokenizer
from minillm.text.bert_tokenizer import BertTokenizer
from minillm.text.normalizers import BertNormalizer
from minillm.text.pre_tokenizers import BertPreTokenizer
from minillm.text.wordpiece import WordPiece, train_wordpiece

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bert_tokenizer"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())
TOKENIZERS = {name: BertTokenizer.from_pretrained(FIXTURES / name) for name in EXPECTED}
OPTIONS = {
    "uncased": {}, "cased": {"do_lower_case": False}, "accents": {"strip_accents": False},
    "no_accents": {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
}
SMALL = {token: id for id, token in enumerate(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "##a", "aff", "able"])}
any_text = st.text(st.characters(exclude_categories=()), max_size=30)


def as_json(value):
    return json.loads(json.dumps(value))


# ---- the results of transformers


@pytest.mark.parametrize("name", EXPECTED)
def test_ids_offsets_words_and_texts(name):
    tokenizer = TOKENIZERS[name]
    for text, ids, offsets, words, tokens, decoded in EXPECTED[name]["texts"]:
        encoding = tokenizer(text, return_offsets_mapping=True)
        assert encoding.input_ids == ids, text
        assert as_json(encoding.offset_mapping) == offsets, text
        assert encoding.word_ids() == words, text
        assert encoding.tokens() == tokens, text
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == decoded


@pytest.mark.parametrize("name", EXPECTED)
def test_pairs_padding_truncation_and_overflow(name):
    for texts, options, wanted in EXPECTED[name]["calls"]:
        texts = [tuple(one) if isinstance(one, list) and "is_split_into_words" not in options
                 else one for one in texts]
        got = TOKENIZERS[name](texts, return_offsets_mapping=True, return_special_tokens_mask=True,
                               **options)
        assert as_json(got) == wanted, (texts, options)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_vocab_txt_and_options_give_the_same(name, tmp_path):
    shutil.copy(FIXTURES / "vocab.txt", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, **OPTIONS[name])
    assert type(tokenizer) is BertTokenizer
    from_path = BertTokenizer(tmp_path / "vocab.txt", **OPTIONS[name])
    for text, ids, *_ in EXPECTED[name]["texts"]:
        assert tokenizer.encode(text) == from_path.encode(text) == ids


# ---- files


@pytest.mark.parametrize("name", EXPECTED)
def test_saving_loses_nothing(name, tmp_path):
    TOKENIZERS[name].save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == (FIXTURES / "vocab.txt").read_bytes()
    for file in ("tokenizer_config.json", "tokenizer.json"):
        wanted = json.loads((FIXTURES / name / file).read_text())
        content = json.loads((tmp_path / file).read_text())
        assert wanted.items() <= content.items(), file
    again = AutoTokenizer.from_pretrained(tmp_path)
    for step in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model_max_length",
                 "padding_side", "special_tokens_map"):
        assert getattr(again, step) == getattr(TOKENIZERS[name], step), step
    for text, ids, *_ in EXPECTED[name]["texts"]:
        assert again.encode(text) == ids


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FIXTURES / "cased", tmp_path / "cased"))


def change(folder, file="tokenizer_config.json", **fields):
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **fields}))


def test_the_config_decides_about_the_steps_unless_the_class_is_general(folder, tmp_path):
    assert BertTokenizer.from_pretrained(folder).tokenize("A") == ["A"]
    change(folder, do_lower_case=True)
    assert BertTokenizer.from_pretrained(folder).tokenize("A") == ["a"]
    change(folder, tokenizer_class="PreTrainedTokenizerFast")
    assert BertTokenizer.from_pretrained(folder).tokenize("A") == ["A"]
    (folder / "tokenizer_config.json").unlink()
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("A [MASK]") == ["A", "[MASK]"]
    assert tokenizer.mask_token_id == 4


def test_other_steps_are_obeyed_and_saved_for_the_general_class(folder, tmp_path):
    change(folder, tokenizer_class="PreTrainedTokenizerFast")
    change(folder, "tokenizer.json", pre_tokenizer={"type": "WhitespaceSplit"}, decoder=None,
           normalizer={"type": "Lowercase"}, post_processor=None)
    tokenizer = BertTokenizer.from_pretrained(folder)
    ids = tokenizer.encode("A b")
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "b"] and tokenizer.decode(ids) == "a b"
    tokenizer.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert BertTokenizer.from_pretrained(tmp_path / "again").encode("A b") == ids


def test_the_options_of_older_files_are_read(folder):
    change(folder, do_basic_tokenize=True, never_split=None, tokenizer_class="BertTokenizerFast")
    assert BertTokenizer.from_pretrained(folder).encode("a")[0] == 2


def test_other_algorithms_are_refused(folder):
    change(folder, tokenizer_class="BertJapaneseTokenizer")
    with pytest.raises(ValueError, match="tokenizer_class is 'BertJapaneseTokenizer'"):
        BertTokenizer.from_pretrained(folder)
    change(folder, tokenizer_class="BertTokenizer")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    for fields, match in [
        ({"model": {**model, "type": "Unigram"}}, "model.type is 'Unigram'"),
        ({"model": {**model, "dropout": 0.1}}, "model.dropout is not a field of a WordPiece"),
        ({"model": model, "decoder": {"type": "BPEDecoder"}}, "decoder.type is 'BPEDecoder'"),
    ]:
        change(folder, "tokenizer.json", **fields)
        with pytest.raises(ValueError, match=match) as caught:
            BertTokenizer.from_pretrained(folder)
        assert "\n" not in str(caught.value)


# ---- the steps


def test_the_longest_pieces_first():
    tokenizer = BertTokenizer(SMALL)
    assert tokenizer.tokenize("unaffable aff ABLE") == ["un", "##aff", "##able", "aff", "able"]
    assert tokenizer.tokenize("unaffab una") == ["[UNK]", "un", "##a"]
    encoding = tokenizer("unaffable?", return_offsets_mapping=True)
    assert encoding.offset_mapping == [(0, 0), (0, 2), (2, 5), (5, 9), (9, 10), (0, 0)]
    assert tokenizer.decode(encoding.input_ids, skip_special_tokens=True) == "unaffable"


def test_a_vocabulary_without_a_token_for_the_unknown():
    model = WordPiece({"a": 0})
    assert model.encode(["a"]) == [0]
    with pytest.raises(ValueError, match=r"^'b' is unknown, and the vocabulary has no unk_token"):
        model.encode(["b"])


def test_pairs_have_two_types():
    encoding = BertTokenizer(SMALL)("un", "aff able")
    assert encoding.tokens() == ["[CLS]", "un", "[SEP]", "aff", "able", "[SEP]"]
    assert encoding.token_type_ids == [0, 0, 0, 1, 1, 1]
    assert encoding.sequence_ids() == [None, 0, None, 1, 1, None]


# ---- what must hold for any text


@given(name=st.sampled_from(sorted(EXPECTED)), text=any_text)
def test_offsets_change_no_ids_and_lie_in_the_text(name, text):
    tokenizer = TOKENIZERS[name]
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert encoding.input_ids == tokenizer.encode(text)
    spans = encoding.offset_mapping[1:-1]
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    unknown = tokenizer.unk_token_id
    for id, (start, end) in zip(encoding.input_ids[1:-1], spans):
        token = tokenizer.convert_ids_to_tokens(id)
        if id != unknown and name == "cased" and token not in tokenizer.all_special_tokens:
            assert text[start:end].startswith(token.removeprefix("##")) or not token.isascii()


@given(text=any_text, clean=st.booleans(), chinese=st.booleans(),
       strip=st.sampled_from([None, True, False]), lower=st.booleans())
def test_tracing_gives_the_same_text(text, clean, chinese, strip, lower):
    normalizer = BertNormalizer(clean, chinese, strip, lower)
    normalized = normalizer(text)
    for step in normalizer.steps():
        text, sources = step.trace(text)
        assert len(sources) == len(text)
    assert text == normalized
    pieces = BertPreTokenizer().split(normalized)
    assert "".join(pieces) == "".join(character for character in normalized
                                      if not BertPreTokenizer().split(character) == [])


@given(text=st.text(st.sampled_from("un aff able.,!? [MASK]"), max_size=40))
def test_what_is_known_decodes_to_itself_but_for_spaces(text):
    tokenizer = TOKENIZERS["cased"]
    ids = tokenizer.encode(text, add_special_tokens=False)
    if tokenizer.unk_token_id not in ids:
        assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


# ---- training


def test_the_most_frequent_neighbors_are_merged_first():
    counts = {"hugging": 5, "hug": 4, "pug": 3, "h": 1}
    tokens = train_wordpiece(counts, 14, special_tokens=["[UNK]"])
    assert tokens == ["[UNK]", *"ghinpu", *"##g ##i ##n ##u".split(), "##ug", "hug", "##gi"]
    assert train_wordpiece(dict(reversed(counts.items())), 14, special_tokens=["[UNK]"]) == tokens
    with pytest.raises(ValueError, match="^n_tokens is 10, wanted at least 11: 1 special tokens"):
        train_wordpiece(counts, 10, special_tokens=["[UNK]"])


def test_rare_characters_are_left_out():
    assert train_wordpiece({"aa": 3, "b": 2, "aé": 1}, 9, max_alphabet=2) == ["a", "b", "##a", "aa"]


TEXTS = ["The cat sat on the mat. [SEP] The café's cats sat, too!", "人工智能 the mats"] * 3


@pytest.mark.parametrize("options", OPTIONS.values())
def test_a_trained_tokenizer_knows_its_texts(options, tmp_path):
    tokenizer = BertTokenizer.train(TEXTS, 70, ["[SPEAKER]"], **options)
    assert len(tokenizer) <= 70 and tokenizer.convert_tokens_to_ids("[SPEAKER]") == 5
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id) == (0, 4)
    assert tokenizer.get_vocab() == BertTokenizer.train(TEXTS, 70, ["[SPEAKER]"],
                                                        **options).get_vocab()
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert tokenizer.unk_token_id not in ids
    assert "sat" in tokenizer.get_vocab() and "sep" not in tokenizer.get_vocab()
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_training_needs_text():
    with pytest.raises(ValueError, match="^texts hold no text"):
        BertTokenizer.train(["", " ", "[SEP]"], 100)
    with pytest.raises(ValueError, match="wanted at least"):
        BertTokenizer.train(TEXTS, 20)


# ---- live


LIVE = st.lists(st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=5),
    st.sampled_from(["assert ", "the", "##s", "[MASK]", "人", "é", "e\u0301", " ", "İ", ". ", "'s"]),
), max_size=8).map("".join)


@pytest.mark.parametrize("name", EXPECTED)
@given(text=LIVE, pair=LIVE)
def test_tokenizers_gives_the_same(name, text, pair):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_file(str(FIXTURES / name / "tokenizer.json"))
    wanted = theirs.encode(text, pair)
    encoding = TOKENIZERS[name](text, pair or None, return_offsets_mapping=True)
    if pair:  # an empty second text is none here, as in transformers
        assert encoding.input_ids == wanted.ids
        assert encoding.offset_mapping == wanted.offsets
        assert encoding.token_type_ids == wanted.type_ids
        assert encoding.tokens() == wanted.tokens


@pytest.mark.parametrize("name", EXPECTED)
def test_transformers_opens_what_is_saved(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    TOKENIZERS[name].save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "BertTokenizer"
    for text, ids, *_ in EXPECTED[name]["texts"]:
        assert theirs(text).input_ids == ids
    assert theirs.padding_side == TOKENIZERS[name].padding_side
