"""Speculative decoding: the acceptance rule, and the same text as plain decoding."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    MistralConfig,
    MistralForCausalLM,
)
from minillm.generation import GenerationConfig, GenerationMixin, stream
from minillm.generation.drafts import PromptLookup
from minillm.generation.speculative import acceptance, residual, verified
from minillm.models.llama import LlamaForCausalLM
from minillm.models.marian import MarianMTModel

FIXTURES = Path(__file__).parents[1] / "fixtures"
TINY = FIXTURES / "gpt2_tiny"
FROZEN = json.loads((TINY / "speculative.json").read_text())

# ---- the acceptance rule


@st.composite
def distributions(draw, V):
    """Any p over V tokens, zeros and all"""
    weights = draw(st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e3)), min_size=V, max_size=V)
                   .filter(any))
    return np.array(weights) / np.sum(weights)


@given(st.integers(1, 6).flatmap(lambda V: st.tuples(distributions(V), distributions(V))))
def test_the_mixture_of_accepted_and_redrawn_tokens_is_p(pair):
    p, q = pair
    accept = acceptance(p, q)
    rejected = (q * (1 - accept)).sum()
    np.testing.assert_allclose(q * accept + rejected * residual(p, q), p, rtol=0, atol=1e-12)
    # A token that can be rejected can't be drawn again, so "another token" means "rejected".
    assert not residual(p, q)[accept < 1].any() or np.allclose(p, q)


def chi_square(counted, expected):
    """-> the statistic, and a bound that it exceeds with a probability of about 1e-5"""
    possible = expected > 0
    assert not counted[~possible].any()
    value = ((counted - expected)[possible] ** 2 / expected[possible]).sum()
    n = possible.sum() - 1
    return value, n + 4.3 * np.sqrt(2 * n) + 10


def test_verified_tokens_are_distributed_as_p():
    rng = np.random.default_rng(0)
    p, q = np.array([0.5, 0.0, 0.2, 0.3]), np.array([0.1, 0.3, 0.6, 0.0])
    drawn = rng.choice(4, 6000, p=q)
    counted = np.bincount([verified(x, p, q, rng) for x in drawn], minlength=4)
    value, bound = chi_square(counted, 6000 * p)
    assert value < bound


# ---- sampling: the distribution of short texts, against exact enumeration


class Bigrams(GenerationMixin):
    """A language model of one table: the scores of the next token, given the last one."""

    max_positions = None

    def __init__(self, seed, V=3, scale=1.0):
        self.table = np.random.default_rng(seed).normal(0, scale, (V, V)).astype(np.float32)
        self.config = SimpleNamespace(vocab_size=V)
        self.generation_config = GenerationConfig()

    def prefill(self, input_ids, attention_mask=None, max_length=None):
        self.n_forwards = 1
        return self.table[input_ids[:, -1]], Count(input_ids.shape[1])

    def step(self, tokens, state):
        return self.extend(tokens[:, None], state)[:, 0]

    def extend(self, tokens, state):
        self.n_forwards += 1
        state.length += tokens.shape[1]
        return self.table[tokens]


class Count:
    def __init__(self, length):
        self.length = length

    def crop(self, length):
        self.length = min(self.length, length)


def exact(model, prompt, n, options):
    """-> {text: probability} of all texts of n new tokens, by running through all of them"""
    texts = {(): 1.0}
    for _ in range(n):
        texts = {(*text, token): mass * p
                 for text, mass in texts.items()
                 for token, p in enumerate(next_probabilities(model, prompt, text, options))}
    return texts


def next_probabilities(model, prompt, text, options):
    scores = model.generate([[*prompt, *text]], max_new_tokens=1, return_dict_in_generate=True,
                            output_scores=True, seed=0, **options).scores[0][0]
    p = np.exp(scores.astype(np.float64) - scores.max())
    return p / p.sum()


SAMPLING = {
    "plain": {"top_k": 0},
    "warped": {"temperature": 0.7, "top_k": 2, "repetition_penalty": 1.2},
    "depending on the text": {"top_k": 0, "repetition_penalty": 1.7, "no_repeat_ngram_size": 3},
}
DRAFTS = {
    "lookup": {"prompt_lookup_num_tokens": 3},
    "model": {"assistant_model": Bigrams(8), "assistant_confidence_threshold": 0.0},
    "model with threshold": {"assistant_model": Bigrams(8), "num_assistant_tokens": 2,
                             "num_assistant_tokens_schedule": "heuristic"},
    "bad model": {"assistant_model": Bigrams(9, scale=4.0), "num_assistant_tokens": 3},
}


@pytest.mark.parametrize("options", SAMPLING.values(), ids=SAMPLING)
@pytest.mark.parametrize("drafts", DRAFTS.values(), ids=DRAFTS)
def test_sampled_texts_have_exactly_the_model_s_distribution(options, drafts):
    model, prompt, n, draws = Bigrams(7), [0, 1, 2, 0, 1], 3, 600
    options = {"do_sample": True, **options}
    texts = exact(model, prompt, n, options)
    generator = np.random.default_rng(5)
    counted = dict.fromkeys(texts, 0)
    for _ in range(draws):
        output = model.generate([prompt], max_new_tokens=n, generator=generator, **options,
                                **drafts)
        counted[tuple(output[0, len(prompt) :])] += 1
    expected = draws * np.array(list(texts.values()))
    counted = np.array(list(counted.values()))
    rare = expected < 4  # classes too small for the approximation by chi-square: one together
    counted = np.append(counted[~rare], counted[rare].sum())
    value, bound = chi_square(counted, np.append(expected[~rare], expected[rare].sum()))
    assert value < bound


def test_the_test_of_distributions_would_notice_a_wrong_rule():
    p, q = np.array([0.5, 0.2, 0.3]), np.array([0.3, 0.4, 0.3])
    rng = np.random.default_rng(0)
    drawn = rng.choice(3, 1500, p=q)
    wrong = [x if rng.random() < acceptance(p, q)[x] else rng.choice(3, p=p) for x in drawn]
    value, bound = chi_square(np.bincount(wrong, minlength=3), 1500 * p)
    assert value > bound


@pytest.mark.parametrize("seed", range(5))
def test_with_prompt_lookup_the_seed_gives_the_same_sample(seed):
    prompt, options = [[0, 1, 2, 0, 1]], dict(max_new_tokens=40, do_sample=True, seed=seed)
    plain = Bigrams(seed).generate(prompt, **options)
    np.testing.assert_array_equal(
        Bigrams(seed).generate(prompt, prompt_lookup_num_tokens=4, **options), plain)


# ---- greedy: the same tokens


def mistral(seed, **changes):
    shape = dict(vocab_size=60, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, sliding_window=5,
                 max_position_embeddings=80, initializer_range=0.4, bos_token_id=0, eos_token_id=0)
    return MistralForCausalLM(MistralConfig(**shape | changes), seed=seed).eval()


def gpt2(seed, **changes):
    shape = dict(vocab_size=60, n_positions=80, n_embd=24, n_layer=2, n_head=2,
                 initializer_range=0.3, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(GPT2Config(**shape | changes), seed=seed).eval()


MODELS = {
    "learned positions": gpt2(1),
    "ALiBi": gpt2(1, position_embedding="alibi"),
    "rotary, groups, window": mistral(1),
}
ASSISTANTS = {"itself": None, "another": gpt2(2), "short": gpt2(1, n_positions=30)}


def greedy_options(seed):
    """Options of all kinds together, drawn at random, and a prompt that repeats itself"""
    rng = np.random.default_rng(seed)
    some = {
        "repetition_penalty": float(rng.uniform(0.7, 1.4)), "min_new_tokens": 9,
        "no_repeat_ngram_size": int(rng.integers(2, 4)), "forced_eos_token_id": 3,
        "encoder_repetition_penalty": 1.2, "suppress_tokens": rng.integers(0, 60, 20).tolist(),
        "sequence_bias": [[[1, 2], 3.0], [[5], -4.0]], "bad_words_ids": [[4], [7, 9]],
        "exponential_decay_length_penalty": [4, 1.2], "renormalize_logits": True,
        "eos_token_id": rng.integers(2, 60, 3).tolist(),
    }
    options = {str(name): some[name] for name in rng.permutation(list(some))[: rng.integers(0, 6)]}
    phrase = rng.integers(2, 60, 6)
    return np.tile(phrase, 3)[None], {"max_new_tokens": 30, "do_sample": False, **options}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_greedy_tokens_are_those_of_plain_decoding(model, seed):
    ids, options = greedy_options(seed)
    recorded = dict(return_dict_in_generate=True, output_scores=True)
    plain = model.generate(ids, **recorded, **options)
    for drafts in ({"prompt_lookup_num_tokens": 5, "max_matching_ngram_size": 1 + seed % 3},
                   *({"assistant_model": other or model, "num_assistant_tokens": 1 + seed,
                      "assistant_confidence_threshold": 0.1 * seed}
                     for other in ASSISTANTS.values())):
        found = model.generate(ids, **recorded, **options, **drafts)
        np.testing.assert_array_equal(found.sequences, plain.sequences)
        np.testing.assert_allclose(np.array(found.scores), np.array(plain.scores), atol=1e-3)
        assert found.past_key_values.length == found.sequences.shape[1] - 1
        assert found.drafts.accepted <= found.drafts.drafted


@pytest.mark.parametrize("drafts", [{"prompt_lookup_num_tokens": 4}, {"assistant_model": gpt2(2)}])
def test_padding_on_the_left_changes_nothing(drafts):
    ids, options = greedy_options(0)
    model = MODELS["learned positions"]
    padded, mask = np.pad(ids, ((0, 0), (3, 0))), np.pad(np.ones_like(ids), ((0, 0), (3, 0)))
    plain = model.generate(padded, attention_mask=mask, **options)
    np.testing.assert_array_equal(
        model.generate(padded, attention_mask=mask, **drafts, **options), plain)


@pytest.mark.parametrize("folder, load", [("gpt2_tiny", GPT2LMHeadModel),
                                          ("llama_tiny/llama", LlamaForCausalLM)])
def test_as_assisted_generation_in_transformers(folder, load):
    model = load.from_pretrained(FIXTURES / folder)
    for case in FROZEN[folder]:
        options = dict(case["options"])
        if options.pop("assistant", False):
            options["assistant_model"] = model
        found = model.generate(np.array(case["prompt"]), do_sample=False, **options)
        np.testing.assert_array_equal(found, case["output"])


@pytest.mark.parametrize("seed", range(3))
def test_the_decoder_of_an_encoder_decoder(seed):
    model = MarianMTModel.from_pretrained(FIXTURES / "marian_tiny")
    source = np.random.default_rng(seed).integers(5, model.config.vocab_size - 1, (1, 9))
    options = dict(max_new_tokens=22, num_beams=1, do_sample=False, eos_token_id=None,
                   forced_eos_token_id=None)
    plain = model.generate(source, **options)
    for drafts in ({"prompt_lookup_num_tokens": 4}, {"assistant_model": model}):
        np.testing.assert_array_equal(model.generate(source, **options, **drafts), plain)


def test_a_model_that_drafts_for_itself_takes_few_forwards():
    model = Bigrams(3)
    drafting = Bigrams(3)
    model.generate([[1]], max_new_tokens=40, assistant_model=drafting, num_assistant_tokens=9,
                   assistant_confidence_threshold=0.0, do_sample=False)
    assert model.n_forwards == 5  # the prompt, 3 times 9 + 1, and the rest


# ---- the calls around it


def test_processors_see_each_text_once_and_in_order():
    seen, plainly_seen = [], []
    ids, options = greedy_options(0)
    model = MODELS["learned positions"]

    def watch(into):
        return [lambda ids, scores: (into.append(ids.copy()), scores)[1]]

    model.generate(ids, **options, logits_processor=watch(plainly_seen))
    model.generate(ids, **options, logits_processor=watch(seen), prompt_lookup_num_tokens=5)
    model.generate(ids, **options, logits_processor=watch(seen), assistant_model=gpt2(1))
    assert len(seen) == 2 * len(plainly_seen)
    assert all((a == b).all() for a, b in zip(seen, 2 * plainly_seen))


def test_stop_strings_and_streams():
    model, tokenizer = GPT2LMHeadModel.from_pretrained(TINY), GPT2Tokenizer.from_pretrained(TINY)
    ids = np.tile([152, 263, 52, 363, 260], 2)[None]
    text = tokenizer.decode(model.generate(ids, max_new_tokens=12, eos_token_id=None)[0, 10:])
    options = dict(max_new_tokens=12, eos_token_id=None, tokenizer=tokenizer,
                   stop_strings=text[len(text) // 2 :][:3])
    plain = model.generate(ids, **options)
    assert plain.shape[1] < ids.shape[1] + 12
    for drafts in ({"prompt_lookup_num_tokens": 4}, {"assistant_model": model}):
        tokens = stream(model, ids, **options, **drafts)
        assert list(tokens) == plain[0, 10:].tolist()
        assert tokens.drafts.forwards > 0
    assert stream(model, ids).drafts is None


def test_the_cache_that_is_returned_continues_the_text():
    ids, _ = greedy_options(1)
    model = MODELS["rotary, groups, window"]
    options = dict(eos_token_id=None, do_sample=False, return_dict_in_generate=True,
                   prompt_lookup_num_tokens=6)
    first = model.generate(ids, max_new_tokens=9, **options)
    second = model.generate(first.sequences, past_key_values=first.past_key_values,
                            max_new_tokens=9, **options)
    both = model.generate(ids, max_new_tokens=18, eos_token_id=None, do_sample=False)
    np.testing.assert_array_equal(second.sequences, both)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=14), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=60)
def test_prompt_lookup_by_its_definition(ids, n, max_ngram):
    expected = []
    for m in range(min(max_ngram, len(ids) - 1), 0, -1):
        places = [i for i in range(len(ids) - m) if ids[i : i + m] == ids[len(ids) - m :]]
        if places:
            long = [i for i in places if len(ids[i + m :]) >= n]
            expected = ids[(long[-1] if long else places[0]) + m :][:n]
            break
    assert PromptLookup(n, max_ngram)(np.array(ids), 99).tokens.tolist() == expected


@pytest.mark.parametrize("match, options", [
    ("wanted one prompt", {"prompt_lookup_num_tokens": 3, "inputs": [[1], [2]]}),
    ("num_beams=1, got 1, 1 and 2", {"prompt_lookup_num_tokens": 3, "num_beams": 2}),
    ("got 1, 2 and 1", {"prompt_lookup_num_tokens": 3, "num_return_sequences": 2}),
    ("prompt_lookup_num_tokens is 0", {"prompt_lookup_num_tokens": 0}),
    ("max_matching_ngram_size is 0",
     {"prompt_lookup_num_tokens": 1, "max_matching_ngram_size": 0}),
    ("both given", {"prompt_lookup_num_tokens": 1, "assistant_model": gpt2(2)}),
    ("vocabulary of 61 tokens, wanted the model's 60",
     {"assistant_model": gpt2(2, vocab_size=61)}),
    ("num_assistant_tokens is 0", {"assistant_model": gpt2(2), "num_assistant_tokens": 0}),
    ("assistant_confidence_threshold is 2.0",
     {"assistant_model": gpt2(2), "assistant_confidence_threshold": 2.0}),
    ("num_assistant_tokens_schedule is 'x'",
     {"assistant_model": gpt2(2), "num_assistant_tokens_schedule": "x"}),
    ("wanted two decoders",
     {"assistant_model": MarianMTModel.from_pretrained(FIXTURES / "marian_tiny")}),
    ("can't read the model's inputs_embeds",
     {"assistant_model": gpt2(2), "inputs": None, "inputs_embeds": np.zeros((1, 2, 24))}),
])
def test_what_is_not_supported_is_refused_in_one_line(match, options):
    with pytest.raises(ValueError, match=match) as caught:
        gpt2(1).generate(**{"inputs": [[1, 2, 3]], **options})
    assert "\n" not in str(caught.value)


def test_an_assistant_is_a_model():
    with pytest.raises(TypeError, match="assistant_model is a str, wanted a model"):
        gpt2(1).generate([[1]], assistant_model="gpt2")


@pytest.mark.parametrize("seed", range(3))
def test_all_combinations_end_at_the_same_length(seed):
    model = Bigrams(seed)
    for n, k in itertools.product((1, 2, 3, 7), (1, 2, 8)):
        plain = model.generate([[0, 1, 0]], max_new_tokens=n, do_sample=False)
        for drafts in ({"prompt_lookup_num_tokens": k},
                       {"assistant_model": Bigrams(seed + 1), "num_assistant_tokens": k}):
            found = model.generate([[0, 1, 0]], max_new_tokens=n, do_sample=False, **drafts)
            np.testing.assert_array_equal(found, plain)
