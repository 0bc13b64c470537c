import json
import shutil
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minillm.text import tokenizer_files
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
    "tokenizer.json cut": (lambda f: break_json(f / "tokenizer.json"),
                           "tokenizer.json is not valid JSON"),
    "config cut": (lambda f: break_json(f / "tokenizer_config.json"),
                   "config.json is not valid JSON"),
    "config a list": (lambda f: write(f / "tokenizer_config.json", [1]),
                      "config.json holds a list"),
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


def change(name, **fields):
    return lambda folder: edit(folder / name, lambda content: content.update(fields))


def in_model(**fields):
    return lambda folder: edit(folder / "tokenizer.json", lambda t: t["model"].update(fields))


def nested(depth):
    return lambda folder: (folder / "tokenizer.json").write_text("[" * depth + "]" * depth)


TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
REFUSED_FILES = {
    # what damages a file -> what the one line says
    "post_processor a list": (change(TOKENIZER, post_processor=[]), "post_processor is"),
    "post_processor.single a string": (change(TOKENIZER, post_processor={
        "type": "TemplateProcessing", "single": "$A", "pair": [], "special_tokens": {}}),
        "post_processor.single is '$A'"),
    "a template of text B": (change(TOKENIZER, post_processor={
        "type": "TemplateProcessing", "single": [{"Sequence": {"id": "B", "type_id": 0}}],
        "pair": [], "special_tokens": {}}), "single[0] is text 'B'"),
    "a template with a token without ids": (change(TOKENIZER, post_processor={
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
        "pair": [], "special_tokens": {}}), "special_tokens doesn't have"),
    "two templates": (change(TOKENIZER, post_processor={"type": "Sequence", "processors": [
        {"type": "BertProcessing", "sep": ["<pad>", 400], "cls": ["<pad>", 400]}] * 2}),
        "two templates"),
    "sep a string": (change(TOKENIZER, post_processor={
        "type": "BertProcessing", "sep": "<pad>", "cls": ["<pad>", 400]}), "post_processor.sep is"),
    "unknown post_processor": (change(TOKENIZER, post_processor={"type": "Magic"}), "'Magic'"),
    "unknown normalizer": (change(TOKENIZER, normalizer={"type": "Nmt"}), "'Nmt'"),
    "normalizer a string": (change(TOKENIZER, normalizer="NFC"), "normalizer is 'NFC'"),
    "normalizer without type": (change(TOKENIZER, normalizer={}), "no field normalizer.type"),
    "a normalizer in a sequence": (change(TOKENIZER, normalizer={
        "type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]}),
        "normalizer.normalizers[1].strip_left"),
    "unknown field": (change(TOKENIZER, normalizer={"type": "NFC", "twice": True}), "twice"),
    "unknown pre_tokenizer": (change(TOKENIZER, pre_tokenizer={"type": "UnicodeScripts"}),
                              "'UnicodeScripts'"),
    "pre_tokenizer without bytes": (change(TOKENIZER, pre_tokenizer=None), "pre_tokenizer is null"),
    "bytes twice": (change(TOKENIZER, pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}] * 2}), "twice"),
    "a pattern of neither kind": (change(TOKENIZER, pre_tokenizer={**SPLIT, "pattern": {}}),
                                  "pattern is {}"),
    "a pattern that is none": (change(TOKENIZER, pre_tokenizer={**SPLIT, "pattern": {
        "Regex": "("}}), "no regular expression"),
    "a pattern of Oniguruma": (change(TOKENIZER, pre_tokenizer={**SPLIT, "pattern": {
        "Regex": r"[a-z&&[^b]]"}}), "means something else"),
    "a behavior": (change(TOKENIZER, pre_tokenizer={**SPLIT, "behavior": "Lost", "pattern": {
        "String": " "}}), "pre_tokenizer.behavior is 'Lost'"),
    "unknown decoder": (change(TOKENIZER, decoder={"type": "WordPiece"}), "decoder.type is"),
    "version": (change(TOKENIZER, version="2.0"), "version is '2.0'"),
    "unknown section": (change(TOKENIZER, seasoning={}), "seasoning"),
    "truncation a number": (change(TOKENIZER, truncation=5), "truncation is 5"),
    "padding.direction": (change(TOKENIZER, padding={"direction": 3}), "padding.direction is 3"),
    "added_tokens an object": (change(TOKENIZER, added_tokens={}), "added_tokens is"),
    "a flag of a token": (change(TOKENIZER, added_tokens=[{
        "id": 400, "content": "<pad>", "lstrip": "yes"}]), "added_tokens[0].lstrip"),
    "nested 1,000 deep": (nested(1000), "nested more than"),
    "nested 100,000 deep": (nested(100_000), "nested more than"),
    "model a list": (change(TOKENIZER, model=[]), "model is"),
    "dropout": (in_model(dropout=0.1), "model.dropout is 0.1"),
    "a suffix": (in_model(end_of_word_suffix="</w>"), "model.end_of_word_suffix is '</w>'"),
    "a prefix": (in_model(continuing_subword_prefix="##"), "continuing_subword_prefix is '##'"),
    "unknown field of the model": (in_model(max_input_chars_per_word=9),
                                   "max_input_chars_per_word"),
    "added_tokens_decoder a string": (change(CONFIG, added_tokens_decoder="x"),
                                      "added_tokens_decoder is 'x'"),
    "added_tokens_decoder of strings": (change(CONFIG, added_tokens_decoder={"1": "x"}),
                                        "added_tokens_decoder['1'] is 'x'"),
    "an id that is none": (change(CONFIG, added_tokens_decoder={"x": {"content": "x"}}), "'x'"),
    "extra tokens a number": (change(CONFIG, extra_special_tokens=3), "extra_special_tokens is 3"),
    "an extra token a number": (change(CONFIG, additional_special_tokens=[3]),
                                "additional_special_tokens[0] is 3"),
    "model_input_names": (change(CONFIG, model_input_names=["pixels"]), "'pixels'"),
    "model_max_length": (change(CONFIG, model_max_length="long"), "model_max_length is 'long'"),
    "chat_template": (change(CONFIG, chat_template=[1]), "chat_template[0] is 1"),
    "another class": (change(CONFIG, tokenizer_class="BertTokenizer"), "'BertTokenizer'"),
    "a program": (change(CONFIG, auto_map={"AutoTokenizer": ["a.B", None]}), "auto_map is"),
    "lower case": (change(CONFIG, do_lower_case=True), "do_lower_case is True"),
    "init_inputs": (change(CONFIG, init_inputs=[1]), "init_inputs is [1]"),
    "the map's token a list": (lambda f: write(f / "special_tokens_map.json", {"pad_token": []}),
                               "special_tokens_map.json: pad_token is []"),
    "added_tokens.json a list": (lambda f: write(f / "added_tokens.json", [1]),
                                 "added_tokens.json holds a list"),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_what_cannot_be_obeyed_is_refused_by_name(folder, name):
    damage, message = REFUSED_FILES[name]
    damage(folder)
    with pytest.raises(ValueError) as caught:
        GPT2Tokenizer.from_pretrained(folder)
    line = str(caught.value)
    assert message in line and line.startswith(str(folder))
    assert "\n" not in line and len(line) < len(str(folder)) + 250


