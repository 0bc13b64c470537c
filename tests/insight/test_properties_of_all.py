"""What holds for random models of every pre-norm architecture, encoder-decoders among them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minillm
from minillm.insight import attention, attribution, contributions, lens, patching
from minillm.insight.anatomy import Anatomy, stacks_of
from minillm.insight.target import Logit
from minillm.models.family import FEED_FORWARDS, NORMS, FamilyConfig, FamilyForCausalLM
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax

V = 13
ids = st.lists(st.integers(0, V - 1), min_size=2, max_size=7).map(np.array)


def shaken(model, seed):
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data += 0.2 * rng.standard_normal(parameter.shape, dtype=np.float32)
    return model.eval()


@st.composite
def pre_norm_models(draw):
    """A model of any pre-norm architecture that decodes, with weights that are no initial ones"""
    layers, heads, D = (draw(st.sampled_from(choices)) for choices in ([1, 2, 3], [2, 4], [2, 4]))
    kind = draw(st.sampled_from(["gpt2", "Llama", "Mistral", "Qwen2", "family", "transformer"]))
    positions = draw(st.sampled_from(["learned", "sinusoidal", "rotary", "alibi", "t5", "none"]))
    sizes = {"vocab_size": V, "hidden_size": heads * D, "num_hidden_layers": layers,
             "num_attention_heads": heads, "intermediate_size": 6, "max_position_embeddings": 8}
    n_kv = draw(st.sampled_from([heads, heads // 2, 1]))
    tied, seed = draw(st.booleans()), draw(st.integers(0, 2**31))
    if kind == "gpt2":
        model = minillm.GPT2LMHeadModel(minillm.GPT2Config(
            vocab_size=V, n_embd=heads * D, n_layer=layers, n_head=heads, n_positions=8,
            tie_word_embeddings=tied, position_embedding=positions))
    elif kind == "family":
        model = FamilyForCausalLM(FamilyConfig(
            **sizes, num_key_value_heads=n_kv, norm_placement="pre", tie_word_embeddings=tied,
            norm=draw(st.sampled_from(list(NORMS))), bias=draw(st.booleans()),
            feed_forward=draw(st.sampled_from(list(FEED_FORWARDS))),
            activation_function=draw(st.sampled_from(["relu", "gelu_new", "silu"])),
            position_embedding=positions))
    elif kind == "transformer":
        model = minillm.TransformerForConditionalGeneration(minillm.TransformerConfig(
            vocab_size=V, d_model=heads * D, encoder_layers=1, decoder_layers=layers,
            encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=6,
            decoder_ffn_dim=6, normalize_before=True, tie_word_embeddings=tied,
            add_final_layer_norm=draw(st.sampled_from([None, False])), max_position_embeddings=8))
    else:
        config = getattr(minillm, f"{kind}Config")(**sizes, num_key_value_heads=n_kv,
                                                   tie_word_embeddings=tied)
        model = getattr(minillm, f"{kind}ForCausalLM")(config)
    return shaken(model, seed)


def inputs_of(model, text):
    """The text, and for an encoder-decoder a source"""
    found = {"input_ids": text[None]}
    if len(stacks_of(model)) > 1:
        found |= {"input_ids": text[None, ::-1].copy(), "decoder_input_ids": text[None]}
    return found


@given(pre_norm_models(), ids, st.integers(0, V - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_contributions_add_up_to_the_logit(model, text, token, between):
    inputs, other = inputs_of(model, text), (token + 1) % V if between else None
    with no_grad():
        logits = model(**inputs).logits[0].astype(np.float64)
    for position in (0, len(text) - 1):
        shares = contributions.logit_contributions(model, inputs, token, other, position)
        want = logits[position, token] - (logits[position, other] if between else 0)
        assert sum(shares.values()) == pytest.approx(want, abs=1e-4)


@given(pre_norm_models(), ids)
@settings(max_examples=15, deadline=None)
def test_the_last_row_of_the_lens_is_what_the_model_says(model, text):
    inputs = inputs_of(model, text)
    found = lens.logit_lens(model, k=V, **inputs)
    with no_grad():
        P = softmax(model(**inputs).logits.astype(np.float64))[0]
    np.testing.assert_allclose(np.take_along_axis(P, found.ids[-1], axis=-1),
                               found.probabilities[-1], atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=-1), 1, atol=1e-5)
    assert len(found.ids) == len(Anatomy(model).stream_labels)


@given(pre_norm_models(), ids, st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_patching_everything_is_the_clean_run_and_nothing_the_corrupt_one(model, text, seed):
    clean = inputs_of(model, text)
    corrupt = inputs_of(model, np.random.default_rng(seed).permutation(text))
    with no_grad():
        logits = [model(**inputs).logits for inputs in (clean, corrupt)]
    names = [name for stack in stacks_of(model) for kind in patching.KINDS
             for name in patching.sites(model, kind, stack)]
    _, values = patching.record(model, clean, Logit(1), names)
    everything = [patching.Patch(name, value) for name, value in values.items()]

    def run(patches):
        return patching.run_patched(model, corrupt, patches)

    np.testing.assert_allclose(run(everything), logits[0], atol=1e-4)
    np.testing.assert_allclose(run([]), logits[1], atol=1e-5)
    own = patching.record(model, corrupt, Logit(1), names)[1]
    same = [patching.Patch(name, value) for name, value in own.items()]
    np.testing.assert_allclose(run(same), logits[1], atol=1e-4)


@given(pre_norm_models(), ids)
@settings(max_examples=5, deadline=None)
def test_integrated_gradients_are_complete(model, text):
    model, inputs, target = model.astype(np.float64), inputs_of(model, text), Logit(3, 5)
    e, e0 = attribution.embeddings(model, inputs), attribution.baseline(model, inputs)
    with no_grad():
        whole, none = (target.value(attribution.from_embeddings(model, inputs, np.array(x)))[0]
                       for x in (e, e0))
    shares = attribution.integrated_gradients(model, inputs, target, steps=200, batch_size=200)
    assert shares.sum() == pytest.approx(whole - none, abs=0.02 * (1 + abs(whole - none)))


weights = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))


@given(weights)
@settings(max_examples=25, deadline=None)
def test_rollout_of_an_encoder_decoder_is_a_distribution_over_all_it_reads(sizes):
    layers, S, T, seed = sizes
    rng = np.random.default_rng(seed)

    def drawn(rows, columns):
        return [rng.dirichlet(np.full(columns, 0.4), size=(1, 2, rows)) for _ in range(layers)]

    found = attention.rollout_across(drawn(S, S), drawn(T, T), drawn(T, S))
    assert len(found) == layers
    for R in found:
        assert R.shape == (1, T, S + T) and (R >= 0).all()
        np.testing.assert_allclose(R.sum(axis=-1), 1)
        assert (R[..., :S].sum(axis=-1) >= 0.5 - 1e-9).all()  # half is the last cross-attention's


def test_cross_attention_weights():
    model = shaken(minillm.TransformerForConditionalGeneration(minillm.TransformerConfig(
        vocab_size=V, d_model=8, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=6, decoder_ffn_dim=6)), 0)
    inputs = {"input_ids": np.array([[1, 2, 3]]), "decoder_input_ids": np.array([[4, 5]])}
    W = attention.cross_attention_weights(model, **inputs)
    assert [w.shape for w in W] == [(1, 2, 2, 3)] * 2
    np.testing.assert_allclose(W[0].sum(axis=-1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="wanted one with cross-attention$"):
        attention.cross_attention_weights(minillm.GPT2LMHeadModel(minillm.GPT2Config(
            vocab_size=V, n_embd=4, n_layer=1, n_head=1)), input_ids=np.array([[1]]))
