import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients

from minillm import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from minillm.models import auto, bert
from minillm.models.positions import POSITION_EMBEDDINGS

TINY = Path(__file__).parents[1] / "fixtures" / "bert_tiny"
EXPECTED = np.load(TINY / "expected.npz")
CASES = json.loads(str(EXPECTED["cases"]))
INPUTS = dict(input_ids=EXPECTED["ids"], attention_mask=EXPECTED["mask"],
              token_type_ids=EXPECTED["types"])
HEADS = [BertForMaskedLM, BertForPreTraining, BertForSequenceClassification,
         BertForTokenClassification, BertForQuestionAnswering]


def small_config(**changes):
    options = dict(vocab_size=29, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                   intermediate_size=12, max_position_embeddings=12, initializer_range=0.3)
    return BertConfig(**{**options, **changes})


def some_labels(model, rng, B, T):
    """-> {argument: labels} for the head of `model`"""
    words = np.where(rng.random((B, T)) < 0.5, rng.integers(0, 29, (B, T)), -100)
    words[0, 0] = 3
    return {
        BertForMaskedLM: dict(labels=words),
        BertForPreTraining: dict(labels=words, next_sentence_label=rng.integers(0, 2, B)),
        BertForSequenceClassification: dict(labels=rng.integers(0, 2, B)),
        BertForTokenClassification: dict(labels=rng.integers(0, 2, (B, T))),
        BertForQuestionAnswering: dict(start_positions=rng.integers(0, T, B),
                                       end_positions=rng.integers(0, T + 2, B)),
    }[type(model)]


def scores_of(output):
    return [value for name, value in output.items() if name.endswith("logits")]


def assert_gradients(model, gradients):
    """gradients: {name in files: array}, those of transformers; each one has to be compared"""
    table, ours = BertModel.weight_table, {}
    for name, parameter in model.named_parameters():
        prefix = "bert." if name.startswith("bert.") else ""
        theirs = table.save({name.removeprefix(prefix): parameter.grad})  # laid out as the weights
        ours.update({prefix + tensor: gradient for tensor, gradient in theirs.items()})
    assert ours.keys() == {table.usual_name(name) for name in gradients}
    for name, expected in gradients.items():
        scale = np.abs(expected).max()
        if scale > 1e-6:  # a key's bias shifts all scores alike: no gradient
            error = np.abs(ours[table.usual_name(name)] - expected).max()
            assert error / scale < 1e-3, name


# ---- agreement with transformers, frozen


