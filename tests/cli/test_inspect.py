"""minillm inspect: each view on every kind of model, its numbers against the library's."""

import json

import numpy as np
import pytest
import safetensors.numpy
from tests.helpers.subjects import TEXT as TINY_TEXT
from tests.helpers.subjects import write_subject

from minillm.cli import main
from minillm.cli.arguments.insight import INSPECTIONS

TEXT = "The class statement defines"
QUICK = ["--tokens", "150", "--steps", "2", "--batch-size", "16"]
OPTIONS = {"patch": ["--corrupt", "The for statement defines"],
           "path": ["--corrupt", "The for statement defines"], "contributions": ["--token", " a"],
           "tuned-lens": QUICK, "features": [*QUICK, "--features", "32"],
           "probes": ["--tokens", "300"]}
WITHOUT_TEXT = ("anatomy", "induction", "composition", "probes", "features")


def inspect(what, *arguments, text=TEXT):
    return main(["inspect", what, *arguments, *([] if what in WITHOUT_TEXT else [text])])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = {}

    def write(kind):
        if kind not in written:
            written[kind] = write_subject(kind, tmp_path_factory.mktemp("model"))
        return written[kind]

    return write


def corrupted(text):
    """-> the other text, of as many tokens in every tokenizer here: cat and dog change places"""
    return text.replace("cat", "?").replace("dog", "cat").replace("?", "dog")


@pytest.mark.parametrize("what", INSPECTIONS)
def test_every_view_prints_draws_and_writes(what, folder, tmp_path, capsys):
    picture, numbers = tmp_path / "a.svg", tmp_path / "a.json"
    options = {**OPTIONS, **dict.fromkeys(["patch", "path"], ["--corrupt", corrupted(TINY_TEXT)])}
    assert inspect(what, "--model", folder("gpt2"), *options.get(what, []), "--picture",
                   str(picture), "--json", str(numbers), text=TINY_TEXT) == 0
    assert len(capsys.readouterr().out.splitlines()) > 4
    assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert json.loads(numbers.read_text(encoding="utf-8"))["model"] == folder("gpt2")


@pytest.mark.parametrize("what", ["attention", "patch", "ablate", "probes"])
def test_the_packaged_model(what, capsys):
    assert inspect(what, *OPTIONS.get(what, [])) == 0
    assert len(capsys.readouterr().out.splitlines()) > 4


@pytest.mark.parametrize("what", INSPECTIONS)
def test_help_has_examples_that_parse(what, capsys):
    import shlex

    from minillm.cli.arguments import parse_arguments

    with pytest.raises(SystemExit):
        main(["inspect", what, "--help"])
    examples = [line.strip() for line in capsys.readouterr().out.splitlines()
                if line.startswith("  minillm inspect ")]
    assert examples
    for line in examples:
        assert parse_arguments(shlex.split(line)[1:]).command


# ---- every kind of model


ON_LAYERS = ["attention", "rollout", "patch", "attribution", "importance", "ablate", "probes"]
LENSES = ["lens", "tuned-lens", "contributions"]
VIEWS = {  # kind of model -> the views that it has, the views that it refuses
    "llama": ([*ON_LAYERS, *LENSES, "path", "features"], []),
    "pre-norm transformer": (["contributions", "path", "composition", "embeddings"], []),
    "marian": ([*ON_LAYERS, "lens", "tuned-lens", "induction", "neighbors"], ["contributions"]),
    "bert": (["attribution", "ablate", "lens", "tuned-lens"], ["contributions"]),
    "gpt2 texts": (["attribution", "importance", "patch", "ablate"], LENSES),
    "bert tokens": ([*ON_LAYERS, "features", "path"], LENSES),
    "bert spans": (["attention", "attribution", "patch", "importance"], LENSES),
    "bert alone": (["attention", "rollout", "patch", "attribution", "ablate", "anatomy"],
                   [*LENSES, "importance"]),
}
REFUSALS = {
    "contributions": "a post-norm one the residual stream isn't a sum",
    "lens": "a lens reads each layer with the head that predicts tokens, and",
    "tuned-lens": "a lens reads each layer with the head that predicts tokens, and",
    "importance": "which says nothing that could be right or wrong",
}


