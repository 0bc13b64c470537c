import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import GPT2Config, GPT2LMHeadModel
from minillm.generation import GenerationConfig, follow_beams, generate, stream

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"
FROZEN = json.loads((TINY / "generation.json").read_text())
PROMPT = np.array([[3, 1, 4, 1, 5]])


@pytest.fixture(scope="module")
def model():
    return GPT2LMHeadModel.from_pretrained(TINY)


def prompts(seed, B=2, T=5):
    return np.random.default_rng(seed).integers(1, 400, (B, T))


# ---- agreement with transformers


@pytest.mark.parametrize("name", FROZEN)
def test_greedy_and_beams_as_transformers(model, name):
    case = FROZEN[name]
    output = model.generate(
        np.array(case["prompt"]), attention_mask=np.array(case["mask"]), **case["options"])
    assert output.dtype == np.int64
    np.testing.assert_array_equal(output, case["output"])


def live_options():
    """Greedy and beam options, drawn at random; with many eos_token_ids, so that sequences end."""
    for seed in range(16):
        rng = np.random.default_rng(seed)
        options = dict(max_length=int(rng.integers(10, 30)), do_sample=False, pad_token_id=1)
        options["num_beams"] = int(rng.integers(1, 6))
        options["num_return_sequences"] = int(rng.integers(1, options["num_beams"] + 1))
        options["eos_token_id"] = [0, list(range(5, 60, 12)), list(range(2, 60, 4))][seed % 3]
        if options["num_beams"] > 1:
            options["length_penalty"] = float(rng.choice([-1, 0, 0.5, 1, 2]))
            options["early_stopping"] = [True, False, "never"][rng.integers(3)]
        if seed % 2:
            options["no_repeat_ngram_size"] = int(rng.integers(2, 4))
        if seed % 4 > 1:
            options["repetition_penalty"] = float(rng.uniform(0.8, 1.5))
        if seed % 5 == 0:
            options["min_length"] = 12
        yield pytest.param(seed, options, id=str(seed))


@pytest.fixture(scope="module")
def random_pair(tmp_path_factory):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)  # small models: threads only wait for each other
    torch.manual_seed(7)
    config = transformers.GPT2Config(
        vocab_size=60, n_positions=40, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3,
        bos_token_id=0, eos_token_id=0)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    folder = tmp_path_factory.mktemp("random")
    theirs.save_pretrained(folder)
    return GPT2LMHeadModel.from_pretrained(folder), theirs


@pytest.mark.parametrize("seed, options", list(live_options()))
def test_any_options_as_transformers(random_pair, seed, options):
    import torch

    ours, theirs = random_pair
    ids = np.random.default_rng(seed).integers(2, 60, (3, 8))
    mask = np.ones((3, 8), np.int64)
    for row, padding in enumerate([0, 2, 5]):
        ids[row, :padding], mask[row, :padding] = 1, 0
    expected = theirs.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), **options)
    output = ours.generate(ids, attention_mask=mask, **options)
    np.testing.assert_array_equal(output, expected.numpy())
    # The pad token isn't an eos_token_id here, so the ids determine the mask.
    np.testing.assert_array_equal(ours.generate(ids, **options), expected.numpy())


# ---- greedy, by its definition


def greedy_by_hand(model, ids, steps):
    for _ in range(steps):
        ids = np.append(ids, model(ids).logits[:, -1].argmax(axis=1)[:, None], axis=1)
    return ids


def test_greedy_is_the_best_token_again_and_again(model):
    ids = prompts(0)
    output = model.generate(ids, max_new_tokens=12, eos_token_id=None)
    np.testing.assert_array_equal(output, greedy_by_hand(model, ids, 12))


@given(st.integers(0, 1000), st.sampled_from([{}, {"num_beams": 3}]))
@settings(max_examples=15)
def test_left_padding_changes_nothing(model, seed, mode):
    ids = prompts(seed, B=1)
    options = dict(max_new_tokens=8, **mode)
    alone = model.generate(ids, **options)
    noise = prompts(seed + 1, B=1, T=3)
    mask = np.array([[0] * 3 + [1] * 5])
    padded = model.generate(np.concatenate([noise, ids], axis=1), attention_mask=mask, **options)
    np.testing.assert_array_equal(padded[:, 3:], alone)


