import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients

from minillm import Adam, TransformerConfig, TransformerForConditionalGeneration
from minillm.models.auto import AutoModelForSeq2SeqLM
from minillm.models.transformer import shift_right
from minillm.models.weight_table import WeightTable, rename, split
from minillm.nn import EncoderDecoderCache, no_grad, trace
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.training.schedules import inverse_square_root

FROZEN = Path(__file__).parents[1] / "fixtures" / "transformer.npz"
# Our parameters -> those of torch.nn.Transformer.
RULES = [
    rename("*.layers.*.attention.qkv.weight", "*.layers.*.self_attn.in_proj_weight",
           transpose=True),
    rename("*.layers.*.attention.qkv.bias", "*.layers.*.self_attn.in_proj_bias"),
    rename("*.layers.*.attention.output.*", "*.layers.*.self_attn.out_proj.*", transpose=True),
    *[split([f"*.layers.*.cross_attention.query.{kind}",
             f"*.layers.*.cross_attention.key_value.{kind}"],
            f"*.layers.*.multihead_attn.in_proj_{kind}", transpose=True)
      for kind in ("weight", "bias")],
    rename("*.layers.*.cross_attention.output.*", "*.layers.*.multihead_attn.out_proj.*",
           transpose=True),
    rename("*.layers.*.feed_forward.expand.*", "*.layers.*.linear1.*", transpose=True),
    rename("*.layers.*.feed_forward.contract.*", "*.layers.*.linear2.*", transpose=True),
    rename("encoder.layer_norm.*", "encoder.norm.*"),
    rename("decoder.layer_norm.*", "decoder.norm.*"),
    rename("encoder.layers.*.norm1.*", "encoder.layers.*.norm1.*"),
    rename("*.layers.*.norm_cross.*", "*.layers.*.norm2.*"),
    rename("encoder.layers.*.norm2.*", "encoder.layers.*.norm2.*"),
    rename("decoder.layers.*.norm2.*", "decoder.layers.*.norm3.*"),
]
TORCH = WeightTable(RULES)


def small_config(**changes):
    options = dict(vocab_size=13, d_model=6, encoder_layers=1, decoder_layers=2,
                   encoder_attention_heads=2, decoder_attention_heads=3, encoder_ffn_dim=9,
                   decoder_ffn_dim=8, max_position_embeddings=12, init_std=0.5)
    return TransformerConfig(**{**options, **changes})


@lru_cache
def small_model(**changes):
    return TransformerForConditionalGeneration(small_config(**changes), seed=1).eval()


def draw(seed, B=2, S=6, T=5, V=13):
    rng = np.random.default_rng(seed)
    source, target = rng.integers(3, V, (B, S)), rng.integers(3, V, (B, T))
    mask = np.ones((B, S), np.int64)
    mask[-1, S - 2 :] = 0
    return source, mask, target


# ---- agreement with PyTorch


@pytest.mark.parametrize("case", ["paper", "pre_norm"])
def test_logits_loss_and_gradients_of_torch_nn_transformer(case):
    frozen = np.load(FROZEN)
    sizes, options = json.loads(str(frozen["sizes"])), json.loads(str(frozen["cases"]))[case]
    model = TransformerForConditionalGeneration(TransformerConfig(
        vocab_size=17, d_model=sizes["d_model"], encoder_attention_heads=sizes["nhead"],
        decoder_attention_heads=sizes["nhead"], encoder_layers=sizes["num_encoder_layers"],
        decoder_layers=sizes["num_decoder_layers"], encoder_ffn_dim=sizes["dim_feedforward"],
        decoder_ffn_dim=sizes["dim_feedforward"], activation_function=options["activation"],
        normalize_before=options["norm_first"], add_final_layer_norm=True, layer_norm_eps=1e-5,
        dropout=0.0, label_smoothing=0.1))  # torch's has final norms with post-norm, too
    parameters = dict(model.model.named_parameters())
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    for name, array in TORCH.load(shapes, lambda name: frozen[f"{case}.weight.{name}"]):
        parameters[name].data = array

    output = model(frozen["source"], frozen["mask"], frozen["target"], labels=frozen["labels"])
    np.testing.assert_allclose(output.logits, frozen[f"{case}.logits"], rtol=0, atol=1e-4)
    assert float(output.loss) == pytest.approx(float(frozen[f"{case}.loss"]), rel=1e-5)
    output.loss.backward()
    gradients = TORCH.save({name: parameter.grad for name, parameter in parameters.items()})
    assert len(gradients) == sum(name.startswith(f"{case}.grad.") for name in frozen.files)
    for name, gradient in gradients.items():
        expected = frozen[f"{case}.grad.{name}"]
        assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max() + 1e-6, name


