"""`generate` on unknown models: everything goes through prefill and step."""

from types import SimpleNamespace

import numpy as np
import pytest

from minillm.generation import GenerationConfig, GenerationMixin

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class Adapter(GenerationMixin):
    """A model of transformers behind minillm's protocol, without any cache."""

    def __init__(self, theirs):
        self.theirs = theirs
        self.config = theirs.config
        self.max_positions = 40
        self.generation_config = GenerationConfig.from_dict(theirs.generation_config.to_dict())

    def prefill(self, input_ids=None, attention_mask=None, max_length=None, **inputs):
        state = State(input_ids, attention_mask, inputs.get("decoder_input_ids"))
        return self._logits(state), state

    def step(self, tokens, state):
        name = "ids" if state.decoder_ids is None else "decoder_ids"
        grown = np.concatenate([getattr(state, name), tokens[:, None]], axis=1)
        setattr(state, name, grown)
        return self._logits(state)

    def _logits(self, state):
        arguments = {"input_ids": torch.tensor(state.ids)}
        mask = state.mask
        if mask is not None:
            missing = state.ids.shape[1] - mask.shape[1]
            mask = np.pad(mask, ((0, 0), (0, missing)), constant_values=True)
            arguments["attention_mask"] = torch.tensor(mask.astype(int))
        if state.decoder_ids is not None:
            arguments["decoder_input_ids"] = torch.tensor(state.decoder_ids)
        elif mask is not None:
            arguments["position_ids"] = torch.tensor(np.maximum(mask.cumsum(axis=1) - 1, 0))
        with torch.no_grad():
            return self.theirs(**arguments).logits[:, -1].numpy()


class State(SimpleNamespace):
    def __init__(self, ids, mask, decoder_ids):
        super().__init__(ids=ids, mask=mask, decoder_ids=decoder_ids)

    def select(self, rows):
        for name, array in vars(self).items():
            if array is not None:
                setattr(self, name, array[rows])


@pytest.fixture(scope="module")
def bart():
    torch.manual_seed(3)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    config = transformers.BartConfig(
        vocab_size=60, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, init_std=0.8,
        max_position_embeddings=40, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2, forced_eos_token_id=None)
    return transformers.BartForConditionalGeneration(config).eval()


def encoder_inputs(seed, B=3, S=7):
    rng = np.random.default_rng(seed)
    ids, mask = rng.integers(4, 60, (B, S)), np.ones((B, S), np.int64)
    for row in range(1, B):  # padding on the right, as for encoders
        ids[row, S - row :], mask[row, S - row :] = 1, 0
    return ids, mask


OPTIONS = {
    "greedy": dict(max_new_tokens=9),
    "greedy from some tokens": dict(max_length=10, decoder_input_ids=[[2, 5], [2, 6], [2, 7]]),
    "tokens without the start": dict(max_length=10, decoder_input_ids=[[5], [6], [7]]),
    "a start for each": dict(max_length=9, decoder_start_token_id=[4, 5, 6]),
    "forced ends": dict(max_length=9, forced_bos_token_id=11, forced_eos_token_id=2),
    "begin": dict(max_length=9, forced_bos_token_id=11, begin_suppress_tokens=[11, 14, 20]),
    "of the encoder": dict(max_length=12, encoder_no_repeat_ngram_size=1,
                           encoder_repetition_penalty=2.5, no_repeat_ngram_size=2),
    "repetition": dict(max_length=12, repetition_penalty=1.5),
    "beams": dict(max_length=14, num_beams=4, num_return_sequences=3, eos_token_id=[2, 7, 9]),
    "beams and all": dict(max_length=12, num_beams=3, no_repeat_ngram_size=2, min_length=5,
                          encoder_no_repeat_ngram_size=3, forced_bos_token_id=8,
                          forced_eos_token_id=2, length_penalty=2.0, early_stopping=True),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OPTIONS)
