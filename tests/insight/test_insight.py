"""Anatomy, attention, lens, contributions, importance: properties for every architecture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minillm
from minillm.insight import attention, contributions, importance, lens
from minillm.insight.anatomy import Anatomy, stacks_of
from minillm.nn import DecoderBlock
from minillm.nn.module import no_grad

IDS = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
LLAMA = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 12, "max_position_embeddings": 16}


def gpt2(**changes):
    config = minillm.GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=16)
    return shaken(minillm.GPT2LMHeadModel(config.replace(**changes)))


def llama(name="Llama", **changes):
    config = getattr(minillm, f"{name}Config")(**{**LLAMA, **changes})
    return shaken(getattr(minillm, f"{name}ForCausalLM")(config))


def bert():
    config = minillm.BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=2,
                                num_attention_heads=2, intermediate_size=12,
                                max_position_embeddings=16)
    return shaken(minillm.BertForMaskedLM(config))


def transformer():
    config = minillm.TransformerConfig(vocab_size=11, d_model=8, encoder_layers=1, decoder_layers=2,
                                       encoder_attention_heads=2, decoder_attention_heads=2,
                                       encoder_ffn_dim=12, decoder_ffn_dim=12)
    return shaken(minillm.TransformerForConditionalGeneration(config))


def shaken(model):
    """Biases and gains that aren't 0 and 1, in eval mode."""
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data += 0.3 * rng.standard_normal(parameter.shape, dtype=np.float32)
    return model.eval()


class ParallelBlock(DecoderBlock):
    """y = x + attention(norm1(x)) + feed_forward(norm2(x)), as in GPT-J: an architecture of one's own"""

    def forward(self, x, **options):
        attended = self.attention(self.norm1(x), **options)
        return x + attended + self.feed_forward(self.norm2(x))


def parallel():
    model = gpt2()
    for block in model.transformer.h:
        block.__class__ = ParallelBlock
    return model


DECODERS = {"gpt2": gpt2, "untied": lambda: gpt2(tie_word_embeddings=False), "llama": llama,
            "alibi": lambda: gpt2(position_embedding="alibi"),
            "mistral": lambda: llama("Mistral", sliding_window=3),
            "qwen2": lambda: llama("Qwen2"),
            "apertus": lambda: llama("Apertus", pad_token_id=None)}


@pytest.mark.parametrize("make", [*DECODERS.values(), bert])
def test_names_are_those_of_a_trace(make):
    from minillm.nn.trace import trace

    model = make()
    anatomy = Anatomy(model)
    with trace(model) as t, no_grad():
        model(IDS)
    for block in anatomy.blocks:
        for name in (block.attention, block.weights, block.heads, block.feed_forward,
                     block.residual, block.residual_between):
            assert name in t
        assert t[block.heads].shape == (2, block.n_heads, 6, block.head_dim)
    assert len(list(anatomy.heads())) == sum(block.n_heads for block in anatomy.blocks)


def test_an_encoder_decoder_has_two_stacks():
    model = transformer()
    encoder, decoder = stacks_of(model)
    assert (len(Anatomy(model, encoder)), len(Anatomy(model))) == (1, 2)
    assert Anatomy(model).stack == decoder
    W = attention.attention_weights(model, IDS, decoder_input_ids=IDS[:, :4])
    assert [w.shape for w in W] == [(2, 2, 4, 4)] * 2
    with pytest.raises(ValueError, match="^stack is 'x', wanted one of "):
        Anatomy(model, "x")
    with pytest.raises(ValueError, match="which has no blocks$"):
        Anatomy(minillm.nn.LayerNorm(3))


# ---- attention


weights = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).dirichlet(
    np.full(5, 0.3), size=(3, 2, 2, 5)))  # (L, B, H, T, T)


@given(weights)
@settings(max_examples=25, deadline=None)
def test_rollout_rows_are_distributions(W):
    for matrix in attention.rollout(list(W)):
        np.testing.assert_allclose(matrix.sum(axis=-1), 1)
        assert (matrix >= 0).all()