# ---- the backward


@pytest.mark.parametrize("changes", [
    {}, dict(normalize_before=True, activation_function="gelu"),
    dict(share_encoder_decoder_embeddings=False, decoder_vocab_size=10),
    dict(tie_word_embeddings=False, scale_embedding=False, add_final_layer_norm=True),
], ids=str)
def test_gradients_are_slopes(changes):
    model = TransformerForConditionalGeneration(small_config(dropout=0.0, **changes), seed=1)
    model.astype(np.float64)
    source, mask, labels = draw(0)
    labels %= model.config.decoder_vocab_size
    labels[0, 2] = -100

    def run():
        return model(source, mask, labels=labels).loss  # in training mode: with smoothing

    run().backward()
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.grad = np.zeros_like(parameter.data) if parameter.grad is None else parameter.grad
    arrays = {name: parameter.data for name, parameter in parameters.items()}
    table = model.model.shared if model.config.shares_embeddings else None
    if table is not None:  # the row of padding: its lookups give no gradient
        first_row = table.weight.grad[0].copy()
        assert (labels == 0).sum() == 0 and first_row.any() == model.config.tie_word_embeddings
    skipped = {name for name in arrays if name.endswith("embed_tokens.weight")
               or name == "model.shared.weight"}
    check_gradients(lambda: float(run()), {n: a for n, a in arrays.items() if n not in skipped},
                    {n: parameters[n].grad.copy() for n in arrays if n not in skipped},
                    np.random.default_rng(0))


@pytest.mark.parametrize("changes", [
    {}, dict(share_encoder_decoder_embeddings=False, decoder_vocab_size=10),
    dict(tie_word_embeddings=False)], ids=str)
def test_gradients_of_the_embeddings_are_slopes(changes):
    config = small_config(pad_token_id=None, dropout=0.0, **changes)
    model = TransformerForConditionalGeneration(config, seed=1).astype(np.float64)
    source, mask, labels = draw(1)
    labels %= config.decoder_vocab_size
    targets = np.roll(labels, 1, axis=1)

    def run():
        return model(source, mask, targets, labels=labels).loss

    run().backward()
    tables = {name: parameter for name, parameter in model.named_parameters()
              if name.endswith(("embed_tokens.weight", "shared.weight", "lm_head.weight"))}
    assert len(tables) == (1 if not changes else 2)
    check_gradients(lambda: float(run()), {n: p.data for n, p in tables.items()},
                    {n: p.grad.copy() for n, p in tables.items()}, np.random.default_rng(0))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_vectors_in_place_of_ids(frozen):
    model = TransformerForConditionalGeneration(small_config(), seed=2).eval().astype(np.float64)
    model.get_encoder().freeze(frozen)
    rng = np.random.default_rng(0)
    vectors, others = rng.normal(size=(2, 6, 6)), rng.normal(size=(2, 5, 6))
    _, mask, labels = draw(2)

    def run():
        return model(inputs_embeds=vectors, attention_mask=mask, decoder_inputs_embeds=others,
                     labels=labels)
    output = run()
    p = np.exp(output.logits - output.logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    dvectors, dothers = model.backward((p - np.eye(13)[labels]) / labels.size)
    check_gradients(lambda: float(run().loss), {"source": vectors, "target": others},
                    {"source": dvectors, "target": dothers}, rng)


def test_a_frozen_encoder_costs_no_backward():
    model = TransformerForConditionalGeneration(
        small_config(share_encoder_decoder_embeddings=False), seed=1).eval()
    source, mask, labels = draw(3)
    model(source, mask, labels=labels).loss.backward()
    expected = {n: p.grad.copy() for n, p in model.named_parameters()}
    model.zero_grad()
    model.get_encoder().freeze()
    model(source, mask, labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        if ".encoder." in name:
            assert parameter.grad is None, name
        else:
            np.testing.assert_array_equal(parameter.grad, expected[name])


def test_encoder_and_decoder_in_two_steps():
    """The gradient of encoder_outputs, passed on to the encoder, completes the backward."""
    model = TransformerForConditionalGeneration(small_config(), seed=1).eval()
    source, mask, labels = draw(3)
    model(source, mask, labels=labels).loss.backward()
    expected = {name: parameter.grad.copy() for name, parameter in model.named_parameters()}
    model.zero_grad()
    memory = model.get_encoder()(source, mask).last_hidden_state
    logits = model(attention_mask=mask, decoder_input_ids=shift_right(labels, model.config),
                   encoder_outputs=(memory,)).logits
    _, cache = cross_entropy(logits, labels)
    dmemory, _ = model.backward(cross_entropy_backward(1.0, cache))
    model.get_encoder().backward(dmemory)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[name], atol=1e-6, err_msg=name)


# ---- properties


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.booleans())
def test_no_position_sees_later_targets_or_padding(seed, pre_norm):
    model = small_model(normalize_before=pre_norm)
    source, mask, target = draw(seed)
    rng = np.random.default_rng(seed)
    with no_grad():
        logits = model(source, mask, target).logits
        t = int(rng.integers(1, 5))
        later = target.copy()
        later[:, t:] = rng.integers(3, 13, later[:, t:].shape)
        np.testing.assert_allclose(model(source, mask, later).logits[:, :t], logits[:, :t],
                                   atol=1e-6)
        padded = np.where(mask == 0, rng.integers(3, 13, source.shape), source)
        np.testing.assert_allclose(model(padded, mask, target).logits, logits, atol=1e-6)
        alone = model(source[-1:, :4], None, target[-1:]).logits
        np.testing.assert_allclose(alone, logits[-1:], atol=1e-5)