@pytest.mark.parametrize("kind", VIEWS)
def test_every_kind_of_model(kind, folder, tmp_path, capsys):
    path = tmp_path / "a.json"
    text = TINY_TEXT.replace("the", "[MASK]") if kind == "bert" else TINY_TEXT
    stack = ["--stack", "encoder"] * (kind == "marian")
    corrupt = ["--corrupt", corrupted(text)]
    model = ["--model", folder(kind)]
    options = {"tuned-lens": QUICK, "features": QUICK, "probes": ["--tokens", "200", *stack],
               "patch": [*corrupt, "--whole"] if kind == "llama" else corrupt, "path": corrupt}
    sees, refuses = VIEWS[kind]
    for what in sees:
        written = ["--target-text", "a"] if what in ON_LAYERS[:-1] and stack else []
        found = inspect(what, *model, "--json", str(path), *options.get(what, []), *written,
                        text=text)
        assert found == 0, (what, capsys.readouterr().err)
        assert json.loads(path.read_text())["model"] == folder(kind)
    for what in refuses:
        capsys.readouterr()
        assert inspect(what, *model, *options.get(what, []), text=text) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert any(why in message for why in (REFUSALS[what], REFUSALS["lens"]))


STACKS = [(what, "encoder") for what in ("attention", "scores", "rollout", "patch", "importance",
                                         "ablate", "path")]
STACKS += [(what, "cross") for what in ("attention", "scores", "rollout")]


@pytest.mark.parametrize("what, stack", STACKS)
def test_the_stacks_of_an_encoder_decoder(what, stack, folder, tmp_path, capsys):
    path = tmp_path / "a.json"
    corrupt = ["--corrupt", corrupted(TINY_TEXT)] if what in ("patch", "path") else []
    picture = ["--picture", str(tmp_path / "a.svg")] if stack == "cross" else []
    assert inspect(what, "--model", folder("transformer"), "--stack", stack, "--target-text",
                   "the owl", *corrupt, "--json", str(path), *picture, text=TINY_TEXT) == 0
    found = json.loads(path.read_text())
    S, T = len(found["source_tokens"]), len(found["tokens"])
    if what == "attention":
        rows = S if stack == "encoder" else T
        assert np.shape(found["weights"][0]) == (2, rows, S)
    if what == "scores":
        e = np.exp(found["scale"] * found["sum"] + found["bias"])
        assert len(found["weights"]) == S and e == pytest.approx(np.exp(found["score"]))
    if what == "rollout":
        rollout = np.array(found["rollout"])
        assert rollout.shape == ((S, S) if stack == "encoder" else (T, S + T))
        np.testing.assert_allclose(rollout.sum(axis=1), 1, rtol=1e-6)


def test_likeness_to_another_text(folder, tmp_path, capsys):
    path = tmp_path / "a.json"
    model = ["--model", folder("bert alone")]
    assert inspect("attribution", *model, "--like", "the owl", "--json", str(path),
                   text=TINY_TEXT) == 0
    assert "the likeness of the text's vector" in capsys.readouterr().out
    assert inspect("attribution", *model, "--token", "a", text=TINY_TEXT) == 2
    message = capsys.readouterr().err
    assert "says no token: it makes a vector of a text; wanted --like TEXT" in message
    assert inspect("attribution", "--like", "x") == 2
    assert "it says something" in capsys.readouterr().err


def test_tags_of_words(folder, tmp_path, capsys):
    path, numbers = tmp_path / "tags.tsv", tmp_path / "a.json"
    words = [("cat", "NOUN"), ("sat", "VERB"), ("saw", "VERB"), ("a", "DET"), ("dog", "NOUN")]
    path.write_text("\n\n".join("\n".join("\t".join(words[(i + j) % 5]) for j in range(4))
                                for i in range(20)))
    for kind in ("bert", "llama", "marian"):
        stack = ["--stack", "encoder"] * (kind == "marian")
        assert inspect("probes", "--model", folder(kind), "--labels", str(path), *stack, "--json",
                       str(numbers)) == 0
        found = json.loads(numbers.read_text())
        assert found["labels"] == ["DET", "NOUN", "VERB"]
        assert len(found["probes"]) == len(found["layers"])
    assert inspect("probes", "--model", folder("marian"), "--labels", str(path)) == 2
    assert "give --stack encoder" in capsys.readouterr().err


