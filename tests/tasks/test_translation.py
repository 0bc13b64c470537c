"""Translation: batches, training, answers with their alignments, the user's own texts."""

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import (
    MarianConfig,
    MarianMTModel,
    TransformerConfig,
    TransformerForConditionalGeneration,
)
from minillm.cli import main
from minillm.models.transformer import shift_right
from minillm.tasks.seq2seq import (
    IGNORE,
    LengthBatches,
    answer,
    encode_pairs,
    token_ids,
    train_tokenizer,
)
from minillm.tasks.translation import Translation, alignment_text, alignments, turn_digits
from minillm.text.auto import AutoTokenizer
from minillm.training.run import Run

SMALL = ["--n-layer", "1", "--n-head", "2", "--n-embd", "32", "--vocab-size", "330", "--block-size",
         "32", "--batch-size", "16", "--lr", "1e-2", "--warmup", "10", "--checkpoint-every", "60",
         "--eval-every", "60"]
FIXTURES = Path(__file__).parents[1] / "fixtures"
TEXTS = st.text("ab <>-12, 三百年é😀", max_size=12)


@pytest.fixture(scope="module")
def tokenizer():
    sources = ["<zh> 305012", "<zh> March 3, 2026", "<en> 2026年3月3日", "<en> 三百零五", "<x> only once"]
    targets = ["三十万五千零一十二", "2026年3月3日", "March 3, 2026", "three hundred and five", "2026"]
    return train_tokenizer(sources * 3 + ["<y> once"], targets * 3, 400)


# ---- tokens and batches


def test_digits_and_chinese_characters_are_single_tokens_numbers_in_dates_are_not(tokenizer):
    def pieces(text):
        return [tokenizer.decode([id]) for id in tokenizer(text)["input_ids"]]

    assert pieces("<zh> 305012") == ["<zh>", " ", *"305012", "</s>"]
    assert pieces("三百零五") == [*"三百零五", "</s>"]
    assert pieces("2026年3月3日") == ["2026年", "3月", "3日", "</s>"]
    assert pieces("305012年")[:5] == [*"30501"]
    assert "2026" in pieces("March 3, 2026") and "2026" in pieces("3 March 2026")
    assert pieces("2026") == [*"2026", "</s>"]
    assert pieces("<y>") == [*"<y>", "</s>"]  # a tag of one source is no token


@given(TEXTS)
def test_every_text_comes_back(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids[:-1], skip_special_tokens=False) == text
    assert ids[-1] == tokenizer.eos_token_id


