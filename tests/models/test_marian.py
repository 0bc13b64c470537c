import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from minillm import MarianConfig, MarianModel, MarianMTModel
from minillm.models.auto import AutoConfig, AutoModel, AutoModelForSeq2SeqLM
from minillm.nn import no_grad

TINY = Path(__file__).parents[1] / "fixtures" / "marian_tiny"
GENERATED = json.loads((TINY / "generation.json").read_text())


@pytest.fixture(scope="module")
def tiny():
    return MarianMTModel.from_pretrained(TINY)


@pytest.fixture(scope="module")
def frozen():
    return np.load(TINY / "expected.npz")


def file_gradients(model):
    """-> {name in transformers: gradient}, of all parameters that learn"""
    table, _ = model.layout(model.config)
    gradients = table.save({name.removeprefix("model."): parameter.grad
                            for name, parameter in model.named_parameters() if parameter.trainable})
    return {name if name.startswith("lm_head") else f"model.{name}": gradient
            for name, gradient in gradients.items()}


def assert_close_gradients(actual, expected):
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = np.abs(gradient).max()
        if scale > 1e-6:  # a key's bias shifts all scores alike: no gradient
            assert np.abs(actual[name] - gradient).max() / scale < 1e-3, name


# ---- agreement with transformers, frozen and live


def test_logits_loss_and_gradients_of_transformers(frozen):
    model = MarianMTModel.from_pretrained(TINY)
    outputs = model(frozen["ids"], attention_mask=frozen["mask"], labels=frozen["labels"])
    np.testing.assert_allclose(outputs.logits, frozen["logits"], rtol=0, atol=1e-4)
    assert outputs.loss.item() == pytest.approx(float(frozen["loss"]), rel=1e-5)
    outputs.loss.backward()
    assert_close_gradients(file_gradients(model), {
        name.removeprefix("grad."): frozen[name] for name in frozen.files if "grad." in name})


@pytest.mark.parametrize("name", GENERATED)
def test_generated_ids_of_transformers(tiny, frozen, name):
    case = GENERATED[name]
    output = tiny.generate(frozen["ids"], attention_mask=frozen["mask"], **case["options"])
    np.testing.assert_array_equal(output, case["output"])


LIVE = {
    "plain": dict(),
    "untied": dict(tie_word_embeddings=False, scale_embedding=True),
    "two vocabularies": dict(share_encoder_decoder_embeddings=False, decoder_vocab_size=41),
    "two vocabularies, untied": dict(share_encoder_decoder_embeddings=False, decoder_vocab_size=61,
                                     tie_word_embeddings=False),
    "relu, one head": dict(activation_function="relu", encoder_attention_heads=1,
                           decoder_attention_heads=15, encoder_layers=3),
    "swish, no padding": dict(activation_function="swish", scale_embedding=True, d_model=14,
                              encoder_attention_heads=7, decoder_attention_heads=2),
}