# ---- numbers


def test_the_shares_are_those_of_the_logit(tmp_path):
    from minillm import GPT2LMHeadModel, GPT2Tokenizer

    path = tmp_path / "a.json"
    assert inspect("contributions", "--json", str(path)) == 0
    found = json.loads(path.read_text())
    ids = GPT2Tokenizer.from_pretrained("pydoc-tiny").encode(TEXT, return_tensors="np")
    logits = GPT2LMHeadModel.from_pretrained("pydoc-tiny")(ids).logits[0, -1]
    assert found["token"] == logits.argmax()
    assert sum(found["shares"].values()) == pytest.approx(logits.max(), abs=1e-3)


def test_what_is_saved_is_what_is_loaded(tmp_path, capsys):
    for what, name in (("tuned-lens", "0.weight"), ("features", "W_d")):
        trained = tmp_path / f"{what}.safetensors"
        numbers = [tmp_path / "a.json", tmp_path / "b.json"]
        for path, option in zip(numbers, ("--save", "--load")):
            assert inspect(what, *OPTIONS[what], option, str(trained), "--json", str(path)) == 0
        first, second = (json.loads(path.read_text()) for path in numbers)
        for key in first.keys() - {"losses"}:
            assert first[key] == second[key]
        assert name in safetensors.numpy.load_file(trained)
    assert inspect("tuned-lens", "--load", str(tmp_path / "features.safetensors")) == 2
    message = capsys.readouterr().err
    assert "features.safetensors holds W_d, W_e, b_e, b_d, sparsity, wanted" in message


def test_positions(tmp_path, capsys):
    path = tmp_path / "a.json"
    assert inspect("lens", "--position", "1", "--json", str(path)) == 0
    assert json.loads(path.read_text())["position"] == 1
    assert "would say after ' class'" in capsys.readouterr().out.replace("\n", " ")
    assert inspect("lens", "--position", "9") == 2
    assert "--position is 9, wanted 0 … 3 (or -1, the last)" in capsys.readouterr().err


def test_a_bert_is_asked_about_its_mask(folder, capsys):
    model = ["--model", folder("bert")]
    assert inspect("attribution", *model, text="a cat") == 2
    assert "the text has no [MASK], wanted one" in capsys.readouterr().err
    assert inspect("attribution", *model, "--position", "1", text="a cat") == 0


@pytest.mark.parametrize("arguments, error", [
    (["lens", ""], "the text is empty"),
    (["contributions", "--token", "a long text", "x"], "tokens, wanted one; a word within a text"),
    (["patch", "--corrupt", "x", "The class"], "corrupt has 1 tokens, wanted"),
    (["patch", "--corrupt", "The for", "--kind", "cross_attention", "The class"],
     "whose blocks have none"),
    (["path", "--corrupt", "The for", "--receiver", "9.1", "The class"],
     "--receiver is '9.1', wanted LAYER.HEAD, one of 0.0 … 3.3"),
    (["path", "--corrupt", "The for", "--receiver", "0.1", "The class"], "nothing is below it"),
    (["lens", "--picture", "a.gif", "x"], "wanted a name that ends in .png or .svg"),
    (["importance", "x"], "the text has one token, wanted two or more"),
    (["attention", "--stack", "encoder", "x"], "which has one stack of blocks"),
    (["lens", "--target-text", "y", "x"], "target_text is 'y', wanted None"),
    (["features", "--layer", "9"], "--layer is 9, wanted 0 … 4: 0 is embedding, 1 is block 0"),
    (["embeddings", "x"], "wanted three or more: two points span no plane"),
    (["probes", "--labels", "/nowhere.tsv"], "/nowhere.tsv"),
    (["features", "--save", "/nowhere/a.safetensors"], "but there is no folder /nowhere"),
])
def test_one_line_errors(arguments, error, capsys):
    assert main(["inspect", *arguments]) == 2
    message = capsys.readouterr().err
    assert error in message and message.count("\n") == 1


@pytest.mark.parametrize("arguments", [
    ["features", "--features", "0"], ["probes", "--property", "x"], ["ablate", "--top", "-1", "x"],
    ["ablate", "--seed", "-1", "x"],
])
def test_arguments_out_of_range(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", *arguments])
    assert capsys.readouterr().err.count("\n") == 1