def test_the_tokenizer_comes_back_from_its_files(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("<zh> 305012", "Tuesday, the 3rd of March 2026", "Grüße, 你好"):
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert token_ids(again) == token_ids(tokenizer)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_the_decoder_reads_the_labels_one_position_later(tokenizer, pairs):
    sources, targets = zip(*pairs)
    batch = encode_pairs(tokenizer, sources, targets, 40)
    config = TransformerConfig(vocab_size=len(tokenizer), d_model=8, encoder_attention_heads=1,
                               decoder_attention_heads=1, **token_ids(tokenizer))
    read = shift_right(batch["labels"], config)
    for source, target, ids, mask, labels, inputs in zip(
            sources, targets, batch["input_ids"], batch["attention_mask"], batch["labels"], read):
        n, wanted = mask.sum(), tokenizer(target)["input_ids"]
        assert ids[:n].tolist() == tokenizer(source)["input_ids"]
        assert (ids[n:] == tokenizer.pad_token_id).all() and not mask[n:].any()
        assert labels[: len(wanted)].tolist() == wanted and (labels[len(wanted) :] == IGNORE).all()
        assert inputs[: len(wanted)].tolist() == [tokenizer.bos_token_id, *wanted[:-1]]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_batches_hold_each_example_once_an_epoch_and_continue_from_their_state(n, size, seed,
                                                                               in_order):
    lengths = np.random.default_rng(seed).integers(1, 50, n).tolist()
    examples = list(enumerate(lengths))

    def batches():
        return LengthBatches(examples, size, seed, lambda example: example[1], in_order)

    ours, B = batches(), min(size, n)
    epoch = [next(ours) for _ in range(n // B)]
    seen = [example for batch in epoch for example in batch]
    assert len(set(seen)) == len(seen) == n // B * B
    if in_order and n < 32 * B:  # one pool: the first epoch has the first examples
        assert sorted(seen) == examples[: len(seen)]
    other = batches()
    other.load_state_dict(json.loads(json.dumps(ours.state_dict())))
    for _ in range(2 * (n // B) + 1):
        assert next(ours) == next(other)


def test_a_curriculum_is_in_order_in_the_first_epoch_only():
    batches = LengthBatches(range(6400), 10, 0, length=lambda example: 1, in_order=True)
    means = np.array([[np.mean(next(batches)) for _ in range(640)] for _ in range(2)])
    by_pool = means.reshape(2, 20, 32).mean(axis=-1)
    assert (np.diff(by_pool[0]) > 0).all() and not (np.diff(by_pool[1]) > 0).all()


def test_batches_hold_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 50, 640).tolist()
    batches = LengthBatches(lengths, 16, 0, length=int)
    spread = [max(batch) - min(batch) for batch in (next(batches) for _ in range(40))]
    assert np.mean(spread) < 5


@given(st.text("0123456789٣ab -年", max_size=20))
def test_turned_digits_turn_back(text):
    turned = turn_digits(text)
    assert turn_digits(turned) == text and sorted(turned) == sorted(text)
    assert [a for a in turned if not a.isdigit()] == [a for a in text if not a.isdigit()]


# ---- training


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Upper-case words, from a TSV of one's own."""
    folder = tmp_path_factory.mktemp("runs")
    words = [a + b for a in "abcdefghij" for b in "klmnopqrst"]
    lines = [f"{word}\t{word.upper()}" for word in words]
    (folder / "words.tsv").write_text("source\ttarget\n" + "\n".join(lines) + "\n")
    assert main(["train-task", "translation", "--data", str(folder / "words.tsv"), *SMALL,
                 "--steps", "180", "--test", "0.2", "--out", str(folder / "run")]) == 0
    return Run(folder / "run")


def test_it_learns_from_a_tsv_of_ones_own(run):
    results = json.loads((run.folder / "results.json").read_text())
    assert set(results["metrics"]) == {"exact match", "BLEU", "chrF"}
    exact = results["metrics"]["exact match"]
    assert exact["value"] == 1 and exact["low"] > 0.6  # of words that it has not seen
    assert results["baselines"]["copy"]["exact match"]["value"] == 0
    assert results["baselines"]["nearest"]["chrF"]["value"] < results["metrics"]["chrF"]["low"]
    assert results["metrics"]["chrF"]["value"] == pytest.approx(100)
    assert "<svg" in (run.folder / "alignment.svg").read_text(encoding="utf-8")
    config = json.loads((run.folder / "model/config.json").read_text())
    assert config["normalize_before"] is True and config["label_smoothing"] == 0.1


def test_predictions_are_the_same_alone_and_together_and_say_where_they_looked(run, capsys):
    texts = ["ak", "jt", "cp"]
    assert main(["predict", "--json", "--model", str(run.folder), *texts]) == 0
    found = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    for text, prediction in zip(texts, found):
        assert prediction["translation"] == text.upper()
        alignment = prediction["alignment"]
        assert "".join(alignment["target"]) == text.upper() + "</s>"
        assert "".join(alignment["source"]) == text + "</s>"
        np.testing.assert_allclose(np.sum(alignment["weights"], axis=1), 1, atol=0.05)
    assert main(["predict", "--model", str(run.folder), "ak"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "AK" and lines[1].split()[-1] == "</s>"


def test_predict_searches_with_beams(run, capsys):
    with patch("minillm.tasks.translation.answer", wraps=answer) as asked:
        assert main(["predict", "--model", str(run.folder), "--num-beams", "3", "ak", "jt"]) == 0
    assert asked.call_args.kwargs["num_beams"] == 3
    assert capsys.readouterr().out.startswith("AK\n")
    assert main(["predict", "--model", str(run.folder), "--num-beams", "0", "ak"]) == 2
    assert "num_beams is 0, wanted" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_is_fine_tuned_on_other_texts(run, tmp_path):
    (tmp_path / "more.tsv").write_text("".join(f"{a}{b}\t{b}\n" for a in "klm" for b in "abcd"))
    assert main(["train-task", "translation", "--data", str(tmp_path / "more.tsv"), "--model",
                 str(run.folder), "--steps", "3", "--block-size", "32", "--eval-every", "3",
                 "--valid", "0", "--out", str(tmp_path / "run")]) == 0
    again = Run(tmp_path / "run")
    assert again.config.normalize_before and again.config.d_model == 32
    assert again.config.decoder_start_token_id == run.config.decoder_start_token_id


@pytest.mark.parametrize("lines, message", [
    ("one column\n", "line 1: the number of columns is 1, wanted 2: source, target"),
    ("a\tb\tc\n", "line 1: the number of columns is 3"),
    ("\n\n", "no example in it"),
])
def test_a_bad_tsv_is_one_line(lines, message, tmp_path, capsys):
    (tmp_path / "bad.tsv").write_text(lines)
    assert main(["train-task", "translation", "--data", str(tmp_path / "bad.tsv"), "--out",
                 str(tmp_path / "run")]) != 0
    assert message in capsys.readouterr().err


# ---- answers and alignments


def test_greedy_answers_and_beams_without_training(tokenizer):
    config = TransformerConfig(vocab_size=len(tokenizer), d_model=16, encoder_layers=1,
                               decoder_layers=3, encoder_attention_heads=2,
                               decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
                               max_position_embeddings=20, **token_ids(tokenizer))
    model = TransformerForConditionalGeneration(config, seed=1).eval()
    sources = ["<zh> 305012", "", "三"]
    alone = [answer(model, tokenizer, [source], max_length=10)[0] for source in sources]
    assert answer(model, tokenizer, sources, max_length=10) == alone
    assert len(answer(model, tokenizer, sources, num_beams=3, max_length=10)) == 3
    found = alignments(model, tokenizer, sources, ["三百", "", "3"])
    assert [len(each["target"]) for each in found] == [3, 1, 2]
    assert [len(each["source"]) for each in found] == [9, 1, 2]
    for each in found:
        np.testing.assert_allclose(np.sum(each["weights"], axis=1), 1, atol=0.1)


def test_a_marian_checkpoint_translates_and_is_trained_on(tmp_path, capsys):
    pytest.importorskip("sentencepiece")
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "marian_tokenizer")
    config = MarianConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, max_position_embeddings=32, pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id)
    for each in (MarianMTModel(config, seed=0), tokenizer):
        each.save_pretrained(tmp_path / "marian")
    assert main(["predict", "--task", "translation", "--model", str(tmp_path / "marian"), "--json",
                 "hello world"]) == 0
    prediction = json.loads(capsys.readouterr().out)["prediction"]
    assert prediction["alignment"]["target"][-1] == "</s>"
    (tmp_path / "own.tsv").write_text("one\teins\ntwo\tzwei\nthree\tdrei\n")
    assert main(["train-task", "translation", "--data", str(tmp_path / "own.tsv"), "--model",
                 str(tmp_path / "marian"), "--steps", "2", "--block-size", "32", "--eval-every",
                 "2", "--out", str(tmp_path / "run")]) == 0
    assert Run(tmp_path / "run").config == config.replace(dropout=0.0)


def test_the_terminal_picture_of_an_alignment():
    alignment = {"source": ["two", "三"], "target": ["2", "二二"], "weights": [[0.9, 0.1],
                                                                              [0.35, 0.65]]}
    assert alignment_text(alignment).splitlines() == [
        "      two 三",
        "2     ███ ░░",
        "二二  ▒▒▒ ▓▓",
    ]


def test_the_copying_baseline_drops_the_tag():
    copy = Translation.baselines(None)["copy"]([])
    examples = [{"source": "<zh> 305012"}, {"source": "no tag"}]
    assert [found["translation"] for found in copy(examples)] == ["305012", "no tag"]


def test_the_nearest_training_example():
    train = [{"source": "three hundred", "target": "300"}, {"source": "five", "target": "5"}]
    nearest = Translation.baselines(None)["nearest"](train)
    assert nearest([{"source": "three hundred and one"}, {"source": "five?"}]) == [
        {"translation": "300"}, {"translation": "5"}]


def test_marian_is_trained_from_scratch_with_a_small_vocabulary(tmp_path):
    (tmp_path / "own.tsv").write_text("one\teins\ntwo\tzwei\nthree\tdrei\nfour\tvier\n")
    assert main(["train-task", "translation", "--arch", "marian", "--data",
                 str(tmp_path / "own.tsv"), *SMALL, "--steps", "2", "--out",
                 str(tmp_path / "run")]) == 0
    config = Run(tmp_path / "run").config
    assert config.model_type == "marian" and config.vocab_size < 330
    assert config.decoder_start_token_id != config.eos_token_id