def test_hidden_states_and_attentions_of_transformers():
    model = BertModel.from_pretrained(TINY)
    output = model(**INPUTS, output_hidden_states=True, output_attentions=True)
    np.testing.assert_allclose(output.hidden_states, EXPECTED["hidden_states"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(output.attentions, EXPECTED["attentions"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(output.pooler_output, EXPECTED["pooled"], rtol=0, atol=1e-5)
    plain = model(*INPUTS.values())
    np.testing.assert_allclose(plain.last_hidden_state, EXPECTED["hidden_states"][-1], rtol=0,
                               atol=1e-4)
    assert plain.keys() == ["last_hidden_state", "pooler_output"]


def load_case(case, folder=TINY):
    name, changes, labels = CASES[case]
    model = getattr(bert, name).from_pretrained(folder, **changes)
    return model, model(**INPUTS, **{label: EXPECTED[f"{case}.{label}"] for label in labels})


@pytest.mark.parametrize("case", CASES)
def test_logits_loss_and_gradients_of_transformers(case):
    model, output = load_case(case)
    assert [f"{case}.{name}" in EXPECTED for name in output.keys()] == [True] * len(output)
    for name, value in output.items():
        expected = EXPECTED[f"{case}.{name}"]
        np.testing.assert_allclose(float(value) if name == "loss" else value, expected, rtol=0,
                                   atol=1e-4)
    output.loss.backward()
    prefix = f"{case}.grad."
    assert_gradients(model, {name.removeprefix(prefix): EXPECTED[name] for name in EXPECTED.files
                             if name.startswith(prefix)})


# ---- files


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def rewrite(folder, change, **config):
    """Change the tensors' dict of a checkpoint, and fields of its config.json."""
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    arrays = {name: np.ascontiguousarray(array) for name, array in change(arrays).items()}
    safetensors.numpy.save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **config}))


def assert_unchanged(folder, case="masked_lm"):
    _, output = load_case(case, folder)
    np.testing.assert_allclose(output.logits, EXPECTED[f"{case}.logits"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("change", [
    lambda name: name.removeprefix("bert."),
    lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"),
    lambda name: name.replace("cls.predictions.bias", "cls.predictions.decoder.bias"),
], ids=["no prefix", "gamma and beta", "the bias of the decoder"])
def test_other_names(folder, change):
    rewrite(folder, lambda arrays: {change(name): array for name, array in arrays.items()})
    assert_unchanged(folder)
    assert_unchanged(folder, "classes")


def test_buffers_and_copies_of_tied_tensors(folder):
    def change(arrays):
        table = arrays["bert.embeddings.word_embeddings.weight"]
        bias = arrays["cls.predictions.bias"]
        return {**arrays, "bert.embeddings.position_ids": np.arange(16)[None],
                "cls.predictions.decoder.weight": table, "cls.predictions.decoder.bias": bias,
                "cls.predictions.bias": 0 * bias}  # transformers reads the decoder's

    rewrite(folder, change)
    assert_unchanged(folder)
    assert BertForMaskedLM.from_pretrained(folder).has_tied_head()


@pytest.mark.parametrize("tie", [True, False])
def test_an_untied_decoder(folder, tie, tmp_path):
    def change(arrays):
        table = arrays["bert.embeddings.word_embeddings.weight"]
        return {**arrays, "cls.predictions.decoder.weight": table[:, ::-1],
                "cls.predictions.decoder.bias": arrays["cls.predictions.bias"]}

    rewrite(folder, change, tie_word_embeddings=tie)
    model = BertForMaskedLM.from_pretrained(folder)
    assert not model.has_tied_head() and model.config.tie_word_embeddings is False
    table = model.get_input_embeddings().weight.data
    np.testing.assert_array_equal(model.get_output_embeddings().weight.data, table[:, ::-1])
    model.save_pretrained(tmp_path / "again")
    arrays = safetensors.numpy.load_file(tmp_path / "again" / "model.safetensors")
    np.testing.assert_array_equal(arrays["cls.predictions.decoder.bias"],
                                  arrays["cls.predictions.bias"])
    again = BertForMaskedLM.from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(again(**INPUTS).logits, model(**INPUTS).logits)


@pytest.mark.parametrize("cls", HEADS)
def test_a_new_head_on_a_checkpoint_without_one(cls, tmp_path):
    base = BertModel.from_pretrained(TINY)
    base.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json"}
    with pytest.warns(UserWarning, match="starts with a head that has to be trained"):
        model = cls.from_pretrained(tmp_path, num_labels=2)
    np.testing.assert_array_equal(model.bert(**INPUTS).last_hidden_state,
                                  base(**INPUTS).last_hidden_state)
    for scores in scores_of(model(**INPUTS)):
        assert scores.std() > 0


def test_a_checkpoint_of_a_head_as_the_bare_model(tmp_path):
    model = BertForMaskedLM.from_pretrained(TINY)
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="no pooler.dense.weight, pooler.dense.bias"):
        base = BertModel.from_pretrained(tmp_path)
    np.testing.assert_array_equal(base(**INPUTS).last_hidden_state,
                                  model.bert(**INPUTS).last_hidden_state)


def test_a_checkpoint_without_a_pooler(tmp_path, recwarn):
    model = BertModel.from_pretrained(TINY, add_pooling_layer=False)
    assert model.pooler is None and model(**INPUTS).pooler_output is None
    model.save_pretrained(tmp_path)
    for load in (BertModel, auto.AutoModel):
        again = load.from_pretrained(tmp_path, add_pooling_layer=False)
        np.testing.assert_array_equal(again(**INPUTS).last_hidden_state,
                                      model(**INPUTS).last_hidden_state)
    assert not recwarn.list
    with pytest.raises(TypeError, match="add_pooling_layer"):
        BertForMaskedLM.from_pretrained(tmp_path, add_pooling_layer=False)


@pytest.mark.parametrize("cls", [BertModel, *HEADS])
def test_saved_and_read_again(cls, tmp_path):
    model = cls.from_pretrained(TINY, num_labels=2) if cls is BertForQuestionAnswering else (
        cls.from_pretrained(TINY))
    model.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    original = safetensors.numpy.load_file(TINY / "model.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    for name, array in arrays.items():  # the names of transformers, too
        name = name if name in original else f"bert.{name}"
        np.testing.assert_array_equal(array, original[name])
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [cls.__name__]


def test_the_auto_classes(tmp_path):
    for head, cls in [("MaskedLM", BertForMaskedLM), ("PreTraining", BertForPreTraining),
                      ("SequenceClassification", BertForSequenceClassification),
                      ("TokenClassification", BertForTokenClassification)]:
        assert type(getattr(auto, f"AutoModelFor{head}").from_pretrained(TINY)) is cls
    assert type(auto.AutoModel.from_pretrained(TINY)) is BertModel
    with pytest.raises(ValueError, match="head is 'causal_lm', wanted one of 'base', "):
        auto.AutoModelForCausalLM.from_pretrained(TINY)


def test_a_pickle_is_refused_with_the_way_to_convert_it(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only as pytorch_model.bin, a pickle.*torch.load"):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize("changes, match", [
    (dict(is_decoder=True), "is_decoder is True, but only False is implemented"),
    (dict(position_embedding_type="relative_key"), "position_embedding_type is 'relative_key'"),
    (dict(add_cross_attention=True), "add_cross_attention is True"),
    (dict(num_hidden_layers=3), "num_hidden_layers is 3, but model.safetensors has 2 layers"),
    (dict(vocab_size=40), "vocab_size is 40, but model.safetensors has"),
    (dict(type_vocab_size=2), "type_vocab_size is 2, but"),
    (dict(max_position_embeddings=20), "max_position_embeddings is 20, but"),
    (dict(intermediate_size=21), "intermediate_size is 21, but"),
])
def test_configurations_that_do_not_fit(folder, changes, match):
    rewrite(folder, dict, **changes)
    with pytest.raises(ValueError, match=match) as caught:
        BertModel.from_pretrained(folder)
    assert "\n" not in str(caught.value)


# ---- agreement with transformers, live

LIVE = {
    "plain": dict(),
    "one head, narrow feed-forward": dict(num_attention_heads=1, intermediate_size=5,
                                          layer_norm_eps=1e-3),
    "tanh gelu, no pad token": dict(hidden_act="gelu_new", pad_token_id=None, type_vocab_size=1),
    "relu, every number a head": dict(hidden_act="relu", num_attention_heads=24,
                                      num_hidden_layers=3, pad_token_id=7),
    "untied": dict(tie_word_embeddings=False),
}


@pytest.mark.parametrize("case", LIVE)
@pytest.mark.parametrize("cls", HEADS)
def test_any_checkpoint_of_transformers(case, cls, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)  # small models: threads only wait for each other
    torch.manual_seed(len(case))
    options = dict(vocab_size=29, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
                   intermediate_size=50, max_position_embeddings=19, initializer_range=0.2)
    theirs = getattr(transformers, cls.__name__)(
        transformers.BertConfig(**{**options, **LIVE[case]})).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = cls.from_pretrained(tmp_path / "theirs")
    rng = np.random.default_rng(len(case))
    B, T = 2, 19
    mask = np.ones((B, T), np.int64)
    mask[0, 7:] = 0
    inputs = dict(input_ids=rng.integers(0, 29, (B, T)), attention_mask=mask,
                  token_type_ids=rng.integers(0, ours.config.type_vocab_size, (B, T)))
    labels = some_labels(ours, rng, B, T)

    def on(model):
        return model(**{name: torch.tensor(value) for name, value in (inputs | labels).items()})

    output, expected = ours(**inputs, **labels), on(theirs)
    for scores, wanted in zip(scores_of(output), scores_of(expected), strict=True):
        np.testing.assert_allclose(scores, wanted.detach(), rtol=0, atol=1e-4)
    assert float(output.loss) == pytest.approx(expected.loss.item(), rel=1e-4)
    output.loss.backward()
    expected.loss.backward()
    assert_gradients(ours, {name: parameter.grad.numpy() for name, parameter
                            in theirs.named_parameters() if parameter.grad is not None})

    # What we save, transformers opens, with the same logits.
    ours.save_pretrained(tmp_path / "ours")
    again, report = getattr(transformers, cls.__name__).from_pretrained(
        tmp_path / "ours", output_loading_info=True)
    assert not any(report.values())
    for scores, wanted in zip(scores_of(on(again.eval())), scores_of(expected)):
        np.testing.assert_allclose(scores.detach(), wanted.detach(), rtol=0, atol=1e-5)


# ---- the backward


@pytest.mark.parametrize("cls", HEADS)
def test_gradients_of_the_whole_model_are_its_slopes(cls):
    model = cls(small_config(num_hidden_layers=1), seed=1).eval().astype(np.float64)
    rng = np.random.default_rng(0)
    inputs = dict(inputs_embeds=rng.standard_normal((2, 5, 8)),
                  attention_mask=[[1] * 5, [1, 1, 1, 0, 0]],
                  token_type_ids=rng.integers(0, 2, (2, 5)))
    labels = some_labels(model, rng, 2, 5)
    model(**inputs, **labels).loss.backward()
    parameters = dict(model.named_parameters())
    if cls not in (BertForMaskedLM, BertForPreTraining):
        del parameters["bert.embeddings.words.weight"]
    check_gradients(
        lambda: float(model(**inputs, **labels).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )


@given(st.lists(st.booleans(), min_size=10, max_size=10), st.sampled_from(
    [BertForMaskedLM, BertForPreTraining]), st.integers(0, 99))
def test_sparse_prediction_changes_neither_loss_nor_gradients(labelled, cls, seed):
    rng = np.random.default_rng(seed)
    model = cls(small_config(num_hidden_layers=1), seed=seed).eval().astype(np.float64)
    labels = np.where(np.reshape(labelled, (2, 5)), rng.integers(0, 29, (2, 5)), -100)
    inputs = {"input_ids": rng.integers(0, 29, (2, 5)), "labels": labels}
    if cls is BertForPreTraining:
        inputs["next_sentence_label"] = np.array([0, 1])

    def run(**options):
        output = model(**inputs, **options)
        model.zero_grad()
        output.loss.backward()
        gradients = {name: parameter.grad.copy() for name, parameter in model.named_parameters()}
        return float(output.loss), output[1], gradients

    loss, logits, gradients = run()
    sparse_loss, sparse_logits, sparse_gradients = run(sparse_prediction=True)
    assert sparse_loss == pytest.approx(loss, abs=1e-12)
    np.testing.assert_allclose(sparse_logits, logits[labels != -100], rtol=0, atol=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(sparse_gradients[name], gradient, rtol=0, atol=1e-12)


def test_sparse_prediction_needs_labels():
    with pytest.raises(ValueError, match="^sparse_prediction needs labels"):
        BertForMaskedLM(small_config())(np.zeros((1, 3), int), sparse_prediction=True)


@pytest.mark.parametrize("pooled", [True, False])
def test_gradients_of_the_inputs_are_slopes(pooled):
    model = BertModel(small_config(num_hidden_layers=1), seed=1).eval().astype(np.float64)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 8))
    dx, dpooled = rng.standard_normal((2, 4, 8)), rng.standard_normal((2, 8))

    def value():
        output = model(inputs_embeds=x)
        return np.sum(output[0] * dx) + pooled * np.sum(output[1] * dpooled)

    value()
    gradient = model.backward(dx, dpooled) if pooled else model.backward(dx)
    check_gradients(value, {"x": x}, {"x": gradient}, rng)


def test_gradients_with_dropout_are_slopes_for_the_same_randomness():
    config = small_config(num_hidden_layers=1, classifier_dropout=0.4)
    model = BertForSequenceClassification(config, seed=1).astype(np.float64)
    rng = np.random.default_rng(0)
    ids, start = rng.integers(0, 29, (2, 5)), model.rng.bit_generator.state

    def loss():
        model.rng.bit_generator.state = start
        return model(ids, labels=[0, 1]).loss

    loss().backward()
    table = model.bert.embeddings.words
    parameters = {name: parameter for name, parameter in model.named_parameters()
                  if parameter is not table.weight}
    check_gradients(
        lambda: float(loss()),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )


def test_a_pad_token_that_is_read_teaches_nothing():
    model = BertForMaskedLM(small_config(pad_token_id=3, tie_word_embeddings=False), seed=0).eval()
    table = model.bert.embeddings.words.weight
    assert not table.data[3].any() and table.data[4].any()
    model([[3, 4]], labels=[[5, 6]]).loss.backward()
    assert not table.grad[3].any() and table.grad[4].any()


def test_a_frozen_base_and_a_head_that_learns():
    model = BertForSequenceClassification(small_config(), seed=0)
    model.bert.freeze()
    model([[1, 2, 3]], labels=[1]).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("bert."), name


def test_two_texts_through_one_encoder():
    """As a sentence encoder is trained: two forwards, then two backwards, in any order."""
    model = BertModel(small_config(), seed=0).eval()
    first, second = np.array([[1, 2, 3]]), np.array([[4, 5]])

    def gradients(*passes):
        model.zero_grad()
        backwards = []
        for ids in passes:
            x = model(ids).last_hidden_state
            backwards.append((model.deferred_backward(), x))
        for backward, x in backwards:
            backward(np.ones_like(x) * x)
        return {name: parameter.grad.copy() for name, parameter in model.named_parameters()
                if parameter.grad is not None}

    both, one, other = gradients(first, second), gradients(first), gradients(second)
    assert not any(name.startswith("pooler") for name in both)
    for name, gradient in both.items():
        np.testing.assert_allclose(gradient, one[name] + other[name], rtol=1e-4, atol=1e-5)


# ---- what must hold for any input

inputs = given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 12))


