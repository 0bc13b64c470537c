"""The steps of every tokenizer: the last is what encode returns, each is what it claims."""

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import BertTokenizer, GPT2Tokenizer, LlamaTokenizer
from minillm.text.auto import AutoTokenizer
from minillm.text.bpe import MergeStep, merge_long, merge_short, replay_merges
from minillm.text.replay import replay
from minillm.text.sentence_piece import best_edges

FIXTURES = Path(__file__).parents[1] / "fixtures"
LLAMA = json.loads((FIXTURES / "llama_tokenizer.json").read_text(encoding="utf-8"))
TEXT = st.text(st.one_of(st.sampled_from("the pieces  are \n'sé人工智能語👩🏽😀<>[]▁ﬁ"), st.characters()),
               max_size=40)
UNICODE = TEXT.map(lambda text: text.encode("utf-8", "ignore").decode())  # no lone surrogates
SPECIAL = st.sampled_from(["<|endoftext|>", "[MASK]", "[SEP]", "<s>", "</s>", ">>fra<<", "<unk>"])
TEXTS = st.lists(st.one_of(TEXT, SPECIAL), max_size=4).map("".join)


def _llama(name, **model):
    found = LLAMA["configurations"][name]["sections"]
    return {**found, "model": {**LLAMA["configurations"][name]["model"], **model,
                               "vocab": LLAMA["vocab"], "merges": LLAMA["merges"]}}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """{name: one tokenizer of every kind}"""
    found = {"byte-level": GPT2Tokenizer.from_pretrained(FIXTURES / "tokenizer" / "transformers"),
             "word pieces": BertTokenizer.from_pretrained(FIXTURES / "bert_tokenizer" / "uncased"),
             "cased": BertTokenizer.from_pretrained(FIXTURES / "bert_tokenizer" / "cased")}
    for name in LLAMA["configurations"]:
        folder = tmp_path_factory.mktemp("llama")
        (folder / "tokenizer.json").write_text(json.dumps(_llama(name)), encoding="utf-8")
        found[name] = AutoTokenizer.from_pretrained(folder)
    whole = dict(found["byte-level"].get_vocab())
    merges = [tuple(merge) for merge in found["byte-level"]._merges]
    found["whole words"] = GPT2Tokenizer(whole, merges, ignore_merges=True)
    if importlib.util.find_spec("sentencepiece"):
        found["sentence pieces"] = AutoTokenizer.from_pretrained(FIXTURES / "marian_tokenizer")
    return found


@given(TEXTS)
def test_the_last_step_is_encode(tokenizers, text):
    for name, tokenizer in tokenizers.items():
        if name == "sentence pieces":  # its library refuses lone surrogates
            text = text.encode("utf-8", "ignore").decode()
        found = replay(tokenizer, text)
        assert found.ids == tokenizer.encode(text), name
        for part in found.parts:
            assert part.text in text and part.added == (part.words[0].steps is None
                                                        if part.words else False)


@given(st.lists(st.one_of(UNICODE, SPECIAL), max_size=4).map("".join))
def test_the_parts_cover_the_text(tokenizers, text):
    for name, tokenizer in tokenizers.items():
        assert "".join(part.text for part in replay(tokenizer, text).parts) == text, name


@given(TEXT)
def test_every_merge_has_the_lowest_rank_leftmost_first(tokenizers, text):
    for name in ("byte-level", "Llama 2"):
        table = tokenizers[name].model.merges
        for part in replay(tokenizers[name], text).parts:
            for word in part.words:
                if word.steps is not None:
                    _check(word.steps, table)


def _check(steps, table):
    alive = {place: id for place, (id, *_) in enumerate(steps.symbols)}
    assert steps.ranks == [table.get(pair, (None,))[0]
                           for pair in pairwise([id for id, *_ in steps.symbols])]
    for step in steps.steps:
        places = sorted(alive)
        pairs = [(table[alive[i], alive[j]][0], i, j) for i, j in pairwise(places)
                 if (alive[i], alive[j]) in table]
        assert (step.rank, step.place, step.next) == min(pairs)
        alive[step.place] = step.merged
        del alive[step.next]
        places = sorted(alive)
        k = places.index(step.place)

        def rank(i):
            pair = (alive[places[i]], alive[places[i + 1]]) if 0 <= i < len(places) - 1 else None
            return table.get(pair, (None,))[0]

        assert (step.left, step.right) == (rank(k - 1), rank(k))
    assert [alive[i] for i in sorted(alive)] == [id for id, *_ in steps.pieces()]
    assert not any(pair in table for pair in pairwise(alive[i] for i in sorted(alive)))


def test_steps_of_a_word_by_hand():
    a, b, c = 0, 1, 2
    found = replay_merges([(a, 0, 1), (b, 1, 2), (c, 2, 3)], {(b, c): (0, 3), (a, 3): (5, 4)})
    assert found.ranks == [None, 0]
    assert found.steps == [MergeStep(1, 2, 3, 0, 5, None), MergeStep(0, 1, 4, 5, None, None)]
    assert found.pieces() == [(4, 0, 3)]
    assert merge_long([a, b, c], {(b, c): (0, 3)}) == merge_short([a, b, c], {(b, c): (0, 3)})


def test_attempts_of_a_word_by_hand(tokenizers):
    model = BertTokenizer({"[UNK]": 0, "una": 1, "##ffa": 2, "##ble": 3, "un": 4}).model
    found = model.replay("unaffable")
    assert [(one.start, one.end, one.id) for one in found.attempts] == [
        (0, 5, None), (0, 4, None), (0, 3, 1), (3, 8, None), (3, 7, None), (3, 6, 2),
        (6, 9, 3)]
    assert found.found == [(1, 0, 3), (2, 3, 6), (3, 6, 9)]
    assert model.replay("unx").found == [(0, 0, 3)]
    assert model.replay("x" * 101).attempts == []


def test_the_best_path_by_hand():
    edges = best_edges("abx", {"a": -1.0, "b": -1.0, "ab": -1.5}, -11.0)
    assert [(edge.start, edge.end, edge.total, edge.best) for edge in edges] == [
        (0, 1, -1, True), (0, 2, -1.5, True), (1, 2, -2, False), (2, 3, -12.5, True)]
    assert edges[-1].unknown


@given(UNICODE)
def test_no_path_through_the_pieces_is_better(tokenizers, text):
    if "sentence pieces" not in tokenizers:
        pytest.skip("needs the optional library sentencepiece")
    model = tokenizers["sentence pieces"].model
    found = model.replay(text)
    assert found.agrees
    scores, unknown = model._scores
    longest = {0: 0.0}
    for end in range(1, len(found.normalized) + 1):  # the definition, in float64
        longest[end] = max(
            longest[start] + float(scores.get(found.normalized[start:end], unknown))
            for start in range(end)
            if found.normalized[start:end] in scores or start == end - 1)
    totals = [edge.total for edge in found.edges if edge.end == len(found.normalized)]
    assert max(totals, default=0) == pytest.approx(longest[len(found.normalized)], rel=1e-5)


def test_a_replay_is_of_any_tokenizer(tokenizers):
    class Letters:
        def encode_piece(self, word):
            return [(tokenizer.convert_tokens_to_ids(c), i, i + 1) for i, c in enumerate(word)]

        def encode(self, words):
            return [id for word in words for id, *_ in self.encode_piece(word)]

    tokenizer = LlamaTokenizer({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4}, [])
    tokenizer.model = Letters()
    found = replay(tokenizer, "ab")
    assert found.parts[0].words[0].steps is None and found.ids == tokenizer.encode("ab")
