"""Text classification: data, training, prediction, and a pretrained checkpoint."""

import io
import json

import numpy as np
import pytest

from minillm import BertConfig, BertForSequenceClassification, BertTokenizer
from minillm.cli import main
from minillm.tasks.data import sentiment, topics
from minillm.training.run import Run

SMALL = ["--examples", "600", "--vocab-size", "400", "--n-layer", "1", "--n-head", "2", "--n-embd",
         "32", "--block-size", "32", "--steps", "120", "--batch-size", "16", "--lr", "6e-3",
         "--eval-every", "60", "--checkpoint-every", "60", "--warmup", "5"]


def small_without(*names):
    """-> SMALL without these options and their values"""
    return [each for name, value in zip(SMALL[::2], SMALL[1::2]) if name not in names
            for each in (name, value)]


@pytest.mark.parametrize("data", [sentiment, topics])
def test_generated_splits_share_no_example_and_test_has_new_words(data):
    splits = data.generate(2000, seed=0)
    assert splits == data.generate(2000, seed=0) != data.generate(2000, seed=1)
    texts = {split: {example["text"] for example in found} for split, found in splits.items()}
    assert sum(map(len, texts.values())) == 2000  # all different
    words = {split: set(" ".join(found).lower().split()) for split, found in texts.items()}
    assert len(words["test"] - words["train"]) > 30
    for found in splits.values():
        labels = [example["label"] for example in found]
        shares = [labels.count(label) / len(labels) for label in data.LABELS]
        assert min(shares) > 0.6 / len(data.LABELS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "topics"
    assert main(["train-task", "topics", *SMALL, "--out", str(folder)]) == 0
    return Run(folder)


def test_it_learns_more_than_the_majority(run):
    results = json.loads((run.folder / "results.json").read_text())
    accuracy = results["metrics"]["accuracy"]
    assert results["baselines"]["majority"]["accuracy"]["high"] < accuracy["low"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert results["examples"] == {"train": 450, "valid": 60, "test": 90}
    assert (run.folder / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    lines = (run.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    right = [json.loads(line) for line in lines]
    share = np.mean([line["label"] == line["prediction"]["label"] for line in right])
    assert share == pytest.approx(accuracy["value"])


def test_predict_gives_the_same_for_one_text_and_for_many(run, capsys):
    texts = [example["text"] for example in run.task().examples("test")[:5]]
    assert main(["predict", "--json", "--model", str(run.folder), *texts]) == 0
    together = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    for text, prediction in zip(texts, together):
        assert main(["predict", "--json", "--model", str(run.folder), text]) == 0
        alone = json.loads(capsys.readouterr().out)["prediction"]
        assert alone["label"] == prediction["label"]
        assert alone["probability"] == pytest.approx(prediction["probability"], abs=2e-3)


def test_a_run_resumes_bit_for_bit(run, tmp_path):
    settings = run.settings
    from minillm.training.run import create_run

    other = create_run(tmp_path / "other", settings, task="topics")
    stopped = other.trainer()
    for _ in range(40):
        stopped.training_step()
    stopped.save()
    resumed, problems = Run(other.folder).resumed()
    assert resumed.step == 40 and not problems
    resumed.train()
    whole = run.trainer()
    whole.resume()
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, resumed.model.state_dict()[name])


def test_a_checkpoint_without_a_run(tmp_path, capsys):
    tokenizer = BertTokenizer.train(["good bad fine"] * 3, 40)
    tokenizer.save_pretrained(tmp_path)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=8, max_position_embeddings=16)
    config = config.replace(id2label={0: "up", 1: "down", 2: "same"})
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    assert main(["predict", "--model", str(tmp_path), "good"]) == 2
    assert "doesn't name its task: give --task" in capsys.readouterr().err
    assert main(["predict", "--task", "sentiment", "--model", str(tmp_path), "good", "bad"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.split()[0] in ("up", "down", "same") for line in lines)


def test_own_examples(tmp_path, capsys):
    path = tmp_path / "own.tsv"
    path.write_text("label\ttext\n" + "".join(
        f"{'good' if i % 2 else 'bad'}\tit is {'fine' if i % 2 else 'awful'} {i}\n"
        for i in range(40)), encoding="utf-8")
    small = small_without("--examples")
    small[small.index("--vocab-size") + 1] = "60"
    assert main(["train-task", "sentiment", *small, "--data", str(path), "--valid", "0.2", "--test",
                 "0.2", "--out", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["metrics"]["accuracy"]["value"] == 1 and not results["generated"]
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["bad", "good"]


@pytest.mark.parametrize("line, error", [
    ('{"text": "a"}', "own.jsonl, line 2 has no field label"),
    ('{"text": 3, "label": "x"}', "own.jsonl, line 2: text is 3, wanted a string"),
    ("nonsense", "own.jsonl, line 2 is not valid JSON"),
    ('{"text": " ", "label": "x"}', "own.jsonl, example 2: text is empty, wanted some text"),
    ('{"text": "a", "label": ""}', "own.jsonl, example 2: label is empty, wanted the name of a"),
])
def test_a_wrong_line_of_ones_own(tmp_path, capsys, line, error):
    path = tmp_path / "own.jsonl"
    path.write_text('{"text": "b", "label": "y"}\n' + line + "\n")
    assert main(["train-task", "sentiment", "--data", str(path), "--out", str(tmp_path / "r")]) == 2
    assert error in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_a_decoder_classifies_too(tmp_path, arch):
    assert main(["train-task", "topics", *SMALL, "--steps", "20", "--arch", arch, "--out",
                 str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run")
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").open()]
    losses = [record["valid_loss"] for record in records if "valid_loss" in record]
    assert losses[-1] < losses[0]
    names = [(run.folder / "model").joinpath(name).exists() for name in ("config.json", "vocab.txt")]
    assert all(names)


def test_a_pretrained_decoder_without_padding_learns(tmp_path):
    small = small_without("--vocab-size", "--block-size")
    assert main(["train-task", "topics", *small, "--steps", "2", "--model", "pydoc-tiny", "--freeze",
                 "2", "--out", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run")
    assert run.config.pad_token_id == run.config.eos_token_id
    assert run.settings.block_size == 48  # the task's, which the model has positions for


def test_a_model_with_few_positions_reads_shorter_texts(run, tmp_path):
    small = small_without("--vocab-size", "--block-size")
    assert main(["train-task", "sentiment", *small, "--steps", "2", "--model", str(run.folder),
                 "--out", str(tmp_path / "run")]) == 0
    assert Run(tmp_path / "run").settings.block_size == 32


def test_a_file_with_answers_is_predicted(run, capsys):
    path = str(run.folder / "data" / "test.jsonl")
    assert main(["predict", "--json", "--model", str(run.folder), "--input", path]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 90


@pytest.fixture
def stdin(monkeypatch):
    def replace(text):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return replace


def test_only_a_newline_ends_a_text_on_standard_input(run, stdin, capsys):
    stdin('\ufeffone\u2028two\r\n\n{"text": "three\\nfour", "label": "ignored"}\n')
    assert main(["predict", "--json", "--model", str(run.folder)]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert [json.loads(line)["text"] for line in lines[:-1]] == ["one\u2028two", "three\nfour"]


@pytest.mark.parametrize("line, error", [
    ('{"text": 5}', "standard input, line 3: text is 5, wanted a string"),
    ('{"text": null}', "standard input, line 3: text is None, wanted a string"),
    ('{"source": "a"}', "standard input, line 3 has no field text"),
    ('{"text": " "}', "standard input, line 3: text is empty, wanted some text"),
])
def test_a_wrong_line_on_standard_input(run, stdin, capsys, line, error):
    stdin(f"good\n\n{line}\n")
    assert main(["predict", "--model", str(run.folder)]) == 2
    assert error in capsys.readouterr().err


def test_one_line_errors(run, tmp_path, capsys):
    def error(*arguments):
        assert main(list(arguments)) == 2
        return capsys.readouterr().err

    assert "task is 'nothing', wanted one of sentiment" in error("train-task", "nothing")
    assert "was trained for 'topics'" in error("predict", "--task", "sentiment", "--model",
                                               str(run.folder), "x")
    assert ("arch is 'marian', wanted one with the head 'sequence_classification': gpt2, bert, "
            in error("train-task", "topics", "--arch", "marian"))
    assert (f"model is {run.folder / 'model'}, a 'bert' model, wanted one with the head 'seq2seq_lm'"
            in error("train-task", "translation", "--model", str(run.folder / "model")))
    assert "text is empty, wanted some text" in error("predict", "--model", str(run.folder), " ")
    assert "num_beams is 2, but topics doesn't write" in error(
        "predict", "--model", str(run.folder), "--num-beams", "2", "x")
    assert "starts with a head that has to be trained, wanted a trained one" in error(
        "predict", "--task", "topics", "--model", "pydoc-tiny", "x")
    assert "the name ends in .csv, wanted one of .jsonl" in error(
        "train-task", "topics", "--data", str(tmp_path / "a.csv"))
    assert "examples is 0, wanted at least 1" in error("train-task", "topics", "--examples", "0")