JUNK = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=3),
                 st.just([]), st.just({}), st.just([[1]]), st.just({"type": "NFC"}),
                 st.just("x" * 3000))


@st.composite
def damages(draw):
    """A place in a file, as numbers to choose keys by, and what is put there."""
    name = draw(st.sampled_from([TOKENIZER, CONFIG, "special_tokens_map.json", "vocab.json"]))
    return name, draw(st.lists(st.integers(0, 40), min_size=1, max_size=6)), draw(JUNK)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(damage=damages())
def test_damage_anywhere_is_one_line_or_harmless(tmp_path, fixtures, damage):
    name, place, junk = damage
    folder = tmp_path / "saved"
    tokenizer = GPT2Tokenizer.from_pretrained(fixtures / "transformers", add_bos_token=True)
    tokenizer.save_pretrained(folder)
    if name == "vocab.json":
        (folder / TOKENIZER).unlink()
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    part = content
    for step in place:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            break
        key = keys[step % len(keys)]
        if step is place[-1] or not isinstance(part[key], (dict, list)):
            part[key] = junk
            break
        part = part[key]
    write(folder / name, content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bytes that the vocabulary has no more
        try:
            GPT2Tokenizer.from_pretrained(folder).encode("some text", max_length=3)
        except ValueError as error:
            assert str(folder) in str(error)
            assert "\n" not in str(error) and len(str(error)) < len(str(folder)) + 300


# ---- fields that are obeyed, kept or ignored

@pytest.mark.parametrize("name", tokenizer_files.KEPT)
def test_fields_that_change_nothing_are_written_back(folder, tokenizer, name, tmp_path):
    change(CONFIG, **{name: "as it was"})(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = GPT2Tokenizer.from_pretrained(folder)
    assert same(read, tokenizer)
    read.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / CONFIG).read_text())[name] == "as it was"