@pytest.mark.parametrize("cls", [BertForPreTraining, BertForQuestionAnswering])
@inputs
def test_padding_changes_nothing(cls, seed, B, T):
    model, rng = cls(small_config(), seed=1).eval(), np.random.default_rng(seed)
    ids, pad = rng.integers(0, 29, (B, T)), 12 - T
    noise = rng.integers(0, 29, (B, pad))
    mask = np.concatenate([np.ones((B, T), int), np.zeros((B, pad), int)], axis=1)
    padded = scores_of(model(np.concatenate([ids, noise], axis=1), mask))
    for scores, expected in zip(padded, scores_of(model(ids))):
        cut = scores[:, :T] if scores.shape != expected.shape else scores
        np.testing.assert_allclose(cut, expected, rtol=0, atol=1e-5)


@inputs
def test_a_batch_is_its_rows(seed, B, T):
    model = BertForPreTraining(small_config(), seed=1).eval()
    ids = np.random.default_rng(seed).integers(0, 29, (B, T))
    both = scores_of(model(ids))
    for row in range(B):
        for scores, expected in zip(scores_of(model(ids[[row]])), both):
            np.testing.assert_allclose(scores[0], expected[row], rtol=0, atol=1e-5)


@inputs
def test_tokens_are_a_set_but_for_their_positions(seed, B, T):
    """Permuting tokens together with their positions and types permutes the vectors."""
    model, rng = BertModel(small_config(), seed=1).eval(), np.random.default_rng(seed)
    ids, types = rng.integers(0, 29, (B, T)), rng.integers(0, 2, (B, T))
    positions = np.tile(np.arange(T), (B, 1))
    order = rng.permutation(T)
    mask = np.ones((B, T), int)
    expected = model(ids, mask, types, positions).last_hidden_state[:, order]
    permuted = model(ids[:, order], mask, types[:, order], positions[:, order])
    np.testing.assert_allclose(permuted.last_hidden_state, expected, rtol=0, atol=1e-5)