def test_one_beam_that_keeps_everything_is_greedy(model):
    ids = prompts(3)
    np.testing.assert_array_equal(
        model.generate(ids, num_beams=1, max_length=15), model.generate(ids, max_length=15))


def test_beams_find_sequences_at_least_as_probable_as_greedy(model):
    def log_probability(ids):
        logits = model(ids[:, :-1]).logits.astype(np.float64)
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return np.take_along_axis(log_p, ids[:, 1:, None], axis=2)[:, 4:].sum()

    for seed in range(4):
        options = dict(max_new_tokens=6, eos_token_id=None)
        best = model.generate(prompts(seed, B=1), num_beams=6, **options)
        assert log_probability(best) >= log_probability(
            model.generate(prompts(seed, B=1), **options)) - 1e-4


# ---- sampling


def test_the_seed_decides(model):
    options = dict(max_new_tokens=15, num_return_sequences=3, top_k=0)
    first = model.generate(PROMPT, seed=1, **options)
    np.testing.assert_array_equal(first, model.generate(PROMPT, seed=1, **options))
    np.testing.assert_array_equal(
        first, model.generate(PROMPT, generator=np.random.default_rng(1), **options))
    assert (first != model.generate(PROMPT, seed=2, **options)).any()
    assert (model.generate(PROMPT, **options) != model.generate(PROMPT, **options)).any()
    assert (first[0] != first[1]).any()


def test_sampled_tokens_have_the_probabilities_of_the_model():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=6, n_positions=8, n_embd=8, n_layer=1, n_head=1,
                                       initializer_range=1.0, bos_token_id=0, eos_token_id=0))
    n = 8000
    output = model.generate([[1, 2]], max_new_tokens=2, num_return_sequences=n, top_k=0, seed=0,
                            eos_token_id=None)
    p = probabilities(model.eval(), [[1, 2]])[0]
    then = probabilities(model, [[1, 2, token] for token in range(6)])
    expected = p[:, None] * then
    found = np.zeros((6, 6))
    np.add.at(found, (output[:, 2], output[:, 3]), 1 / n)
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected / n) + 1e-3).all()


def probabilities(model, ids):
    logits = model(np.array(ids)).logits[:, -1].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_options_of_sampling_mean_sampling(model):
    greedy = model.generate(PROMPT, max_length=25)
    for options in (dict(top_k=50), dict(top_p=0.99), dict(temperature=1.5)):
        outputs = [model.generate(PROMPT, max_length=25, seed=seed, **options) for seed in range(3)]
        assert any(output.shape != greedy.shape or (output != greedy).any() for output in outputs)
        with pytest.warns(UserWarning, match="has no effect without sampling"):
            output = model.generate(PROMPT, max_length=25, do_sample=False, **options)
        np.testing.assert_array_equal(output, greedy)


def test_several_sequences_need_sampling_or_beams(model):
    assert model.generate(PROMPT, num_return_sequences=5).shape[0] == 5
    assert model.generate(prompts(0), num_return_sequences=2, num_beams=2).shape[0] == 4
    with pytest.raises(ValueError, match="pass do_sample=True, or num_beams=5 or more"):
        model.generate(PROMPT, num_return_sequences=5, do_sample=False)
    with pytest.raises(ValueError, match="at most num_beams = 3"):
        model.generate(PROMPT, num_return_sequences=5, num_beams=3)


def test_each_prompt_gets_its_sequences_in_a_row(model):
    ids = prompts(1, B=3)
    output = model.generate(ids, num_return_sequences=2, seed=0, max_length=12)
    np.testing.assert_array_equal(output[:, :5], np.repeat(ids, 2, axis=0))


def test_top_k_of_one_is_greedy(model):
    np.testing.assert_array_equal(
        model.generate(PROMPT, top_k=1, max_length=20), model.generate(PROMPT, max_length=20))