def test_rollout_of_heads_that_look_at_themselves_is_the_identity():
    W = np.broadcast_to(np.eye(4), (3, 1, 2, 4, 4))
    np.testing.assert_allclose(attention.rollout(list(W))[-1][0], np.eye(4))


@given(weights, st.integers(0, 4))
@settings(max_examples=8, deadline=None)
def test_flow_is_at_least_the_rollout_and_at_most_the_narrowest_cut(W, position):
    one = [layer[0] for layer in W]
    found = attention.flow(one, position)
    assert (found >= attention.rollout([w[None] for w in one])[-1][0, position] - 1e-9).all()
    assert (found <= 1 + 1e-9).all()  # what flows into the position from the layer below
    into = attention.with_residual(one[0]).sum(axis=0)
    assert (found <= into + 1e-9).all()


def test_flow_through_one_layer_is_the_weight():
    W = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 4))
    np.testing.assert_allclose(attention.flow([W], 2), attention.with_residual(W)[2])


def test_flow_takes_back_what_blocks_it():
    """A diamond in which the shortest path must be undone: position 0 of two layers."""
    A = [np.array([[0.0, 1.0], [1.0, 0.0]])[None]] * 2  # no head keeps; only the residual does
    np.testing.assert_allclose(attention.flow(A, 0), [1.0, 1.0])


def test_summaries_of_heads_that_are_what_they_are():
    T = 6
    previous, first = np.eye(T, k=-1), np.zeros((T, T))
    previous[0, 0], first[:, 0] = 1, 1
    uniform = np.tril(np.ones((T, T))) / np.arange(1, T + 1)[:, None]
    found = attention.summarize_heads([np.stack([previous, first, uniform])[None]])
    assert found[0, 0].previous == found[0, 1].first == 1
    assert found[0, 0].entropy == 0 and found[0, 2].entropy == pytest.approx(1)
    ids = attention.repeated_tokens(50, period=3)
    assert ids.shape == (4, 6) and (ids[:, :3] == ids[:, 3:]).all()
    induction = np.eye(T, k=-2)  # period 3: from each token to the one after its last occurrence
    found = attention.summarize_heads([induction[None, None]], period=3)
    assert found[0, 0].induction == 1


def test_weights_of_a_real_model_and_its_pictures():
    W = attention.attention_weights(gpt2(), IDS)
    assert len(W) == 2 and W[0].shape == (2, 2, 6, 6)
    np.testing.assert_allclose(W[0].sum(axis=-1), 1, rtol=1e-5)
    assert len(attention.plot_attention([w[0] for w in W], list("abcdef")).axes) == 4
    assert attention.plot_rollout(attention.rollout(W)[-1][0], list("abcdef")).axes


# ---- the lens


@pytest.mark.parametrize("make", [*DECODERS.values(), bert])
def test_the_last_row_of_the_lens_is_the_model(make):
    model = make()
    found = lens.logit_lens(model, IDS, k=3)
    with no_grad():
        logits = model(IDS).logits
    P = np.exp(logits - logits.max(axis=-1, keepdims=True))
    P /= P.sum(axis=-1, keepdims=True)
    np.testing.assert_array_equal(found.ids[-1, ..., 0], logits.argmax(axis=-1))
    np.testing.assert_allclose(found.of_final[-1], P.max(axis=-1), rtol=1e-4)
    np.testing.assert_allclose(found.probabilities[-1], np.sort(P)[..., :-4:-1], rtol=1e-4)
    np.testing.assert_allclose(found.entropy[-1], -(P * np.log(P)).sum(axis=-1), rtol=1e-4)
    assert len(found.ids) == (2 if make is bert else 3)
    assert lens.plot_lens(found, list("abcdef"), lambda ids: str(ids[0])).axes


