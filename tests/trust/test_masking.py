"""Masking: what is found, what isn't, and what never happens to a text."""

import json
import os
import re
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.cli import main
from minillm.trust import checksums, generated_data, numbers_of_people
from minillm.trust.folding import fold
from minillm.trust.generated_data import NEAR_MISSES, VALUES, generate, one_digit_changed, scores
from minillm.trust.masking import DETECTORS, KINDS, find_personal_data, mask
from minillm.trust.names import missed
from minillm.trust.pseudonyms import Pseudonyms, open_key

SEEDS = st.integers(0, 2**32 - 1)
KINDS_WITH_VALUES = st.sampled_from([(kind, make) for kind, makes in VALUES.items()
                                     for make in makes if kind != "CREDENTIALS"])
VALUE = st.builds(lambda pair, seed: pair[1](np.random.default_rng(seed)), KINDS_WITH_VALUES, SEEDS)
TEXTS = st.lists(st.one_of(st.text(max_size=12), VALUE, st.sampled_from(NEAR_MISSES),
                           st.sampled_from([" ", "\n", "，", "电话", "Tel. ", *"][-+/()"])),
                 max_size=8).map("".join)


def masked(text):
    return mask(text).text


# ---- what is found

@given(KINDS_WITH_VALUES, SEEDS, st.sampled_from(["", "见", "“", "(", "x: ", "，"]),
       st.sampled_from(["", "。", "”", ")", ", then", "是"]))
def test_values_are_found_whole_wherever_they_stand(pair, seed, before, behind):
    kind, make = pair
    value = make(np.random.default_rng(seed))
    assert masked(before + value + behind) == f"{before}[{kind}]{behind}"


@given(st.sampled_from(["CARD", "IBAN", "RESIDENT_ID"]), SEEDS)
def test_one_wrong_digit_breaks_a_number_with_check_digits(kind, seed):
    rng = np.random.default_rng(seed)
    wrong = one_digit_changed(rng, VALUES[kind][0](rng))
    assert not [span for span in find_personal_data(wrong) if span.kind == kind]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_near_misses_stay(text):
    assert masked(text) == text
    assert masked(f"见{text}。") == f"见{text}。"


@pytest.mark.parametrize("text, wanted", [
    ("邮箱zhang.san@qq.com，手机13812345678", "邮箱[EMAIL]，手机[PHONE]"),
    ("＋８６１３８１２３４５６７８，邮箱：ａｂｃ＠ｑｑ．ｃｏｍ", "[PHONE]，邮箱：[EMAIL]"),
    ("이메일은kim@naver.com입니다", "이메일은[EMAIL]입니다"),
    ("müller@exämple.de, 'a@b.co.uk'.", "[EMAIL], '[EMAIL]'."),
    ("call 2065550100 or Tel. 976 631 706", "call [PHONE] or Tel. [PHONE]"),
    ("2065550100", "2065550100"),
    ("(206) 555-0100 x12; +49 (0) 9141 777631", "[PHONE]; [PHONE]"),
    ("身份证11010519491231002X号", "身份证[RESIDENT_ID]号"),
    ("030 1234567 030 1234568 und (010)62751234", "[PHONE] [PHONE] und [PHONE]"),
    ("01 02 03 04 05 06 07", "01 02 03 04 05 06 07"),
    ("4111 1111 1111 1111 123", "[CARD] 123"),
    ("de89370400440532013000", "[IBAN]"),
    ("192.168.0.1:80, v1.2.3.4, 10.0.0.0/8", "[IP]:80, v1.2.3.4, [IP]/8"),
    ("[::1]:80 fe80::1%eth0: ::ffff:10.0.0.1.", "[[IP]]:80 [IP]: [IP]."),
    ("redis://:pw@localhost/0 and http://h:80/a@b", "redis://[CREDENTIALS]@localhost/0 and "
                                                    "http://h:80/a@b"),
    ("postgres://user:p@ss@10.0.0.1/x", "postgres://[CREDENTIALS]@[IP]/x"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
     "aws_secret_access_key = [SECRET]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128\n\nMIIEpAIBAAKCAQEA\n"
     "-----END RSA PRIVATE KEY-----\n", "[SECRET]\n"),
    ("https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
     "https://[SECRET]"),
    ("-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ("Authorization: Bearer abcdefgh1234", "Authorization: Bearer [SECRET]"),
])
def test_examples(text, wanted):
    assert masked(text) == wanted


def test_precision_and_recall_on_this_projects_sentences():
    for kind, score in scores(generate(0, 1000), find_personal_data).items():
        assert score.recall > 0.99 and score.precision > 0.99, (kind, score)


# ---- check digits

@given(st.text("0123456789", min_size=1, max_size=30), st.data())
def test_luhn_finds_every_wrong_digit(digits, data):
    number = next(digits + check for check in "0123456789" if checksums.luhn(digits + check))
    place = data.draw(st.integers(0, len(number) - 1))
    for other in set("0123456789") - {number[place]}:
        assert not checksums.luhn(number[:place] + other + number[place + 1:])


def test_check_digits_of_examples_in_the_standards():
    assert checksums.luhn("79927398713") and checksums.luhn("4111111111111111")
    assert checksums.is_iban("GB82WEST12345698765432")
    assert not checksums.is_iban("GB82WEST1234569876543")
    assert checksums.is_resident_id("11010519491231002X")
    assert not checksums.is_resident_id("110105194902310026")  # 31 February
    assert checksums.is_isbn_10("0306406152") and not checksums.is_isbn_10("0306406153")
    assert not numbers_of_people.is_card("4111111111111112")


# ---- what masking never does

@given(TEXTS)
def test_a_masked_text_has_nothing_more_to_mask_and_the_rest_is_as_it_was(text):
    result = mask(text)
    assert masked(result.text) == result.text
    rest, done = [], 0
    for start, end, kind in result.spans:
        assert done <= start < end <= len(text) and kind in KINDS
        rest += text[done:start], f"[{kind}]"
        done = end
    assert "".join([*rest, text[done:]]) == result.text
    assert len(fold(text)) == len(text)


@given(TEXTS, st.binary(min_size=32, max_size=32))
def test_pseudonyms_are_the_same_for_the_same_value_and_restore_every_text(text, key):
    pseudonyms = Pseudonyms(key)
    once, _ = pseudonyms.mask(text)
    assert pseudonyms.mask(text)[0] == once == Pseudonyms(key).mask(text)[0]
    assert pseudonyms.restore(once) == text
    twice, _ = pseudonyms.mask(once)
    assert pseudonyms.restore(pseudonyms.restore(twice)) == text


def test_labels_depend_on_the_key_and_on_nothing_that_can_be_guessed():
    one, other = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
    assert one.label("EMAIL", "a@b.de") != other.label("EMAIL", "a@b.de")
    label = one.label("EMAIL", "a@b.de")
    one.values[label] = "another value with the same letters"
    assert len(one.label("EMAIL", "a@b.de")) == len(label) + 1


# ---- linear time

def quantifiers(pattern):
    """-> list of (quantifier, the character behind it) of a pattern, outside of [classes]"""
    bare = re.sub(r"\\.", "x", pattern)  # no escapes, then no classes, then no (?: and (?<
    while bare != (bare := re.sub(r"\[[^\[\]]*\]", "x", bare)):
        pass
    return re.findall(r"(\{[\d,]+\}|[*+?])(\+?)", bare.replace("(?", "("))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.kind)