@given(st.integers(0, 10_000), st.sampled_from([{}, {"num_beams": 3}]))
@settings(max_examples=20)
def test_no_ngram_repeats_in_what_is_generated(model, seed, mode):
    output = model.generate(PROMPT, max_length=40, do_sample=True, no_repeat_ngram_size=2, top_k=8,
                            seed=seed, eos_token_id=None, **mode)
    (row,) = output.tolist()
    pairs = list(zip(row, row[1:]))[5:]
    assert len(pairs) == len(set(pairs))


def test_sampling_with_beams_is_seeded_and_varies(model):
    options = dict(num_beams=3, do_sample=True, max_length=20, num_return_sequences=3)
    first = model.generate(PROMPT, seed=0, **options)
    np.testing.assert_array_equal(first, model.generate(PROMPT, seed=0, **options))
    others = [model.generate(PROMPT, seed=seed, **options) for seed in range(1, 4)]
    assert any(other.shape != first.shape or (other != first).any() for other in others)


# ---- ends and lengths


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_after_the_end_there_is_only_padding(model, seed):
    ends = list(range(0, 400, 8))
    output = model.generate(prompts(seed), attention_mask=np.ones((2, 5)), max_length=40,
                            num_return_sequences=3,
                            top_k=0, seed=seed, eos_token_id=ends, pad_token_id=399)
    finished = []
    for row in output[:, 5:]:
        where = np.flatnonzero(np.isin(row, ends))
        end = where[0] + 1 if where.size else len(row)
        assert (row[end:] == 399).all()
        finished.append(end)
    assert max(finished) == output.shape[1] - 5  # no longer than the longest


def test_the_end_is_the_padding_by_default(model):
    rows = [model.generate(prompts(seed), max_length=30, top_k=0, seed=seed,
                           eos_token_id=[7] + list(range(8, 100))) for seed in range(5)]
    padding = [row[row >= 0] for output in rows for row in output[:, 5:]
               if np.isin(row, range(7, 100)).any()]
    assert padding and all(set(row[np.flatnonzero(np.isin(row, range(7, 100)))[0] + 1 :]) <= {7}
                           for row in padding)


@pytest.mark.parametrize("options, length", [
    ({}, 25),  # 20 new tokens
    (dict(max_new_tokens=3), 8),
    (dict(max_length=9), 9),
    (dict(max_length=30, max_new_tokens=1), 6),  # max_new_tokens decides
])
def test_lengths(model, options, length):
    assert model.generate(PROMPT, eos_token_id=None, **options).shape == (1, length)
    beams = model.generate(PROMPT, eos_token_id=None, num_beams=2, **options)
    assert beams.shape == (1, length)


def test_generation_stops_at_n_positions(model):
    with pytest.warns(UserWarning, match="only max_positions = 64: stopping there"):
        output = model.generate(PROMPT, max_length=500, eos_token_id=None)
    assert output.shape == (1, 64)
    assert model.generate(np.ones((1, 60), int), eos_token_id=None).shape == (1, 64)


def test_min_new_tokens(model):
    ends = list(range(0, 400, 2))
    short = model.generate(PROMPT, max_length=30, eos_token_id=ends, top_k=0, seed=0)
    long = model.generate(PROMPT, max_length=30, min_new_tokens=20, eos_token_id=ends, top_k=0,
                          seed=0)
    assert short.shape[1] < long.shape[1]
    assert not np.isin(long[:, 5:25], ends).any()


def test_an_end_that_is_not_in_a_small_vocabulary_never_comes():
    config = GPT2Config(vocab_size=65, n_positions=40, n_embd=8, n_layer=1, n_head=1)
    model = GPT2LMHeadModel(config)
    assert model.generate([[1]], max_length=30).shape == (1, 30)


def test_nothing_given_starts_from_the_beginning_of_text(model):
    np.testing.assert_array_equal(
        model.generate(max_length=9), model.generate([[0]], max_length=9))