def test_every_position_sees_the_whole_text():
    model = BertModel(small_config(), seed=1).eval()
    one = model([[1, 2, 3, 4]]).last_hidden_state
    other = model([[1, 2, 3, 5]]).last_hidden_state
    assert (np.abs(one - other).max(axis=-1) > 1e-4).all()


# ---- other positions


@pytest.mark.parametrize("kind", POSITION_EMBEDDINGS)
def test_every_kind_of_positions(kind, tmp_path):
    config = small_config(num_hidden_layers=1, position_embedding=kind)
    model = BertForTokenClassification(config, seed=1).eval().astype(np.float64)
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(1, 29, (2, 5)), rng.integers(0, 2, (2, 5))
    mask = [[1] * 5, [1, 1, 1, 0, 0]]
    model(ids, mask, labels=labels).loss.backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(model(ids, mask, labels=labels).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )
    model.astype(np.float32).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    assert ("position_embedding" in content) == (kind != "learned")
    again = BertForTokenClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(ids).logits, model(ids).logits)
    reversed_too = np.allclose(again(ids[:, ::-1]).logits[:, ::-1], model(ids).logits, atol=1e-4)
    assert reversed_too == (kind in ("alibi", "none"))  # the same seen in a mirror
    if kind != "learned":
        assert again(np.ones((1, 30), int)).logits.shape == (1, 30, 2)


