"""Counterfactual texts, pairs and augmented data."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.trust.fairness.augmentation import augment, augment_examples, augment_file
from minillm.trust.fairness.pairs import read_pairs, template_pairs
from minillm.trust.fairness.swapping import group_of, swap
from minillm.trust.fairness.words import FRAMES, SWAPS, split_pairs

KINDS = st.sampled_from(sorted(SWAPS))


def words_of(kind, language):
    return [word for pair in split_pairs(SWAPS[kind][language]) for word in pair]


@st.composite
def texts(draw):
    """-> kind, an English text with words of both groups and others"""
    kind = draw(KINDS)
    word = st.sampled_from([*words_of(kind, "en"), "engineer", "the", "hers", "reads", "there",
                            "heart", "yesterday,"])
    word = st.builds(lambda word, how: how(word), word,
                     st.sampled_from([str, str.upper, str.capitalize]))
    return kind, " ".join(draw(st.lists(word, max_size=8)))


@given(texts())
def test_two_swaps_bring_a_text_back(case):
    kind, text = case
    if kind == "gender":  # "hers" and "his" become "his" and "her": English doesn't tell them apart
        text = text.replace("hers", "").replace("HERS", "").replace("Hers", "")
    assert swap(swap(text, kind), kind) == text


@given(KINDS, st.sampled_from(["en", "zh"]), st.integers(0, 1000))
def test_a_word_becomes_its_partner_and_tells_its_group(kind, language, number):
    pairs = split_pairs(SWAPS[kind][language])
    for side in (0, 1):
        pair = pairs[number % len(pairs)]
        assert swap(f"({pair[side]})", kind) == f"({pair[1 - side]})"
        assert group_of(f"({pair[side]})", kind) == side
    assert group_of(f"{pair[0]}, {pair[1]}", kind) is None


@pytest.mark.parametrize("one, other", [
    ("She told him.", "He told her."),
    ("I saw her yesterday, her book too.", "I saw him yesterday, his book too."),
    ("HE IS MR Smith", "SHE IS MS Smith"),
    ("His mother", "Her father"),
    ("the theme of there", "the theme of there"),
    ("她是我的姐姐，其他人不是。", "他是我的哥哥，其他人不是。"),
    ("男孩和女儿", "女孩和儿子"),
    ("请he来", "请she来"),
])
def test_examples(one, other):
    assert swap(one) == other


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is 'height', wanted one of gender, names"):
        swap("he", "height")


def test_augmented_texts_are_balanced_and_nothing_is_lost():
    texts = ["he reads", "a book", "她走了"]
    both = augment(texts)
    assert both == ["he reads", "she reads", "a book", "她走了", "他走了"]
    examples = [{"text": text, "label": "x"} for text in texts]
    assert [e["text"] for e in augment_examples(examples)] == both
    groups = [group_of(text) for text in both]
    assert groups.count(0) == groups.count(1)


@pytest.mark.parametrize("name, content, wanted", [
    ("a.txt", "He sat.\n\nA dog.", "He sat.\n\nShe sat.\n\nA dog.\n"),
    ("a.txt", "He sat.\n\nHe ran.<|endoftext|>A dog.",
     "He sat.\n\nHe ran.<|endoftext|>She sat.\n\nShe ran.<|endoftext|>A dog.\n"),
    ("a.tsv", "he sat\tyes\na dog\tno\n", "he sat\tyes\nshe sat\tyes\na dog\tno\n"),
    ("a.jsonl", '{"text": "他", "n": 1}\n', '{"text": "他", "n": 1}\n{"text": "她", "n": 1}\n'),
])
def test_files(tmp_path, name, content, wanted):
    (tmp_path / name).write_text(content, encoding="utf-8")
    n, written = augment_file(tmp_path / name, tmp_path / "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == wanted
    assert written == n + 1


def test_a_file_without_texts_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "he"}\n')
    with pytest.raises(ValueError, match="text 1: has no text in the field 'text'"):
        augment_file(tmp_path / "a.jsonl", tmp_path / "out")


# ---- pairs

def test_each_group_is_expected_equally_often_and_pairs_differ_in_the_group_alone():
    pairs = template_pairs()
    assert len(set(pairs)) == len(pairs)
    for concept in {(pair.language, pair.concept) for pair in pairs}:
        chosen = [pair for pair in pairs if (pair.language, pair.concept) == concept]
        strata = [pair.stratum for pair in chosen]
        assert len({strata.count(stratum) for stratum in strata}) == 1
        expected = [frozenset(pair.first.replace(".", "").split())
                    - set(pair.second.replace(".", "").split()) for pair in chosen]
        assert all(expected)
        if concept[0] == "en":  # each word of a group is the expected one as often as the other
            counts = {words: expected.count(words) for words in expected}
            assert len(set(counts.values())) == 1
    assert all(language in FRAMES for language in {pair.language for pair in pairs})


def test_own_pairs(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("She fixes it.\tHe fixes it.\tskills\nA\tB\n", encoding="utf-8")
    pairs = read_pairs(path)
    assert [pair.concept for pair in pairs] == ["skills", "your pairs"]
    assert pairs[0].turned()[:2] == ("He fixes it.", "She fixes it.")
    path.write_text("same\tsame\n", encoding="utf-8")
    with pytest.raises(ValueError, match="pair 1: both texts are 'same', wanted two that differ"):
        read_pairs(path)
    path.write_text(json.dumps({"first": "a", "second": " "}), encoding="utf-8")
    with pytest.raises(ValueError, match="columns"):
        read_pairs(path)
