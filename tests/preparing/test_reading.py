"""Files of many kinds and encodings, good and bad; languages, quality, decontamination."""

import gzip
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.preparing.analysis import analyze
from minillm.preparing.decontamination import Forbidden
from minillm.preparing.languages import language_of
from minillm.preparing.quality import c4, gopher
from minillm.preparing.reading import BadFile, Problem, read_documents, sources
from minillm.preparing.shingles import word_hashes, words_of
from minillm.text.corpus import LONGEST_PIECE, load_python_topics

PROSE = ("The committee met in the old town hall on Monday and talked about the new bridge. Nobody "
         "had expected that the costs would rise so quickly, but the engineers explained that the "
         "ground was softer than their first measurements had shown. Some members asked for "
         "another opinion, and others wanted to begin before the winter. In the end they agreed to "
         "wait for a month, to ask two more companies, and to tell the citizens what they had "
         "learned.")


def read(path, field="text"):
    return list(read_documents(path.name, path, field))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_and_without_a_mark(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße, 你好\r\nzwei\r".encode(encoding))
    assert read(path) == [("a.txt", "Grüße, 你好\nzwei\n")]


@pytest.mark.parametrize("encoding, text", [
    ("latin-1", "Die Bürger hörten über die größeren Straßen nur Schönes, und fühlten sich müde. "),
    ("cp1252", "“Smart quotes” – and a dash… it’s fine, naïve café. "),
    ("utf-16-le", "Hello wörld, this is a text without a mark. "),
    ("gb18030", "今天天气很好，我们一起去公园散步，然后回家吃饭。"),
    ("shift_jis", "今日は天気がいいので、公園へ散歩に行きました。"),
    ("cp1251", "Сегодня хорошая погода, и мы идём гулять в парк, а потом домой. ")])
def test_old_encodings_are_recognized(tmp_path, encoding, text):
    pytest.importorskip("charset_normalizer")
    path = tmp_path / "a.txt"
    path.write_bytes((text * 8).encode(encoding))
    assert read(path) == [("a.txt", text * 8)]


def test_kinds_of_files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n"two"\n{bad\n{"x": 1}\n')
    (tmp_path / "b.csv").write_text('id,text\n1,"a ""b""\nc"\n2\n')
    (tmp_path / "c.tsv").write_text("text\tid\nx y\t1\n")
    (tmp_path / "d.md.gz").write_bytes(gzip.compress(b"first<|endoftext|>second"))
    (tmp_path / "e.png").write_bytes(b"no text")
    found = {name: read(path) for name, path in sources(tmp_path)}
    assert found == {
        "a.jsonl": [("a.jsonl#1", "one"), ("a.jsonl#3", "two"),
                    Problem("a.jsonl, line 4", "not valid JSON"),
                    Problem("a.jsonl, line 5", "no string 'text' in it")],
        "b.csv": [("b.csv#2", 'a "b"\nc'), Problem("b.csv, row 3", "no column 'text' in it")],
        "c.tsv": [("c.tsv#2", "x y")],
        "d.md.gz": [("d.md.gz", "first"), ("d.md.gz#2", "second")],
    }


def test_a_page_without_its_menu(tmp_path):
    pytest.importorskip("trafilatura")
    path = tmp_path / "a.html"
    path.write_text(f"<html><body><nav><a href='/'>Home</a></nav><article><h1>Bridge</h1><p>{PROSE}"
                    "</p></article><footer>Imprint</footer></body></html>")
    [(_, text)] = read(path)
    assert PROSE in text and "Home" not in text


def test_zstd(tmp_path):
    if sys.version_info < (3, 14):
        compress = pytest.importorskip("zstandard").compress
    else:
        from compression.zstd import compress
    path = tmp_path / "a.txt.zst"
    path.write_bytes(compress("Grüße, ".encode()) + compress(b"two frames"))
    assert read(path) == [("a.txt.zst", "Grüße, two frames")]
    random = "".join(map(str, range(200_000)))
    path.write_bytes(compress(random.encode()))
    assert "".join(text for _, text in read(path)) == random
    path.write_bytes(compress(random.encode())[:-20])
    with pytest.raises(BadFile, match="ended before"):
        read(path)


@pytest.mark.parametrize("name, content, reason", [
    ("a.txt", b"\x00\x01\xff" * 50, "binary data"),
    ("a.txt.gz", b"no gzip", "Not a gzipped file"),
    ("a.txt.gz", gzip.compress(b"abc" * 1000)[:30], "ended before"),
    ("a.csv", b"a,b\n1,2\n", "no column 'text', wanted one of"),
])
def test_bad_files_say_why(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadFile, match=reason):
        read(path)


@pytest.mark.parametrize("module, name, content", [
    ("charset_normalizer", "a.txt", b"\xe4\xf6"), ("trafilatura", "a.html", b"<p>x"),
    ("zstandard", "a.txt.zst", b"x")])
def test_a_missing_extra_is_one_clear_line(tmp_path, monkeypatch, module, name, content):
    if module == "zstandard" and sys.version_info >= (3, 14):
        pytest.skip("the standard library has it")
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=r'pip install "minillm\[prepare\]"'):
        read(tmp_path / name)


@given(st.lists(st.sampled_from(["word " * 500 + "\n", "\n", "x" * 30_000, "line\n"]), max_size=40))
def test_long_texts_are_cut_and_nothing_is_lost(lines):
    from io import StringIO

    from minillm.preparing.reading import _parts

    text = "".join(lines)
    parts = list(_parts(StringIO(text)))
    assert "".join(parts) == text
    assert all(len(part) <= 4 * LONGEST_PIECE for part in parts)


# ---- languages

SENTENCES = {
    "en": ["Where did you put the keys to the car?", "The train was late again this morning.",
           "She has been working at the hospital since March.",
           "Please close the window when you go."],
    "de": ["Wo hast du den Schlüssel für das Auto hingelegt?",
           "Der Zug war heute wieder verspätet.",
           "Sie arbeitet seit März im Krankenhaus.", "Bitte schließ das Fenster, wenn du gehst."],
    "fr": ["Où as-tu mis les clés de la voiture ?", "Le train était encore en retard ce matin.",
           "Elle travaille à l'hôpital depuis le mois de mars.", "Ferme la fenêtre quand tu pars."],
    "es": ["¿Dónde has puesto las llaves del coche?", "El tren llegó tarde otra vez esta mañana.",
           "Ella trabaja en el hospital desde marzo.", "Cierra la ventana cuando te vayas."],
    "it": ["Dove hai messo le chiavi della macchina?",
           "Il treno era di nuovo in ritardo stamattina.",
           "Lei lavora in ospedale da marzo.", "Chiudi la finestra quando esci, per favore."],
    "pt": ["Onde você colocou as chaves do carro?", "O trem estava atrasado de novo esta manhã.",
           "Ela trabalha no hospital desde março.", "Feche a janela quando sair, por favor."],
    "nl": ["Waar heb je de sleutels van de auto gelegd?", "De trein was vanmorgen weer te laat.",
           "Zij werkt sinds maart in het ziekenhuis.", "Doe het raam dicht als je weggaat."],
    "zh": ["你把车钥匙放在哪里了？我找了很久也没有找到，请你告诉我。"],
    "ja": ["車の鍵をどこに置きましたか。今朝もまた電車が遅れていました。"],
    "ko": ["자동차 열쇠를 어디에 두었습니까? 오늘 아침에도 기차가 늦었습니다."],
    "ru": ["Где ты положил ключи от машины? Поезд сегодня утром снова опоздал."],
}


def test_language_of_whole_texts_and_of_single_sentences():
    for tag, sentences in SENTENCES.items():
        assert language_of(" ".join(sentences)) == tag
    pairs = [(tag, sentence) for tag, sentences in SENTENCES.items() for sentence in sentences]
    right = sum(language_of(sentence) == tag for tag, sentence in pairs)
    assert right >= 0.9 * len(pairs)
    assert language_of("12 + 30") == "und"
    topics = [language_of(document.text) for document in load_python_topics()]
    assert topics.count("en") >= 0.95 * len(topics)


# ---- quality

def broken_rule(text, language="en"):
    words = words_of(text)
    return gopher(text, words, word_hashes(words), language)


@pytest.mark.parametrize("text, rule", [
    (PROSE, None),
    ("Too short.", "fewer than 50 words"),
    (" ".join(f"#{word}" for word in PROSE.split()), "more than one # or ellipsis"),
    ("\n".join(f"- {part}" for part in PROSE.split(",")), "bullets"),
    ("\n".join(f"{part}..." for part in PROSE.split(", ")[:4]) , "end in an ellipsis"),
    (PROSE + " 17" * 30, "have a letter"),
    ((PROSE + "\n") * 3, "lines repeat"),
    (PROSE + " buy it now" * 40, "one row of"),
    (" ".join("incomprehensibilities" for _ in range(60)), "mean word length"),
    (" ".join(word for word in PROSE.split() if word.lower() not in
              ("the", "be", "to", "of", "and", "that", "have", "with")), "fewer than two of the"),
])
def test_gophers_rules(text, rule):
    found = broken_rule(text)
    assert found is None if rule is None else rule in found


def test_c4s_rules():
    page = "\n".join([PROSE.replace(", ", ".\nAnd so they said that "), "Home | About", "Short.",
                      "Please enable JavaScript to see this page."])
    text, rule = c4(page)
    assert rule is None and "Home" not in text and "JavaScript" not in text and "Short" not in text
    assert c4("Lorem ipsum dolor sit amet, consectetur.")[1] == "lorem ipsum"
    assert c4("This is the line of code {that it is}.")[1] == "a curly bracket: code"
    assert c4("Only one sentence is here today.")[1] == "fewer than five sentences"


# ---- decontamination

def test_thirteen_words_in_a_row_are_too_many():
    words = PROSE.split()
    tests = Forbidden([PROSE, "a question of eight words that counts whole", "too short"])
    for n, shared in ((12, False), (13, True)):
        text = "before " + " ".join(words[5 : 5 + n]) + " behind"
        assert tests.shares(word_hashes(words_of(text))) == shared
    assert tests.shares(word_hashes(words_of("So: A question of eight words, that counts whole!")))
    assert not Forbidden([]).shares(word_hashes(words))


def test_a_document_from_dirt_to_the_end():
    text = "\ufeff" + PROSE.replace("committee", "committe\u0301e\x00") + " Write to a@b.org.\r\n"
    result = analyze(text)
    assert result.reason is None and result.language == "en" and result.masked == {"EMAIL": 1}
    assert "committée" in result.text and result.text.endswith("[EMAIL].")
    assert analyze(text.replace(" ", "  ")).digest == result.digest
    assert analyze("").reason == "empty"
    assert analyze(PROSE, languages=("zh",)).reason == "language: en"
    assert analyze("a@b.org", kinds=(), filters=()).text == "a@b.org"
    assert json.dumps(result.masked)