def test_an_unknown_field_is_said_and_written_back(folder, tmp_path):
    change(CONFIG, brand_new=[1, 2])(folder)
    with pytest.warns(UserWarning, match="tokenizer_config.json: brand_new is not known"):
        tokenizer = GPT2Tokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / CONFIG).read_text())["brand_new"] == [1, 2]


def test_no_field_is_in_two_tables():
    tables = [tokenizer_files.OBEYED, tokenizer_files.KEPT, tokenizer_files.REFUSED]
    assert len(set().union(*tables)) == sum(map(len, tables))


def test_options_of_the_config(folder, tmp_path):
    change(CONFIG, split_special_tokens=True, clean_up_tokenization_spaces=True,
           model_input_names=["input_ids", "token_type_ids"], add_prefix_space=True,
           truncation_side="left", model_max_length=None, max_len=3)(folder)
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    assert list(tokenizer("a")) == ["input_ids", "token_type_ids"]
    assert 0 not in tokenizer.encode("<|endoftext|>") and tokenizer.model_max_length == 3
    assert tokenizer.encode("abcde", truncation=True) == tokenizer.encode("abcde")[-3:]
    assert tokenizer.tokenize("word")[0].startswith("Ġ")
    # For byte-level BPE, `transformers` too cleans up only if told twice.
    ids = tokenizer.encode("a , b", add_special_tokens=False)
    assert tokenizer.decode(ids) == " a , b"
    tokenizer.save_pretrained(tmp_path / "again")
    assert same(GPT2Tokenizer.from_pretrained(tmp_path / "again"), tokenizer)
    change(CONFIG, clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output=True)(
        folder)
    assert GPT2Tokenizer.from_pretrained(folder).decode(ids) == " a, b"


def test_sections_of_tokenizer_json(folder, tmp_path):
    sections = {
        "truncation": {"direction": "Left", "max_length": 5, "strategy": "LongestFirst",
                       "stride": 1},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Left", "pad_to_multiple_of": None,
                    "pad_id": 400, "pad_type_id": 0, "pad_token": "<pad>"},
    }
    change(TOKENIZER, **sections)(folder)
    edit(folder / CONFIG, lambda config: [config.pop(name) for name in (
        "padding_side", "truncation_side", "pad_token")])
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("left", "left")
    assert tokenizer.pad_token == "<pad>"
    assert len(tokenizer.encode("abcdefg")) == 6  # lengths are arguments of each call
    tokenizer.save_pretrained(tmp_path / "again")
    content = json.loads((tmp_path / "again" / TOKENIZER).read_text(encoding="utf-8"))
    assert {name: content[name] for name in sections} == sections


def test_tokens_with_names_of_their_own(folder, tmp_path):
    change(CONFIG, extra_special_tokens={"image_token": "<image>", "audio_token": "<pad>"},
           video_token="<video>")(folder)
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "again")
    for one in (tokenizer, GPT2Tokenizer.from_pretrained(tmp_path / "again")):
        assert one.image_token == "<image>" and one.encode("<image>") == [one.image_token_id]
        assert one.audio_token_id == 400 and one.video_token == "<video>"
        assert one.special_tokens_map["image_token"] == "<image>"
        with pytest.raises(AttributeError, match="depth_token"):
            one.depth_token


def test_chat_templates_are_kept(folder, tmp_path):
    for given, kept in (("{{ x }}", "{{ x }}"), ({"default": "a", "tool": "b"},) * 2,
                        ([{"name": "tool", "template": "b"}], {"tool": "b"})):
        change(CONFIG, chat_template=given)(folder)
        tokenizer = GPT2Tokenizer.from_pretrained(folder)
        assert tokenizer.chat_template == kept
        tokenizer.save_pretrained(tmp_path / "again")
        assert GPT2Tokenizer.from_pretrained(tmp_path / "again").chat_template == kept
    (folder / "chat_template.jinja").write_text("from a file")
    assert GPT2Tokenizer.from_pretrained(folder).chat_template == "from a file"


def test_which_of_two_files_holds(folder):
    # As in `transformers`: the map holds, unless the config is of a version that lists the tokens.
    write(folder / "special_tokens_map.json", {"eos_token": "<pad>"})
    assert GPT2Tokenizer.from_pretrained(folder).eos_token == "<|endoftext|>"
    edit(folder / CONFIG, lambda config: config.pop("added_tokens_decoder"))
    assert GPT2Tokenizer.from_pretrained(folder).eos_token == "<pad>"


