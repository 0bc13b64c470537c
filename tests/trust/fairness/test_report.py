"""The report of every kind of model, and the command."""

import json

import pytest

from minillm.cli import main
from minillm.insight.subject import Subject
from minillm.trust.fairness.report import LIMITS, fairness_report, plot, table_rows
from tests.helpers.subjects import write_subject


def probes_of(found):
    return {row.probe for row in found.rows}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    kinds = ("gpt2", "bert", "bert texts", "marian")
    folder = tmp_path_factory.mktemp("subjects")
    return {kind: write_subject(kind, folder / kind.replace(" ", "-")) for kind in kinds}


def test_a_decoder_gets_pairs_and_what_it_cannot_be_asked_is_said():
    found = fairness_report(Subject.open("pydoc-tiny"), languages=("en",))
    assert probes_of(found) == {"prefers the stereotype", "by how many nats",
                                "word association, effect", "sentence association, effect"}
    assert list(found.skipped) == ["counterfactuals"]
    content = found.as_dict()
    assert content["limits"] == LIMITS
    assert all(row.value.low <= row.value.value <= row.value.high for row in found.rows)
    number = content["probes"]["prefers the stereotype"]["occupations and pronouns (en)"]
    assert number["without bias"] == 0.5 and number["n"] == 48
    assert len(plot(found).axes) == len(content["probes"])
    assert len(table_rows(found)) == len(found.rows)


def test_a_classifier_gets_counterfactuals_of_four_kinds(folders):
    found = fairness_report(Subject.open(folders["bert texts"]), n_texts=2)
    assert {"counterfactual gap", "changed answers"} <= probes_of(found)
    kinds = {row.of.split(":")[0] for row in found.rows if row.probe == "counterfactual gap"}
    assert kinds >= {"gender", "names", "places", "ages"}
    assert "minimal pairs" in found.skipped


def test_own_pairs_and_the_files(folders, tmp_path, capsys):
    pairs, numbers, picture = (tmp_path / name for name in ("p.tsv", "n.json", "p.svg"))
    pairs.write_text("a cat saw the dog\ta owl saw the dog\tanimals\na cat\ta dog\tanimals\n")
    for kind in ("gpt2", "bert", "bert texts"):
        assert main(["fairness", "--model", folders[kind], "--pairs", str(pairs), "--json",
                     str(numbers), "--picture", str(picture)]) == 0
        shown = capsys.readouterr().out
        assert "What this can't show" in shown
        (of, number), = json.loads(numbers.read_text())["probes"][
            "counterfactual gap" if kind == "bert texts" else "prefers the stereotype"].items()
        assert number["n"] == 2 and of == ("your pairs" if kind == "bert texts" else "animals")
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize("arguments, wanted", [
    (["--pairs", "{}/none.tsv"], "none.tsv: No such file or directory"),
    (["--texts", "0"], "--texts is 0, wanted at least 1"),
    (["--augment", "x.txt"], "--augment FILE and --out FILE belong together"),
    (["--data", "x.tsv"], "--data is for --mend, wanted both"),
    (["--mend", "augment", "--bias", "2"], "bias is 2.0, wanted 0 to 1"),
    (["--data", "x.tsv", "--mend", "augment", "--on", "text"], "--data has labels"),
    (["--mend", "augment", "--on", "text", "--kind", "ages"], "--kind is ages, but --on text"),
    (["--picture", "a.pdf"], "--picture is 'a.pdf', wanted a name that ends in .png or .svg"),
    (["--picture", "no/a.svg"], "--picture is 'no/a.svg', but there is no folder no"),
    (["--model", "{marian}"], "which no probe fits"),
])
def test_errors_are_one_line(arguments, wanted, folders, tmp_path, capsys):
    arguments = [each.replace("{}", str(tmp_path)).replace("{marian}", folders["marian"])
                 for each in arguments]
    assert main(["fairness", *arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert wanted in message and message.startswith("minillm: error: ")


def test_mending_and_augmenting_by_the_command(tmp_path, capsys):
    rows = [f"{who} saw the {word}\t{label}\n" for word in "lamp door mill boat well road".split()
            for who, label in (("he", "yes"), ("she", "no"))]
    (tmp_path / "d.tsv").write_text("".join(rows))
    assert main(["fairness", "--mend", "reweight", "--data", str(tmp_path / "d.tsv"), "--steps",
                 "2", "--json", str(tmp_path / "m.json"),
                 "--picture", str(tmp_path / "m.png")]) == 0
    models = json.loads((tmp_path / "m.json").read_text())["models"]
    assert list(models) == ["before", "reweight"]
    assert set(models["before"]["gap"]) == {"value", "low", "high"}
    assert main(["fairness", "--augment", str(tmp_path / "d.tsv"), "--out",
                 str(tmp_path / "both.tsv")]) == 0
    assert "12 texts, and 12 in which a group was swapped" in capsys.readouterr().err