# ---- sizes, initialization


def test_the_default_is_the_base_model_of_the_paper():
    config = BertConfig()
    d = config.hidden_size
    embeddings = (30522 + 512 + 2) * d + 2 * d
    size = embeddings + 12 * (12 * d * d + 13 * d) + d * d + d
    assert size == 109_482_240
    small = small_config()
    d, ff = small.hidden_size, small.intermediate_size
    embeddings = (29 + 12 + 2) * d + 2 * d
    block = 4 * d * d + 4 * d + 2 * d * ff + ff + d + 4 * d
    assert BertModel(small).num_parameters() == embeddings + 2 * block + d * d + d


def test_initial_weights_are_those_of_the_paper():
    config = small_config(vocab_size=900, hidden_size=64, num_attention_heads=4,
                          intermediate_size=128, initializer_range=0.02, pad_token_id=None)
    for name, weights in BertForPreTraining(config, seed=3).state_dict().items():
        if "norm" in name and name.endswith("weight"):
            assert (weights == 1).all()
        elif name.endswith("bias"):
            assert (weights == 0).all()
        elif weights.size > 1000:
            assert weights.std() == pytest.approx(0.02, rel=0.1), name


def test_other_sizes_follow_the_usual_ones():
    config = BertConfig.from_sizes(vocab_size=50, hidden_size=16, num_hidden_layers=1,
                                   num_attention_heads=2, max_position_embeddings=9)
    assert config.intermediate_size == 64


