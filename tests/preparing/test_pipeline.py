"""The whole of `minillm prepare`: the same bytes always, nothing lost, everything said."""

import gzip
import hashlib
import json
import os
import signal
import sqlite3

import numpy as np
import pytest

from minillm.cli import main
from minillm.preparing import pipeline, reports
from minillm.preparing.pipeline import Options, prepare, side_of
from minillm.preparing.reading import sources
from minillm.preparing.store import Store
from minillm.text.corpus import load_python_topics
from minillm.text.prepared import is_prepared, read_prepared
from minillm.training.run import create_run
from minillm.training.settings import Settings

TOPICS = [document.text for document in load_python_topics() if 1500 < len(document.text) < 6000]
SHARES = Options(valid=0.2, test=0.2)


@pytest.fixture
def texts(tmp_path):
    """Twelve topics in several kinds of files, with duplicates and bad files"""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(TOPICS[number])
    (folder / "4.md.gz").write_bytes(gzip.compress(TOPICS[4].encode()))
    words = TOPICS[5].split(" ")
    words[20] = "CHANGED"
    lines = [*TOPICS[5:11], f" {TOPICS[0]}\r\n", " ".join(words),
             TOPICS[6][: len(TOPICS[6]) * 2 // 3] + TOPICS[11][: len(TOPICS[6]) // 4]]
    (folder / "5.jsonl").write_text(
        "".join(json.dumps({"text": f"{line} Mail me{n % 3}@example.org."}) + "\n"
                for n, line in enumerate(lines)) + "{bad\n")
    (folder / "6.txt").write_bytes(b"\x00\x01\xff")
    (folder / "7.txt").write_text("Short.")
    return folder


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_documents_go_where_they_belong_and_the_report_says_why(texts, tmp_path):
    test = tmp_path / "test.txt"
    test.write_text(TOPICS[3][300:900])
    result = prepare(texts, tmp_path / "out", Options(valid=0.2, test=0.2, against=str(test)))
    removed = {reason: facts["documents"] for reason, facts in result["removed"].items()}
    assert removed.pop("contaminated: shares words in a row with a test") >= 1
    assert removed.pop("near duplicate") == 2  # one word changed; an address at its end
    assert removed.pop("gopher: fewer than 50 words") == 1
    assert result["skipped"] == {"5.jsonl, line 10": "not valid JSON",
                                 "6.txt": "binary data, wanted text"}
    assert result["masked"]["EMAIL"] >= 5
    assert result["read"] == {"files": 7, "documents": 15,
                              "characters": result["read"]["characters"]}
    kept = sum(facts["documents"] for facts in result["splits"].values())
    assert kept + sum(facts["documents"] for facts in result["removed"].values()) == 15
    page = (tmp_path / "out" / "report.md").read_text()
    assert "(kept: 5.jsonl\\#8)" in page or "(kept: 5.jsonl\\#1)" in page
    assert "not valid JSON" in page
    assert "TODO" in (tmp_path / "out" / "DATA_CARD.md").read_text()
    assert not (tmp_path / "out" / ".work").exists()


def test_the_manifest_has_the_hash_of_everything(texts, tmp_path):
    prepare(texts, tmp_path / "out", SHARES)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for folder, hashes in ((tmp_path / "out", manifest["sha256"]), (texts, manifest["inputs"])):
        for name, digest in hashes.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert set(manifest["inputs"]) == {"0.txt", "1.txt", "2.txt", "3.txt", "4.md.gz", "5.jsonl",
                                       "7.txt"}


def test_the_same_bytes_for_any_listing_and_number_of_workers(texts, tmp_path, monkeypatch):
    prepare(texts, tmp_path / "one", SHARES)
    prepare(texts, tmp_path / "two", SHARES, workers=2)
    real = os.walk
    monkeypatch.setattr(os, "walk", lambda path: [(folder, subfolders, names[::-1])
                                                  for folder, subfolders, names in real(path)])
    monkeypatch.setattr(pipeline, "BATCH", 2)
    prepare(texts, tmp_path / "three", SHARES)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two") == bytes_of(tmp_path / "three")


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH", 3)
    prepare(texts, tmp_path / "whole", SHARES)
    rng, n_kills = np.random.default_rng(0), 0
    for attempt in range(3):
        out = tmp_path / f"out{attempt}"
        for _ in range(4):
            n_kills += killed_after(int(rng.integers(1, 60)), texts, out)
        if not is_prepared(out):
            prepare(texts, out, SHARES)
        assert bytes_of(out) == bytes_of(tmp_path / "whole")
    assert n_kills >= 4


def killed_after(n, texts, out):
    """Prepare in a child that kills itself (SIGKILL) at its n-th query -> whether it did"""
    child = os.fork()
    if child == 0:
        real, left = Store.rows, [n]

        def rows(self, *arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *arguments)

        Store.rows = rows
        try:
            prepare(texts, out, SHARES)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_alike_documents_are_on_one_side(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, text in enumerate(TOPICS[:10]):
        other = TOPICS[10 + number % 3]
        (folder / f"{number}a.txt").write_text(text + "\n" + other[: len(text) // 5])
        (folder / f"{number}b.txt").write_text(other[-len(text) // 5 :] + "\n" + text)
    prepare(folder, tmp_path / "out", Options(valid=0.3, test=0.3, near=0.95, related=0.4))
    splits, _ = read_prepared(tmp_path / "out")
    side = {document.name: n for n, split in enumerate(splits) for document in split}
    assert len(set(side.values())) == 3 and len(side) > 15
    for number in range(10):
        pair = [side[name] for name in (f"{number}a.txt", f"{number}b.txt") if name in side]
        assert len(set(pair)) == 1


def test_the_share_of_a_split_is_what_was_asked_for():
    options = Options(valid=0.1, test=0.3)
    sides = [side_of(hashlib.sha256(bytes([n % 256, n // 256])).digest(), options)
             for n in range(5000)]
    assert abs(sides.count("valid") / 5000 - 0.1) < 0.02
    assert abs(sides.count("test") / 5000 - 0.3) < 0.03


def test_strict_names_the_bad_file(texts, tmp_path, capsys):
    assert main(["prepare", str(texts), str(tmp_path / "out"), "--strict"]) == 2
    assert "5.jsonl, line 10: not valid JSON" in capsys.readouterr().err
    (texts / "5.jsonl").unlink()
    assert main(["prepare", str(texts), str(tmp_path / "out"), "--strict"]) == 2  # goes on anew
    assert "6.txt: binary data, wanted text" in capsys.readouterr().err


def test_training_takes_the_splits_as_they_are(texts, tmp_path):
    out = tmp_path / "out"
    assert main(["prepare", str(texts), str(out), "--valid", "0.2", "--test", "0.2"]) == 0
    assert is_prepared(out) and not is_prepared(texts) and not is_prepared(None)
    run = create_run(tmp_path / "run", Settings(text=str(out), vocab_size=300, n_layer=1, n_head=1,
                                                n_embd=8, block_size=8, batch_size=2))
    splits, manifest = read_prepared(out)
    for name, split in zip(("train", "valid", "test"), splits):
        assert run.data[name]["documents"] == len(split) == manifest["splits"][name]["documents"]
        assert run.data[name]["sha256"] == manifest["sha256"][f"{name}.jsonl"]
    assert json.loads((tmp_path / "run" / "data" / "manifest.json").read_text()) == manifest
    with open(out / "train.jsonl", "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="was changed after it was prepared"):
        read_prepared(out)


@pytest.mark.parametrize("arguments, message", [
    (["nowhere", "out"], "nowhere: no such file or folder"),
    (["in", "in"], "is not empty, wanted a new folder"),
    (["in", "out", "--filters", "magic"], "filter is 'magic', wanted one of gopher, c4"),
    (["in", "out", "--valid", "0.9", "--test", "0.2"], "wanted shares"),
    (["in", "out", "--near", "2"], "near is 2.0"),
    (["in", "out", "--workers", "0"], "workers is 0"),
    (["in", "out", "--against", "nowhere"], "nowhere: no such file or folder"),
])
def test_errors_are_one_line(texts, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("minillm: error: ") and message in error


def test_names_from_strangers_are_text_in_the_report():
    assert reports._cell("a|<b>\n*c*") == "a\\|\\<b\\> \\*c\\*"


def test_odd_names_and_dangling_links_end_nothing(texts, tmp_path):
    (texts / "gone.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(texts / "fifo.txt")
    (texts / "line\nfeed.txt").write_text(TOPICS[12])
    odd = os.fsencode(texts) + b"/bad\xff.txt"
    try:
        with open(odd, "w") as file:
            file.write(TOPICS[13])
    except OSError:
        pytest.skip("this file system wants names of valid UTF-8")
    result = prepare(texts, tmp_path / "out", SHARES)
    assert "No such file" in result["skipped"]["gone.txt"]
    assert "is not a regular file" in result["skipped"]["fifo.txt"]
    assert result["read"]["files"] == 9
    assert "bad\\\\xff.txt" in (tmp_path / "out" / "manifest.json").read_text()


def test_nothing_of_a_bad_file_stays(texts, tmp_path):
    (texts / "8.txt.gz").write_bytes(gzip.compress(TOPICS[12].encode() * 200)[:3000])
    result = prepare(texts, tmp_path / "out", SHARES)
    assert "8.txt.gz" in result["skipped"]
    assert b"8.txt.gz" not in b"".join((tmp_path / "out" / f"{name}.jsonl").read_bytes()
                                       for name in ("train", "valid", "test"))
    assert len(sources(texts)) == 9 and sqlite3.sqlite_version_info >= (3, 33)