@pytest.mark.parametrize("case", LIVE)
def test_any_checkpoint_of_transformers(case, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    torch.manual_seed(len(case))
    transformers.logging.set_verbosity_error()
    options = dict(vocab_size=45, d_model=15, encoder_layers=1, decoder_layers=2,
                   encoder_attention_heads=3, decoder_attention_heads=5, encoder_ffn_dim=7,
                   decoder_ffn_dim=19, pad_token_id=40, decoder_start_token_id=40, eos_token_id=0,
                   max_position_embeddings=21, init_std=0.4, attn_implementation="eager")
    theirs = transformers.MarianMTModel(
        transformers.MarianConfig(**{**options, **LIVE[case]})).eval()
    theirs.final_logits_bias.normal_()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs")
    assert type(ours) is MarianMTModel

    rng = np.random.default_rng(len(case))
    ids, labels = rng.integers(1, 40, (3, 8)), rng.integers(1, 40, (3, 6))
    mask = np.ones((3, 8), np.int64)
    ids[0, 5:], mask[0, 5:] = 40, 0
    labels[1, 3:] = -100
    tensors = dict(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    flags = dict(output_hidden_states=True, output_attentions=True)
    expected = theirs(**tensors, labels=torch.tensor(labels), **flags)
    outputs = ours(ids, attention_mask=mask, labels=labels, **flags)
    np.testing.assert_allclose(outputs.logits, expected.logits.detach(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(outputs.encoder_last_hidden_state,
                               expected.encoder_last_hidden_state.detach(), rtol=0, atol=1e-4)
    for name in ("encoder_hidden_states", "decoder_hidden_states", "encoder_attentions",
                 "decoder_attentions", "cross_attentions"):
        for one, other in zip(outputs[name], expected[name], strict=True):
            np.testing.assert_allclose(one, other.detach(), rtol=0, atol=1e-4)
    assert float(outputs.loss) == pytest.approx(expected.loss.item(), rel=1e-4)
    outputs.loss.backward()
    expected.loss.backward()
    assert_close_gradients(file_gradients(ours), {
        name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()
        if parameter.grad is not None})

    for how in (dict(max_length=18), dict(num_beams=4, num_return_sequences=2, max_length=18)):
        generated = theirs.generate(**tensors, do_sample=False, **how).numpy()
        np.testing.assert_array_equal(ours.generate(ids, attention_mask=mask, **how), generated)
        padding = theirs.generate(tensors["input_ids"], do_sample=False, **how).numpy()
        np.testing.assert_array_equal(ours.generate(ids, **how), padding)  # found by its id

    # What we save, transformers opens, with the same logits.
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.MarianMTModel.from_pretrained(tmp_path / "ours").eval()
    logits = again(**tensors, labels=torch.tensor(labels)).logits
    np.testing.assert_allclose(logits.detach(), expected.logits.detach(), rtol=0, atol=1e-5)
    bare = transformers.MarianModel.from_pretrained(tmp_path / "ours").eval()
    bare.save_pretrained(tmp_path / "bare")
    ours_bare = AutoModel.from_pretrained(tmp_path / "bare")
    assert type(ours_bare) is MarianModel
    decoder_ids = np.where(labels < 0, 40, labels)
    x = ours_bare(ids, mask, decoder_ids).last_hidden_state
    want = bare(**tensors, decoder_input_ids=torch.tensor(decoder_ids)).last_hidden_state
    np.testing.assert_allclose(x, want.detach(), rtol=0, atol=1e-4)


# ---- files


def copied(tmp_path, change=lambda arrays: None, **fields):
    """-> a folder with marian_tiny, its tensors changed by a function, and fields of config.json"""
    folder = Path(shutil.copytree(TINY, tmp_path / "model"))
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    change(arrays)
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    return folder


def test_a_file_of_an_older_transformers(tiny, frozen, tmp_path):
    """Every use of the table is stored, and so are the positions; the options of generate are in
    config.json."""
    def change(arrays):
        for name in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"):
            arrays[f"{name}.weight"] = arrays["model.shared.weight"].copy()
        for stack in ("encoder", "decoder"):
            arrays[f"model.{stack}.embed_positions.weight"] = np.zeros((24, 15), np.float32)

    stored = json.loads((TINY / "generation_config.json").read_text())
    folder = copied(tmp_path, change, num_beams=3, max_length=15, bad_words_ids=[[46]],
                    renormalize_logits=True, forced_eos_token_id=0, normalize_before=False,
                    normalize_embedding=False, static_position_embeddings=True,
                    add_final_layer_norm=False, num_hidden_layers=2)
    assert stored["num_beams"] == 3
    (folder / "generation_config.json").unlink()
    model = MarianMTModel.from_pretrained(folder)
    np.testing.assert_array_equal(model.generate(frozen["ids"], attention_mask=frozen["mask"]),
                                  GENERATED["as configured"]["output"])
    assert model.has_tied_head()


@pytest.mark.parametrize("name", ["model.encoder.embed_tokens.weight",
                                  "model.decoder.embed_tokens.weight", "lm_head.weight"])
def test_one_table_under_any_of_its_names(tiny, frozen, name, tmp_path):
    def change(arrays):
        arrays[name] = arrays.pop("model.shared.weight")

    model = MarianMTModel.from_pretrained(copied(tmp_path, change))
    np.testing.assert_array_equal(model(frozen["ids"], labels=frozen["labels"]).logits,
                                  tiny(frozen["ids"], labels=frozen["labels"]).logits)


def test_one_table_with_different_numbers_is_refused(tmp_path):
    def change(arrays):
        arrays["model.encoder.embed_tokens.weight"] = arrays["model.shared.weight"] + 1

    with pytest.raises(ValueError, match="embed_tokens.weight differ, wanted the same numbers"):
        MarianMTModel.from_pretrained(copied(tmp_path, change))


def test_a_file_without_the_bias_of_the_logits(tmp_path):
    folder = copied(tmp_path, lambda arrays: arrays.pop("final_logits_bias"))
    assert not MarianMTModel.from_pretrained(folder).final_logits_bias.data.any()


@pytest.mark.parametrize("match, fields", [
    ("encoder_layers is 3, but model.safetensors has 2 layers", dict(encoder_layers=3)),
    ("decoder_layers is 2, but model.safetensors has 1 layer", dict(decoder_layers=2)),
    ("decoder_ffn_dim is 14", dict(decoder_ffn_dim=14)),
    ("vocab_size is 48", dict(vocab_size=48, decoder_vocab_size=48)),
    ("d_model is 30", dict(d_model=30)),
    ("encoder_layerdrop is 0.5, but only 0 is implemented", dict(encoder_layerdrop=0.5)),
    ("is_encoder_decoder is False, but only True is implemented", dict(is_encoder_decoder=False)),
    ("activation_function is 'prelu', wanted one of", dict(activation_function="prelu")),
])
def test_configurations_that_do_not_fit_are_refused_by_name(match, fields, tmp_path):
    with pytest.raises(ValueError, match=match):
        MarianMTModel.from_pretrained(copied(tmp_path, **fields))


def test_new_tokens_have_no_bias(frozen):
    model = MarianMTModel.from_pretrained(TINY)
    before = model(frozen["ids"], labels=frozen["labels"]).logits
    n_before = model.num_parameters()
    model.resize_token_embeddings(50)
    logits = model(frozen["ids"], labels=frozen["labels"]).logits
    np.testing.assert_allclose(logits[..., :47], before, atol=1e-5)
    assert not model.final_logits_bias.data[:, 47:].any()
    assert model.num_parameters() == n_before + 3 * 15


def test_quantized_weights_generate(frozen):
    model = MarianMTModel.from_pretrained(TINY, dtype="bfloat16")
    assert model.generate(frozen["ids"], attention_mask=frozen["mask"]).shape[0] == 3


def test_the_configuration_keeps_every_field(tmp_path):
    config = AutoConfig.from_pretrained(TINY)
    assert type(config) is MarianConfig
    config.save_pretrained(tmp_path)
    stored, again = (json.loads((folder / "config.json").read_text())
                     for folder in (TINY, tmp_path))
    for name in ("architectures", "dtype", "transformers_version"):
        stored.pop(name)
    assert {name: again[name] for name in stored} == stored


# ---- generating


def test_the_encoder_runs_once(tiny, frozen, monkeypatch):
    calls = []
    encode = type(tiny.get_encoder()).forward
    monkeypatch.setattr(type(tiny.get_encoder()), "forward",
                        lambda self, *a, **o: calls.append(1) or encode(self, *a, **o))
    tiny.generate(frozen["ids"], attention_mask=frozen["mask"], num_beams=3, max_new_tokens=6)
    assert len(calls) == 1


def test_a_batch_is_its_rows(tiny, frozen):
    ids, mask = frozen["ids"], frozen["mask"]
    together = tiny.generate(ids, attention_mask=mask, num_beams=4, max_length=14)
    for row, length, output in zip(ids, mask.sum(axis=1), together):
        alone = tiny.generate(row[None, :length], num_beams=4, max_length=14)[0]
        np.testing.assert_array_equal(alone, output[: len(alone)])
        assert (output[len(alone):] == 46).all()


def test_vectors_of_the_source(tiny, frozen):
    """inputs_embeds are embeddings that are scaled already, as in transformers"""
    ids, mask = frozen["ids"], frozen["mask"]
    vectors = np.sqrt(15).astype(np.float32) * tiny.get_input_embeddings().weight.data[ids]
    np.testing.assert_array_equal(
        tiny.generate(inputs_embeds=vectors, attention_mask=mask, num_beams=2),
        tiny.generate(ids, attention_mask=mask, num_beams=2))


def test_a_cache_goes_on(tiny, frozen):
    ids, mask = frozen["ids"], frozen["mask"]
    first = tiny.generate(ids, attention_mask=mask, num_beams=1, max_new_tokens=4,
                          forced_eos_token_id=None, return_dict_in_generate=True)
    assert first.past_key_values.length == 4
    options = dict(attention_mask=mask, num_beams=1, max_length=12,
                   decoder_input_ids=first.sequences)
    expected = tiny.generate(ids, **options)
    np.testing.assert_array_equal(
        tiny.generate(ids, past_key_values=first.past_key_values, **options), expected)


def test_sampling_streaming_and_stopping(tiny, frozen):
    ids = frozen["ids"][:1]
    drawn = tiny.generate(ids, do_sample=True, num_beams=1, num_return_sequences=5, seed=0,
                          top_k=0, temperature=2.0, max_length=9)
    assert drawn.shape == (5, 9) and len(np.unique(drawn, axis=0)) > 1
    greedy = tiny.generate(ids, num_beams=1, max_length=9)
    stopped = tiny.generate(ids, num_beams=1, max_length=9,
                            stopping_criteria=[lambda ids, scores: ids.shape[1] == 5])
    np.testing.assert_array_equal(stopped, greedy[:, :5])


def test_scores_of_beams(tiny, frozen):
    output = tiny.generate(frozen["ids"], attention_mask=frozen["mask"], num_beams=3,
                           num_return_sequences=2, return_dict_in_generate=True,
                           output_scores=True, length_penalty=0.0, bad_words_ids=None,
                           forced_eos_token_id=None, max_length=8)
    with no_grad():
        for row, (ids, score) in enumerate(zip(output.sequences, output.sequences_scores)):
            source = row // 2
            n = 1 + np.argmax(ids[1:] == 0) if (ids[1:] == 0).any() else len(ids) - 1
            logits = tiny(frozen["ids"][[source]], frozen["mask"][[source]], ids[None, :-1]).logits
            log_p = logits[0] - np.log(np.exp(logits[0]).sum(axis=-1, keepdims=True))
            assert log_p[np.arange(n), ids[1 : n + 1]].sum() == pytest.approx(score, abs=1e-3)


def test_a_forced_end_that_is_suppressed_is_refused(tiny, frozen):
    with pytest.raises(ValueError, match="forced_eos_token_id is 0, which suppress_tokens exclude"):
        tiny.generate(frozen["ids"], suppress_tokens=[0])