def test_steps_with_the_caches_are_one_full_forward():
    model = small_model()
    source, mask, target = draw(4)
    with no_grad():
        full = model(source, mask, target).logits
    cache = EncoderDecoderCache()
    parts = [model(source, mask, target[:, :2], past_key_values=cache).logits]
    assert (cache.length, cache.memory_length) == (2, 6)
    for t in range(2, 5):  # the encoder doesn't run again: there is nothing for it to read
        parts.append(model(attention_mask=mask, decoder_input_ids=target[:, t : t + 1],
                           past_key_values=cache).logits)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), full, atol=1e-5)


def test_the_memory_can_be_passed_in():
    model = small_model()
    source, mask, target = draw(5)
    with no_grad():
        encoded = model.get_encoder()(source, mask)
        expected = model(source, mask, target).logits
    for given_outputs in (encoded, (encoded.last_hidden_state,)):
        output = model(attention_mask=mask, decoder_input_ids=target, encoder_outputs=given_outputs)
        np.testing.assert_array_equal(output.logits, expected)


def test_states_attentions_and_traces():
    model = small_model()
    source, mask, target = draw(6)
    with trace(model, "model.*coder.embed_tokens") as seen:
        output = model(source, mask, target, output_hidden_states=True, output_attentions=True)
    assert [len(x) for x in (output.encoder_hidden_states, output.decoder_hidden_states)] == [2, 3]
    np.testing.assert_array_equal(output.encoder_hidden_states[-1],
                                  output.encoder_last_hidden_state)
    assert output.encoder_attentions[0].shape == (2, 2, 6, 6)
    assert output.decoder_attentions[1].shape == (2, 3, 5, 5)
    assert output.cross_attentions[1].shape == (2, 3, 5, 6)
    assert np.abs(output.cross_attentions[0][1, :, :, 4:]).max() == 0  # padding
    assert seen["model.encoder.embed_tokens"].shape == (2, 6, 6)
    assert seen["model.decoder.embed_tokens"].shape == (2, 5, 6)


def test_label_smoothing_is_for_training():
    source, mask, labels = draw(7)
    model = TransformerForConditionalGeneration(small_config(dropout=0.0), seed=1)
    logits = model(source, mask, shift_right(labels, model.config)).logits.astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    nll = -np.take_along_axis(log_p, labels[..., None], axis=-1).mean()
    smoothed = 0.9 * nll - 0.1 * log_p.mean()
    assert float(model(source, mask, labels=labels).loss) == pytest.approx(smoothed, rel=1e-5)
    assert float(model.eval()(source, mask, labels=labels).loss) == pytest.approx(nll, rel=1e-5)