def test_an_encoder_decoder_as_in_transformers(bart, name, seed):
    ids, mask = encoder_inputs(seed)
    options = OPTIONS[name]
    theirs = {key: torch.tensor(value) if key == "decoder_input_ids" else value
              for key, value in options.items()}
    expected = bart.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), **theirs,
                             do_sample=False)
    output = Adapter(bart).generate(ids, attention_mask=mask, **options)
    np.testing.assert_array_equal(output, expected.numpy())


@pytest.mark.parametrize("match, options", [
    ("reads either input_ids or inputs_embeds", dict(inputs=None)),
    ("decoder_start_token_id has 2 ids, wanted one, or 3", dict(decoder_start_token_id=[1, 2])),
    ("decoder_input_ids has 2 rows, wanted 3", dict(decoder_input_ids=[[2], [2]])),
    ("decoder_start_token_id is 60", dict(decoder_start_token_id=60)),
])
def test_bad_inputs_of_an_encoder_decoder_are_named(bart, match, options):
    options = {"inputs": encoder_inputs(0)[0], **options}
    with pytest.raises(ValueError, match=match):
        Adapter(bart).generate(**options)


def test_decoder_inputs_are_for_encoder_decoders(gpt2):
    with pytest.raises(ValueError, match="decoder_input_ids is for encoder-decoder models"):
        Adapter(gpt2).generate([[1]], decoder_input_ids=[[1]])


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(7)
    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(vocab_size=60, n_positions=40, n_embd=32, n_layer=2, n_head=2,
                                     initializer_range=0.3, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config).eval()


def drawn_options(seed):
    """Options of all kinds together, drawn at random"""
    rng = np.random.default_rng(seed)
    options = {"do_sample": False, "max_new_tokens": int(rng.integers(3, 14)), "pad_token_id": 1}
    some = {
        "num_beams": int(rng.integers(2, 5)), "repetition_penalty": float(rng.uniform(0.8, 1.6)),
        "no_repeat_ngram_size": int(rng.integers(1, 4)), "min_new_tokens": int(rng.integers(1, 6)),
        "encoder_repetition_penalty": float(rng.uniform(0.8, 1.6)),
        "bad_words_ids": rng.integers(0, 60, (20, 1)).tolist(),
        "sequence_bias": [[ids.tolist(), float(rng.normal(0, 3))]
                          for ids in np.split(rng.permutation(60)[:24], 12)],
        "suppress_tokens": rng.integers(0, 60, 20).tolist(),
        "begin_suppress_tokens": rng.integers(0, 60, 30).tolist(),
        "forced_eos_token_id": int(rng.integers(60)), "renormalize_logits": True,
        "exponential_decay_length_penalty": (int(rng.integers(0, 6)), float(rng.uniform(1, 1.5))),
        "eos_token_id": rng.integers(2, 60, 6).tolist(), "remove_invalid_values": True,
    }
    for name in rng.permutation(list(some))[: rng.integers(1, 7)]:
        options[str(name)] = some[name]
    return options


@pytest.mark.parametrize("seed", range(40))
def test_any_options_together_as_in_transformers(gpt2, seed):
    options = drawn_options(seed)
    ids = np.random.default_rng(seed).integers(2, 60, (2, 6))
    mask = np.ones((2, 6), np.int64)
    ids[1, :2], mask[1, :2] = 1, 0
    expected = gpt2.generate(torch.tensor(ids), attention_mask=torch.tensor(mask),
                             return_dict_in_generate=True, output_scores=True, output_logits=True,
                             **options)
    output = Adapter(gpt2).generate(ids, attention_mask=mask, return_dict_in_generate=True,
                                    output_scores=True, output_logits=True, **options)
    np.testing.assert_array_equal(output.sequences, expected.sequences.numpy())
    for name in ("scores", "logits"):
        ours, theirs = output[name], [array.numpy() for array in expected[name]]
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    if "num_beams" in options:
        np.testing.assert_allclose(output.sequences_scores, expected.sequences_scores, rtol=1e-4)
        np.testing.assert_array_equal(output.beam_indices, expected.beam_indices)