def test_a_byte_order_mark_is_dropped(folder, tokenizer):
    (folder / TOKENIZER).unlink()
    for name in ("vocab.json", "merges.txt", CONFIG):
        (folder / name).write_bytes("\ufeff".encode() + (folder / name).read_bytes())
    assert same(GPT2Tokenizer.from_pretrained(folder), tokenizer)


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


# ---- files of transformers' general class, PreTrainedTokenizerFast

def general(folder, special_tokens=(), **config):
    """Let the files be of a tokenizer that knows only what they say, with `special_tokens`."""
    for name in ("special_tokens_map.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    write(folder / CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast", **config})

    def add(content):
        content["added_tokens"] = [one for one in content["added_tokens"] if one["id"] < 400]
        content["added_tokens"] += special_tokens

    edit(folder / TOKENIZER, add)


def added(content, id, **flags):
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id, "content": content, **plain, **flags}


def test_the_general_class_has_no_special_tokens_of_its_own(folder):
    general(folder, pad_token="<|endoftext|>")
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token) == (None, None, None)
    assert tokenizer.pad_token_id == 0
    edit(folder / TOKENIZER, lambda content: (
        content["added_tokens"].clear(),
        content["model"]["vocab"].update({"unnamed": content["model"]["vocab"].pop(
            "<|endoftext|>")})))
    write(folder / CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast"})
    assert len(GPT2Tokenizer.from_pretrained(folder)) == 400  # no <|endoftext|> is added


def test_add_prefix_space_of_the_general_class_stands_in_tokenizer_json(folder):
    before = GPT2Tokenizer.from_pretrained(folder).encode("the")
    general(folder, add_prefix_space=True)
    assert GPT2Tokenizer.from_pretrained(folder).encode("the") == before
    assert GPT2Tokenizer.from_pretrained(folder, add_prefix_space=True).encode("the") != before


def test_a_known_token_that_gets_a_name_is_found_as_before(folder):
    # Ids and texts as in `transformers`: lstrip stays, and the token is special now.
    general(folder, [added("<x>", 400, lstrip=True)], eos_token="<x>")
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert tokenizer.encode("a <x>b") == [a, 400, b]
    assert tokenizer.decode([a, 400, b], skip_special_tokens=True) == "ab"


def test_new_tokens_with_a_name_come_before_those_without(folder):
    general(folder, additional_special_tokens=["<y>"], eos_token="<x>")
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids(["<x>", "<y>"]) == [400, 401]  # as in `transformers`


def test_spaces_that_a_token_has_taken_are_not_found_again(folder):
    general(folder, [added("  ", 400, lstrip=True, rstrip=True)])
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert tokenizer.encode("a     b") == [a, 400, b]  # as `tokenizers` has it


def test_what_other_steps_than_those_of_gpt2_are_saved_for_the_general_class(folder, tmp_path):
    # The class GPT2Tokenizer of `transformers` passes over the normalizer of tokenizer.json.
    edit(folder / TOKENIZER, lambda content: content.update(normalizer={"type": "Lowercase"}))
    GPT2Tokenizer.from_pretrained(folder).save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / CONFIG).read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    again = GPT2Tokenizer.from_pretrained(tmp_path / "again")
    assert again.encode("A") == again.encode("a") and again.eos_token_id == 0


CONTRADICTIONS = {
    "a gap": ([added("<x>", 402)], {}, "added token '<x>' has id 402, wanted 400"),
    "another token": ([added("<x>", 400)], {"added_tokens_decoder": {"400": {"content": "<y>"}}},
                      "added_tokens_decoder[400] is '<y>'"),
    "another id": ([added("<x>", 400)], {"added_tokens_decoder": {"401": {"content": "<x>"}}},
                   "added_tokens_decoder[401] is '<x>'"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_ids_of_added_tokens_that_contradict_each_other(folder, name):
    tokens, config, message = CONTRADICTIONS[name]
    general(folder, tokens, **config)
    with pytest.raises(ValueError) as caught:
        GPT2Tokenizer.from_pretrained(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_general_class_without_a_decoder(folder):
    general(folder)
    edit(folder / TOKENIZER, lambda content: content.update(decoder=None))
    with pytest.raises(ValueError, match="decoder is null"):  # it joins tokens with spaces then
        GPT2Tokenizer.from_pretrained(folder)