def test_resizing_keeps_the_head_tied():
    model = BertForMaskedLM.from_pretrained(TINY)
    before = model(**INPUTS).logits
    model.resize_token_embeddings(50)
    assert model.has_tied_head() and model.config.vocab_size == 50
    np.testing.assert_allclose(model(**INPUTS).logits[..., :41], before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_quantized_for_inference(dtype):
    model = BertForMaskedLM.from_pretrained(TINY, dtype=dtype)
    wanted = EXPECTED["masked_lm.logits"]
    error = np.abs(model(**INPUTS).logits - wanted).max() / np.abs(wanted).max()
    assert error < (1e-4 if dtype == "float32" else 0.05)
    if dtype != "float32":
        with pytest.raises(ValueError, match="wanted a model that isn't quantized"):
            model(**INPUTS, labels=EXPECTED["ids"]).loss.backward()


# ---- bad input


@pytest.mark.parametrize("cls, error, match, inputs", [
    (BertModel, ValueError, "input_ids contains 29", dict(input_ids=[[29]])),
    (BertModel, ValueError, "reaches 13 tokens, wanted at most max_position_embeddings = 12",
     dict(input_ids=np.ones((1, 13), int))),
    (BertModel, ValueError, "token_type_ids contains 2", dict(input_ids=[[1]],
                                                              token_type_ids=[[2]])),
    (BertModel, ValueError, "neither given", dict()),
    (BertForMaskedLM, ValueError, r"labels has shape \(2,\)", dict(input_ids=[[1, 2]],
                                                                   labels=[1, 2])),
    (BertForMaskedLM, ValueError, "labels contains 29", dict(input_ids=[[1]], labels=[[29]])),
    (BertForPreTraining, ValueError, "next_sentence_label contains 2",
     dict(input_ids=[[1]], labels=[[1]], next_sentence_label=[2])),
    (BertForSequenceClassification, ValueError, "labels contains 2", dict(input_ids=[[1]],
                                                                          labels=[2])),
    (BertForSequenceClassification, ValueError, r"labels has shape \(1,\), wanted \(1, 2\)",
     dict(input_ids=[[1]], labels=[0.5])),
    (BertForTokenClassification, TypeError, "labels has dtype float64",
     dict(input_ids=[[1]], labels=[[0.5]])),
    (BertForQuestionAnswering, ValueError, r"end_positions has shape \(2,\)",
     dict(input_ids=[[1]], start_positions=[0], end_positions=[0, 1])),
])
def test_bad_inputs_are_named(cls, error, match, inputs):
    with pytest.raises(error, match=match) as caught:
        cls(small_config())(**inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options, match", [
    (dict(num_attention_heads=3), "num_attention_heads is 3, wanted a divisor of hidden_size = 8"),
    (dict(num_hidden_layers=0), "num_hidden_layers is 0"),
    (dict(hidden_act="prelu"), "hidden_act is 'prelu'"),
    (dict(hidden_dropout_prob=1.0), "hidden_dropout_prob is 1.0"),
    (dict(classifier_dropout=-0.1), "classifier_dropout is -0.1"),
    (dict(pad_token_id=29), "pad_token_id is 29, wanted an id from 0 to 28, or None"),
    (dict(problem_type="ranking"), "problem_type is 'ranking'"),
])
def test_bad_configurations_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        small_config(**options)


def test_an_answer_needs_two_scores():
    with pytest.raises(ValueError, match="num_labels is 3, wanted 2"):
        BertForQuestionAnswering(small_config().replace(num_labels=3))