def test_targets_are_shifted_to_the_right():
    shifted = shift_right(np.array([[5, 6, -100, 2]]), small_config(pad_token_id=0))
    np.testing.assert_array_equal(shifted, [[1, 5, 6, 0]])


def test_one_matrix_serves_three_times():
    assert len([name for name in small_model().state_dict() if "embed" in name
                or "shared" in name or "lm_head" in name]) == 1


# ---- files


@pytest.mark.parametrize("changes", [
    {}, dict(normalize_before=True), dict(share_encoder_decoder_embeddings=False),
    dict(tie_word_embeddings=False), dict(add_final_layer_norm=True, decoder_vocab_size=11,
                                          share_encoder_decoder_embeddings=False)], ids=str)
def test_saving_and_loading(changes, tmp_path):
    model = TransformerForConditionalGeneration(small_config(**changes), seed=3).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert again.config == model.config
    source, mask, target = draw(8)
    target %= model.config.decoder_vocab_size
    with no_grad():
        np.testing.assert_array_equal(again(source, mask, target).logits,
                                      model(source, mask, target).logits)
        stored = again.quantize("int8")(source, mask, target).logits
    assert 0 < np.abs(stored - model(source, mask, target).logits).max() < 1


def test_resizing_keeps_one_matrix():
    model = TransformerForConditionalGeneration(small_config(), seed=3).eval()
    model.resize_token_embeddings(16)
    assert model.config.vocab_size == model.config.decoder_vocab_size == 16
    assert model([[15, 3]], decoder_input_ids=[[1, 15]]).logits.shape == (1, 2, 16)
    assert len([name for name in model.state_dict() if "layers" not in name]) == 1
    with pytest.raises(ValueError, match="separate vocabularies"):
        TransformerForConditionalGeneration(small_config(
            share_encoder_decoder_embeddings=False)).resize_token_embeddings(16)


@pytest.mark.parametrize("match, changes", [
    ("decoder_attention_heads is 4, wanted a divisor", dict(decoder_attention_heads=4)),
    ("activation_function is 'cosine'", dict(activation_function="cosine")),
    ("decoder_vocab_size is 12, wanted vocab_size = 13", dict(decoder_vocab_size=12)),
    ("label_smoothing is 1", dict(label_smoothing=1)),
    ("pad_token_id is 13, wanted an id from 0 to 12", dict(pad_token_id=13)),
])
def test_bad_configurations_are_named(match, changes):
    with pytest.raises(ValueError, match=match):
        small_config(**changes)


@pytest.mark.parametrize("match, inputs", [
    ("decoder_input_ids and decoder_inputs_embeds: neither given", dict(input_ids=[[3]])),
    ("^input_ids and inputs_embeds: neither", dict(decoder_input_ids=[[3]])),
    ("decoder_input_ids contains 13", dict(input_ids=[[3]], decoder_input_ids=[[13]])),
    ("decoder_input_ids reaches 13 tokens", dict(input_ids=[[3]], decoder_input_ids=[[3] * 13])),
    ("decoder_attention_mask has shape", dict(input_ids=[[3]], decoder_input_ids=[[3]],
                                              decoder_attention_mask=[[1, 1]])),
    ("labels has shape", dict(input_ids=[[3]], decoder_input_ids=[[3]], labels=[[3, 4]])),
    ("labels has shape", dict(input_ids=[[3]], labels=[3, 4])),
])
def test_bad_inputs_are_named(match, inputs):
    with pytest.raises(ValueError, match=match):
        small_model()(**inputs)


# ---- training


def test_it_learns_to_reverse_with_the_schedule_of_the_paper():
    V, T, rng = 12, 6, np.random.default_rng(0)
    model = TransformerForConditionalGeneration(TransformerConfig.from_sizes(
        vocab_size=V, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=16, dropout=0.0), seed=0)
    optimizer = Adam(model.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9)

    def batch(B):
        source = rng.integers(3, V, (B, T))
        return source, np.concatenate([source[:, ::-1], np.full((B, 1), 2)], axis=1)

    for step in range(400):
        source, labels = batch(32)
        model(source, labels=labels).loss.backward()
        optimizer.lr = inverse_square_root(step, d_model=32, warmup_steps=100)
        optimizer.step()
        model.zero_grad()
    source, labels = batch(50)
    output = model.generate(source, max_new_tokens=T + 1)
    assert (output[:, 1:] == labels).all(axis=1).mean() > 0.9