def test_defaults_come_from_the_checkpoint(tmp_path):
    model = GPT2LMHeadModel.from_pretrained(TINY)
    model.generation_config.max_new_tokens = 4
    model.generation_config.do_sample = True
    model.generation_config.eos_token_id = 17
    model.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path)
    outputs = [again.generate(PROMPT, seed=seed) for seed in range(5)]
    assert max(output.shape[1] for output in outputs) <= 9
    assert len({tuple(output[0]) for output in outputs}) > 1
    with pytest.warns(UserWarning, match="max_length has no effect"):  # as in `transformers`
        assert again.generate(PROMPT, max_length=12, do_sample=False).shape[1] <= 9


def test_a_configuration_that_says_greedy_is_obeyed():
    # An option that shapes the distribution implies sampling only if nothing sets do_sample.
    model = GPT2LMHeadModel.from_pretrained(TINY)
    best = model.generate(PROMPT, max_length=15, do_sample=False)
    with pytest.warns(UserWarning, match="top_k has no effect"):
        greedy = model.generate(PROMPT, GenerationConfig(do_sample=False), max_length=15, top_k=9)
    np.testing.assert_array_equal(greedy, best)
    model.generation_config.do_sample = False
    with pytest.warns(UserWarning, match="top_p has no effect"):
        greedy = model.generate(PROMPT, max_length=15, top_p=0.9)
    np.testing.assert_array_equal(greedy, best)


def test_beams_that_ended_are_filled_up_as_in_transformers():
    # Its beam search takes a pad_token_id of 0 for none, and fills up with the eos_token_id.
    model = GPT2LMHeadModel.from_pretrained(TINY)
    output = model.generate(PROMPT, num_beams=3, num_return_sequences=3, max_length=14,
                            eos_token_id=70, pad_token_id=0)
    assert output[2].tolist() == [3, 1, 4, 1, 5, 233, 139, 47, 30, 170, 170, 170, 70, 70]


def test_dropout_is_off_and_the_mode_comes_back():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    expected = model.generate(PROMPT, max_length=15)
    state = model.rng.bit_generator.state
    np.testing.assert_array_equal(model.train().generate(PROMPT, max_length=15), expected)
    assert all(module.training for module in model.modules())
    assert model.rng.bit_generator.state == state
    assert not any(module._passes for module in model.modules())


# ---- streaming


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_the_stream_is_what_generate_gives(model, seed):
    options = dict(max_length=30, top_k=20, eos_token_id=list(range(0, 400, 15)), seed=seed)
    np.testing.assert_array_equal(
        list(stream(model, PROMPT, **options)), model.generate(PROMPT, **options)[0, 5:])


@given(st.integers(0, 1000), st.integers(2, 5), st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
       st.sampled_from([True, False, "never"]), st.booleans())
@settings(max_examples=20)
def test_following_beams_leads_to_what_generate_returns(model, seed, n, penalty, early, sampling):
    options = dict(num_beams=n, length_penalty=penalty, early_stopping=early, do_sample=sampling,
                   eos_token_id=list(range(2, 60, 4)), pad_token_id=0, max_new_tokens=8, seed=seed)
    prompt = prompts(seed, B=1)
    steps = list(follow_beams(model, prompt, **options))
    output = model.generate(prompt, **options, num_return_sequences=n, output_scores=True,
                            return_dict_in_generate=True)
    assert len(steps[-1].finished) == n and len(steps) == len(output.scores)
    for (score, ids), sequence, expected in zip(
            steps[-1].finished, output.sequences, output.sequences_scores):
        np.testing.assert_array_equal(ids, sequence[: len(ids)])
        assert score == expected

    beams, complete = [prompt[0]] * n, set()  # what the steps say, followed
    for step in steps:
        candidates = [np.append(beams[beam], token) for beam, token in zip(step.beams, step.tokens)]
        assert (np.diff(step.scores) <= 0).all() or sampling
        for index in step.accepted:
            assert step.ends[index] and index < n
            complete.add(tuple(candidates[index]))
        beams = [candidates[index] for index in step.kept]
    assert complete.issuperset(tuple(ids) for _, ids in steps[-1].finished)