def test_every_repetition_is_bounded_and_gives_nothing_back(detector):
    found = quantifiers(detector.pattern.pattern)
    assert found
    for quantifier, behind in found:
        assert quantifier not in ("*", "+"), "it has no end"
        is_fixed = "," not in quantifier and quantifier != "?"
        assert is_fixed or behind == "+", f"{quantifier}: it can give back what it took"


def test_the_test_sees_what_it_must():
    assert quantifiers(r"a+b") == [("+", "")] and quantifiers(r"(?:\(?+x{3}[*+]*)") == [
        ("?", "+"), ("{3}", ""), ("*", "")]


@pytest.mark.parametrize("piece", ["a", "1", "a.", "1 ", "01 ", "+1 ", "abc1:", "a@", "4111 ",
                                   "DE12 ", "13812345678-", "(0", "(0764092627)", "(+1)", "http://",
                                   "eyJhbGciOiJIUzI1NiJ9.", "tel 1 ",
                                   "-----BEGIN PRIVATE KEY-----", "sk-", "1.1."])
def test_texts_made_to_be_slow_are_not(piece):
    find_personal_data(piece * (20_000 // len(piece)))  # quadratic, it would take minutes


# ---- the command

def run(*arguments):
    return main(["mask", *map(str, arguments)])


@pytest.fixture
def letters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "a.txt").write_bytes("to mira@example.org\r\n电话13812345678\r\n".encode())
    (folder / "b.md").write_bytes(b"\xef\xbb\xbfnothing")
    return folder


def test_a_folder_is_masked_and_bytes_outside_of_spans_stay(letters, capsys):
    assert run(letters, "--out", "out") == 0
    assert open("out/a.txt", "rb").read() == "to [EMAIL]\r\n电话[PHONE]\r\n".encode()
    assert open("out/b.md", "rb").read() == b"\xef\xbb\xbfnothing"
    assert run("out", "--check") == 0


def test_check_and_report_say_where_and_never_what(letters, capsys):
    assert run(letters, "--check") == 1
    assert capsys.readouterr().out.splitlines() == ["a.txt:1:4: EMAIL", "a.txt:2:3: PHONE"]
    assert run(letters, "--report", "json", "--kinds", "phone") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["counts"] == {"PHONE": 1} and "138" not in printed


def test_pseudonyms_come_back(letters):
    assert run(letters, "--key", "k", "--out", "masked") == 0
    assert b"mira" not in open("masked/a.txt", "rb").read()
    assert run("masked", "--key", "k", "--restore", "--out", "back") == 0
    for name in ("a.txt", "b.md"):
        assert open(f"back/{name}", "rb").read() == (letters / name).read_bytes()
    for name in ("k", "k.map.json"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600


@pytest.mark.parametrize("arguments, message", [
    (["letters"], "several files need a folder to write, wanted --out DIR"),
    (["letters/a.txt", "--kinds", "shoe"], "kind is 'SHOE', wanted one of"),
    (["letters/a.txt", "--names"], "--names needs a model"),
    (["letters/a.txt", "--restore", "--map", "nowhere"], "nowhere: no map of pseudonyms"),
    (["nowhere.txt"], "nowhere.txt: no such file or folder"),
])
def test_errors_are_one_line(letters, capsys, arguments, message):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_file_that_is_no_key(tmp_path):
    (tmp_path / "k").write_text("abc")
    with pytest.raises(ValueError, match="wanted 64 hexadecimal digits"):
        open_key(tmp_path / "k")


def test_names_come_from_a_model_that_says_how_many_it_misses(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(
        {"metrics": {"recall": {"value": 0.78, "low": 0.76, "high": 0.79}}}))
    assert str(missed(tmp_path)) == "22.0% (95 % interval 21.0% to 24.0%)"
    assert missed(tmp_path / "nowhere") is None
    names = lambda text: [generated_data.Span(0, 4, "PERSON")]  # noqa: E731
    assert mask("Mira, m@x.org", names=names).text == "[PERSON], [EMAIL]"
