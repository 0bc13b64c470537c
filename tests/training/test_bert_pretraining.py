"""BERT's masks and pairs, and a run folder that is trained on them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import BertForMaskedLM, BertForPreTraining, BertTokenizer
from minillm.text.dataset import TokenDataset, write_tokens
from minillm.training.bert_pretraining import PretrainingBatches, mask_tokens
from minillm.training.run import Run, create_run
from minillm.training.settings import Settings

WORDS = [f"w{i}" for i in range(200)]
TOKENIZER = BertTokenizer({token: id for id, token in enumerate(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])})


def test_the_shares_of_the_masks():
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 205, (400, 500))
    maskable = rng.random(ids.shape) < 0.5
    inputs, labels = mask_tokens(ids, maskable, 4, 205, rng)
    chosen = labels != -100
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    np.testing.assert_array_equal(inputs[~chosen], ids[~chosen])
    assert not chosen[~maskable].any()
    assert chosen[maskable].mean() == pytest.approx(0.15, abs=0.005)
    assert (inputs[chosen] == 4).mean() == pytest.approx(0.8, abs=0.01)
    assert (inputs[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.01)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Documents of 1 to 20 tokens; token number n of document d has id 5 + (10 d + n) % 200."""
    path = tmp_path_factory.mktemp("data") / "train.bin"
    ids = []
    for document, length in enumerate([20, 1, 7, 2, 13, 9]):
        ids += [5 + (10 * document + n) % 200 for n in range(length)] + [3]
    write_tokens(path, ids, len(TOKENIZER))
    return TokenDataset(path)


@given(seed=st.integers(0, 2**32 - 1), block_size=st.integers(5, 30))
def test_pairs_are_cut_from_documents(dataset, seed, block_size):
    batch = next(PretrainingBatches(dataset, TOKENIZER, 4, block_size, seed))
    text = " ".join(map(str, dataset.ids.tolist()))
    for row in range(4):
        mask, types = batch["attention_mask"][row] == 1, batch["token_type_ids"][row]
        ids = np.where(batch["labels"][row] == -100, batch["input_ids"][row], batch["labels"][row])
        assert mask[: mask.sum()].all() and not ids[~mask].any() and not types[~mask].any()
        ids, types = ids[mask], types[mask]
        first, second = ids[types == 0].tolist(), ids[types == 1].tolist()
        assert first[0] == 2 and first[-1] == second[-1] == 3
        first, second = first[1:-1], second[:-1]
        assert first and second and 3 not in first + second
        pieces = [first + second] if batch["next_sentence_label"][row] == 0 else [first, second]
        for piece in pieces:
            assert " ".join(map(str, piece)) in text


def test_batches_continue_bit_for_bit(dataset):
    one = PretrainingBatches(dataset, TOKENIZER, 2, 16, 5)
    next(one)
    other = PretrainingBatches(dataset, TOKENIZER, 2, 16, 6)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    expected, continued = next(one), next(other)
    for name, array in expected.items():
        np.testing.assert_array_equal(continued[name], array)
    follows = [next(one)["next_sentence_label"] for _ in range(200)]
    assert np.mean(follows) == pytest.approx(0.5, abs=0.1)


def test_too_short_for_pairs(dataset, tmp_path):
    with pytest.raises(ValueError, match="^block_size is 4, wanted at least 5"):
        PretrainingBatches(dataset, TOKENIZER, 2, 4, 0)
    write_tokens(tmp_path / "short.bin", [5, 3] * 20, len(TOKENIZER))
    with pytest.raises(ValueError, match="no document has two tokens"):
        PretrainingBatches(TokenDataset(tmp_path / "short.bin"), TOKENIZER, 2, 8, 0)


def test_a_run_is_trained_and_resumed_bit_for_bit(tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    rng = np.random.default_rng(0)
    for document in range(30):  # each document counts upwards, so its tokens can be guessed
        start = rng.integers(60)
        (texts / f"{document}.txt").write_text(
            " ".join(f"{n} is before {n + 1} ." for n in range(start, start + 12)))
    settings = Settings(
        text=str(texts), model_type="bert", vocab_size=150, n_layer=1, n_head=2, n_embd=32,
        block_size=32, steps=40, batch_size=8, lr=3e-3, warmup=5, dropout=0.1, eval_every=20,
        checkpoint_every=20, valid=0.2, test=0.1)
    run = create_run(tmp_path / "run", settings)
    trainer = run.trainer()
    trainer.train()
    first, *_, last = [json.loads(line) for line in
                       (run.folder / "metrics.jsonl").read_text().splitlines()
                       if "valid_loss" in line]
    assert last["valid_loss"] < first["valid_loss"]
    assert last["valid_masked_accuracy"] > 0.2
    assert 0 <= last["valid_next_sentence_accuracy"] <= 1

    stopped = create_run(tmp_path / "other", settings).trainer()
    for _ in range(20):
        stopped.training_step()
    stopped.save()
    resumed, problems = Run(tmp_path / "other").resumed()
    assert resumed.step == 20 and not problems
    resumed.train()
    for name, array in resumed.model.state_dict().items():
        np.testing.assert_array_equal(array, trainer.model.state_dict()[name])

    model = BertForMaskedLM.from_pretrained(run.model_folder)
    tokenizer = BertTokenizer.from_pretrained(run.model_folder)
    assert model.config.vocab_size == len(tokenizer) and model.config.pad_token_id == 0
    assert type(trainer.model) is BertForPreTraining