@given(st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_ranks_and_divergence(seed):
    rng = np.random.default_rng(seed)
    logits, final = rng.normal(size=(2, 3, 4, 7))
    order = np.argsort(-logits, axis=-1)
    np.testing.assert_array_equal(lens.ranks(logits, order), np.broadcast_to(range(7), (3, 4, 7)))
    assert (lens.divergence(logits, final) > 0).all()
    np.testing.assert_allclose(lens.divergence(final, final + 5), 0, atol=1e-12)
    p, q = (np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True) for x in (final, logits))
    np.testing.assert_allclose(lens.divergence(logits, final), (p * np.log(p / q)).sum(axis=-1))


def test_the_first_row_reads_the_embeddings():
    model = gpt2()
    found = lens.logit_lens(model, IDS)
    base = model.base_model
    x = base.wte.weight.data[IDS] + base.wpe.weight.data[np.arange(6)]
    with no_grad():
        want = model.unembed(x).argmax(axis=-1)
    np.testing.assert_array_equal(found.ids[0, ..., 0], want)
    with pytest.raises(ValueError, match="wanted one with an output head"):
        lens.logit_lens(base, IDS)


# ---- contributions


@pytest.mark.parametrize("make", DECODERS.values())
@pytest.mark.parametrize("position", [-1, 2])
def test_the_shares_add_up_to_the_logit(make, position):
    model = make()
    with no_grad():
        logits = model(IDS[:1]).logits[0, position]
    shares = contributions.logit_contributions(model, IDS[0], 7, position=position)
    assert sum(shares.values()) == pytest.approx(logits[7], abs=1e-4)
    between = contributions.logit_contributions(model, IDS[0], 7, 2, position=position)
    assert sum(between.values()) == pytest.approx(logits[7] - logits[2], abs=1e-4)
    n_heads = sum(block.n_heads for block in Anatomy(model).blocks)
    assert sum(".head" in name for name in shares) == n_heads
    assert contributions.plot_contributions(shares, most=4).axes


def test_a_head_without_output_has_no_share():
    model = gpt2()
    output = model.base_model.h[1].attention.output
    output.weight.data[:4] = 0  # the rows of head 0, whose head_dim is 4
    shares = contributions.logit_contributions(model, IDS[0], 7)
    assert shares["1.head 0"] == 0 != shares["1.head 1"]


def test_a_post_norm_model_is_no_sum():
    with pytest.raises(ValueError, match="in a post-norm one the residual stream isn't a sum$"):
        contributions.logit_contributions(bert(), IDS[0], 7)


# ---- importance


@pytest.mark.parametrize("make", [gpt2, llama])
def test_importance_of_heads(make):
    model = make()

    def loss():
        return model(IDS, labels=IDS).loss

    by_gradient = importance.importance_by_gradient(model, loss)
    by_ablation = importance.importance_by_ablation(model, loss)
    H = Anatomy(model).blocks[0].n_heads
    assert by_gradient.shape == by_ablation.shape == (2, H) and (by_gradient >= 0).all()
    # Scaling a head by 1 - ε changes the loss as the gradient says.
    block = Anatomy(model).blocks[0]
    slope = importance.importance_by_ablation(model.astype(np.float64), loss,
                                              kind=lambda x: x * (1 - 1e-4))
    signed = _signed(model, loss, block)
    np.testing.assert_allclose(slope[0] / 1e-4, -signed, rtol=1e-2, atol=1e-4)
    assert importance.plot_importance(by_gradient, by_ablation).axes


def _signed(model, loss, block):
    from minillm.nn.trace import trace

    with trace(model, block.heads) as t:
        loss().backward()
    return (t[block.heads] * t.grad[block.heads]).sum(axis=(0, 2, 3))


def test_sublayers_side_by_side_are_a_sum_too():
    model = parallel()
    logits = model(IDS[:1]).logits[0, -1]
    shares = contributions.logit_contributions(model, IDS[0], 3)
    assert sum(shares.values()) == pytest.approx(logits[3], rel=1e-4)
    first = model.transformer.wte(IDS[:1]) + model.transformer.wpe(np.arange(6)[None])
    best = model.unembed(first).argmax(axis=-1)
    np.testing.assert_array_equal(lens.logit_lens(model, IDS[:1]).ids[0, ..., 0], best)