def test_following_beams_takes_one_prompt_and_several_beams(model):
    for ids, options in ((PROMPT, {}), (prompts(0), dict(num_beams=2))):
        with pytest.raises(ValueError, match="follow_beams follows one search"):
            follow_beams(model, ids, **options)


def test_a_stream_comes_token_by_token_and_leaves_the_model_alone():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    tokens = stream(model, PROMPT, max_new_tokens=10, eos_token_id=None)
    first = next(tokens)
    assert type(first) is int
    model(PROMPT, labels=PROMPT).loss.backward()  # the stream leaves no no_grad() behind
    assert [first, *tokens] == model.generate(PROMPT, max_new_tokens=10, eos_token_id=None)[
        0, 5:].tolist()


# ---- bad input


def bad(error, match, **options):
    return pytest.param(error, match, options, id=match)


@pytest.mark.parametrize("error, match, options", [
    bad(TypeError, "no option 'topk'; did you mean 'top_k'", topk=5),
    bad(TypeError, "no option 'frequency'", frequency=5),
    bad(ValueError, "temperature is 0", temperature=0),
    bad(ValueError, "temperature is -1", temperature=-1.0),
    bad(ValueError, "top_p is -0.1", top_p=-0.1),
    bad(ValueError, "top_p is 1.1", top_p=1.1),
    bad(ValueError, "top_k is -1", top_k=-1),
    bad(TypeError, "top_k is 2.5, wanted an integer", top_k=2.5),
    bad(ValueError, "repetition_penalty is 0", repetition_penalty=0),
    bad(ValueError, "no_repeat_ngram_size is -1", no_repeat_ngram_size=-1),
    bad(ValueError, "num_beams is 0", num_beams=0),
    bad(ValueError, "num_return_sequences is 0", num_return_sequences=0),
    bad(ValueError, "early_stopping is 'soon'", num_beams=2, early_stopping="soon"),
    bad(ValueError, "length_penalty is inf", num_beams=2, length_penalty=np.inf),
    bad(ValueError, "max_new_tokens is 0", max_new_tokens=0),
    bad(ValueError, "max_length is 5, but the prompt, which it counts, has 5 tokens", max_length=5),
    bad(ValueError, "eos_token_id is 400, wanted an id from 0 to 399", eos_token_id=400),
    bad(ValueError, "pad_token_id is 500", pad_token_id=500),
    bad(ValueError, "seed and generator", seed=1, generator=np.random.default_rng()),
    bad(TypeError, "generator is a int", generator=5),
    bad(ValueError, "every token is excluded", min_length=10, eos_token_id=list(range(400))),
    bad(ValueError, r"input_ids has shape \(3,\)", input_ids=[1, 2, 3]),
    bad(ValueError, "input_ids is empty", input_ids=np.zeros((1, 0), int)),
    bad(ValueError, "input_ids contains 400", input_ids=[[1, 400]]),
    bad(ValueError, "64 tokens, which leaves nothing", input_ids=np.ones((1, 64), int)),
    bad(ValueError, "attention_mask has shape", attention_mask=[[1]]),
    bad(ValueError, "pad on the left", attention_mask=[[1, 1, 1, 1, 0]]),
])
@pytest.mark.parametrize("function", [generate, stream])
def test_bad_options_are_named(model, error, match, options, function):
    if function is stream and options.get("num_beams", 1) > 1:
        options = {**options, "num_beams": 2}
    options = {"input_ids": PROMPT, **options}
    with pytest.raises(error, match=match) as caught:
        list(function(model, **options))
    assert "\n" not in str(caught.value)


def test_a_stream_is_one_sequence(model):
    for options in (dict(num_beams=2), dict(num_return_sequences=2)):
        with pytest.raises(ValueError, match="stream gives one sequence"):
            stream(model, PROMPT, **options)
    with pytest.raises(ValueError, match="stream gives one sequence"):
        stream(model, prompts(0))
