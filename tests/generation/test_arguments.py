"""Arguments of `generate` besides its options."""

import threading
from pathlib import Path
from queue import Empty

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import GPT2LMHeadModel, GPT2Tokenizer
from minillm.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
    TextStreamer,
    stream,
)
from minillm.nn.kv_cache import KVCache

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"
TOKENIZER = GPT2Tokenizer.from_pretrained(TINY)
PROMPT = np.array([[152, 263, 52, 363, 260]])


@pytest.fixture(scope="module")
def model():
    return GPT2LMHeadModel.from_pretrained(TINY)


@pytest.fixture(scope="module")
def text(model):
    """The greedy continuation of PROMPT, token by token."""
    ids = model.generate(PROMPT, max_new_tokens=12, eos_token_id=None)[0, 5:]
    return [TOKENIZER.decode([id]) for id in ids]


# ---- when to stop


def test_a_stop_string_ends_the_text(model, text):
    for end in range(2, 12):
        stop = "".join(text[end - 2 : end])
        output = model.generate(PROMPT, max_new_tokens=12, stop_strings=[stop, "nowhere"],
                                tokenizer=TOKENIZER)
        written = TOKENIZER.decode(output[0, 5:])
        assert "".join(text).startswith(written) and stop in written
        assert stop not in TOKENIZER.decode(output[0, 5:-1])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_stop_strings_as_in_transformers(seed):
    torch = pytest.importorskip("torch")
    stopping = pytest.importorskip("transformers.generation.stopping_criteria")
    from transformers import GPT2TokenizerFast

    from minillm.generation.stopping import ends_in

    theirs = _theirs.setdefault("tokenizer", GPT2TokenizerFast.from_pretrained(TINY))
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, len(TOKENIZER), (6, 8))
    whole = TOKENIZER.decode(ids[0]).replace("\ufffd", "")
    cut = sorted(rng.integers(0, len(whole) + 1, 2))
    stops = [whole[cut[0] : cut[1]] or "a", TOKENIZER.decode(ids[1, 6:7]).strip("\ufffd") or "b"]
    criterion = stopping.StopStringCriteria(theirs, stops)
    for end in range(1, 9):
        expected = criterion(torch.tensor(ids[:, :end]), None).numpy()
        np.testing.assert_array_equal(ends_in(stops, TOKENIZER)(ids[:, :end], None), expected)


_theirs = {}


def test_no_token_is_begun_after_max_time(model):
    assert model.generate(PROMPT, max_time=1e-9, max_new_tokens=30).shape == (1, 6)
    assert model.generate(PROMPT, max_time=600, max_new_tokens=3, eos_token_id=None).shape == (1, 8)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_own_criteria(model, num_beams):
    lengths = []

    class AtLength(StoppingCriteria):
        def __call__(self, input_ids, scores, **unused):
            assert (scores is not None) == bool(num_beams == 3)
            lengths.append(input_ids.shape[1])
            return np.full(len(input_ids), input_ids.shape[1] >= 9)

    output = model.generate(
        np.repeat(PROMPT, 2, axis=0), stopping_criteria=StoppingCriteriaList([AtLength()]),
        max_length=30, num_beams=num_beams, eos_token_id=None,
        return_dict_in_generate=num_beams == 3, output_scores=num_beams == 3)
    assert output[0 if num_beams == 3 else slice(None)].shape == (2, 9)
    assert lengths == [6, 7, 8, 9]
    by_bool = model.generate(PROMPT, stopping_criteria=[lambda ids, scores: ids.shape[1] >= 7],
                             max_length=30, eos_token_id=None)
    assert by_bool.shape == (1, 7)


def test_a_sequence_that_has_stopped_is_padded(model):
    ids = np.concatenate([PROMPT, PROMPT[:, ::-1]])
    output = model.generate(ids, max_new_tokens=6, eos_token_id=0, pad_token_id=0,
                            stopping_criteria=[lambda ids, scores: ids[:, 0] == PROMPT[0, 0]])
    assert (output[0, 6:] == 0).all() and (output[1, 6:] != 0).all()


# ---- which token


def test_own_logits_processors(model):
    seen = []

    class Only(LogitsProcessor):
        def __call__(self, input_ids, scores):
            seen.append((input_ids.copy(), scores.copy()))
            scores[:] = -np.inf
            scores[:, input_ids.shape[1]] = 0
            return scores

    output = model.generate(PROMPT, logits_processor=LogitsProcessorList([Only()]),
                            max_new_tokens=3, suppress_tokens=[1], do_sample=True, seed=0)
    assert output[0].tolist() == [*PROMPT[0], 5, 6, 7]
    for t, (ids, scores) in enumerate(seen):
        np.testing.assert_array_equal(ids, output[:, : 5 + t])
        assert scores.shape == (1, 400) and scores[0, 1] == -np.inf  # ours come first
    with pytest.raises(ValueError, match=r"logits_processor\[1\] returns shape \(\)"):
        model.generate(PROMPT, logits_processor=[lambda ids, scores: scores,
                                                 lambda ids, scores: None])


def test_allowed_tokens(model):
    output = model.generate(np.repeat(PROMPT, 2, axis=0), num_beams=2, max_new_tokens=4,
                            prefix_allowed_tokens_fn=lambda batch, ids: [5 + batch, len(ids)])
    for batch, row in enumerate(output[:, 5:]):
        assert all(token in (5 + batch, 5 + t) for t, token in enumerate(row))


# ---- inputs


def test_a_cache_is_gone_on_with(model):
    whole = model.generate(PROMPT, max_new_tokens=10, eos_token_id=None)
    for n_past in (1, 4):
        cache = KVCache()
        model(PROMPT[:, :n_past], past_key_values=cache)
        np.testing.assert_array_equal(whole, model.generate(
            PROMPT, past_key_values=cache, max_new_tokens=10, eos_token_id=None))
        assert cache.length == 14  # the last token was never read
    first = model.generate(PROMPT, max_new_tokens=4, eos_token_id=None,
                           return_dict_in_generate=True)
    second = model.generate(first.sequences, past_key_values=first.past_key_values,
                            max_new_tokens=6, eos_token_id=None)
    np.testing.assert_array_equal(second, whole)
    with pytest.raises(ValueError, match="past_key_values holds 14 tokens and input_ids has 5"):
        model.generate(PROMPT, past_key_values=cache)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_embeddings_instead_of_ids(model, options):
    embeds = model.transformer.wte.weight.data[np.repeat(PROMPT, 2, axis=0)]
    options = dict(max_new_tokens=8, eos_token_id=None, **options)
    expected = model.generate(np.repeat(PROMPT, 2, axis=0), **options)
    np.testing.assert_array_equal(
        model.generate(inputs_embeds=embeds, **options), expected[:, 5:])
    np.testing.assert_array_equal(
        model.generate(np.repeat(PROMPT, 2, axis=0), inputs_embeds=embeds, **options), expected)
    options = {**options, "max_new_tokens": None, "max_length": 9}
    assert model.generate(inputs_embeds=embeds, **options).shape == (2, 4)
    with pytest.raises(ValueError, match="max_length is 5, but the prompt, which it counts, has 5"):
        model.generate(inputs_embeds=embeds, max_length=5)
    with pytest.raises(ValueError, match="leaves nothing of the model's max_positions = 64"):
        model.generate(inputs_embeds=np.zeros((1, 64, 24), np.float32))


def test_padded_embeddings(model):
    ids = np.concatenate([PROMPT, PROMPT])
    ids[1, :2] = 7
    mask = np.array([[1] * 5, [0, 0, 1, 1, 1]])
    options = dict(attention_mask=mask, max_new_tokens=8, eos_token_id=None)
    np.testing.assert_array_equal(
        model.generate(inputs_embeds=model.transformer.wte.weight.data[ids], **options),
        model.generate(ids, **options)[:, 5:])


@pytest.mark.parametrize("options, match", [
    (dict(inputs=PROMPT, input_ids=PROMPT), "inputs and input_ids are both given"),
    (dict(inputs=PROMPT, inputs_embeds=np.zeros((1, 4, 24))), "inputs_embeds has shape"),
    (dict(inputs_embeds=np.zeros((4, 24))), r"wanted \(B, T, d_model\)"),
])
def test_contradicting_inputs_are_named(model, options, match):
    with pytest.raises(ValueError, match=match):
        model.generate(**options)


def test_use_cache_changes_nothing(model):
    outputs = [model.generate(PROMPT, max_new_tokens=9, use_cache=use_cache)
               for use_cache in (True, False, None)]
    assert all((output == outputs[0]).all() for output in outputs)


# ---- results


def test_everything_that_was_asked_for_comes_out(model):
    options = dict(max_new_tokens=4, eos_token_id=None, suppress_tokens=[47])
    output = model.generate(PROMPT, return_dict_in_generate=True, output_scores=True,
                            output_logits=True, **options)
    assert list(output) == ["sequences", "scores", "logits", "past_key_values"]
    np.testing.assert_array_equal(output.sequences, model.generate(PROMPT, **options))
    whole = model(output.sequences[:, :-1]).logits[:, 4:]
    np.testing.assert_allclose(np.stack(output.logits, axis=1), whole, rtol=1e-3, atol=1e-4)
    for scores, logits in zip(output.scores, output.logits):
        assert scores[0, 47] == -np.inf
        np.testing.assert_array_equal(np.delete(scores, 47, 1), np.delete(logits, 47, 1))
    plain = model.generate(PROMPT, return_dict_in_generate=True, **options)
    assert list(plain) == ["sequences", "past_key_values"]


def test_the_scores_of_beams_are_sums_along_their_indices(model):
    output = model.generate(PROMPT, num_beams=4, num_return_sequences=3, max_new_tokens=6,
                            eos_token_id=None, length_penalty=0.0, output_scores=True,
                            return_dict_in_generate=True)
    for row in range(3):
        tokens, beams = output.sequences[row, 5:], output.beam_indices[row]
        total = sum(output.scores[t][beams[t], tokens[t]] for t in range(6))
        assert total == pytest.approx(output.sequences_scores[row], rel=1e-5)


# ---- streamers


class Recorder:
    def __init__(self):
        self.values, self.ended = [], False

    def put(self, value):
        self.values.append(value)

    def end(self):
        self.ended = True


def test_a_streamer_gets_the_prompt_and_each_token(model):
    recorder = Recorder()
    output = model.generate(np.repeat(PROMPT, 2, axis=0), streamer=recorder, max_new_tokens=4,
                            eos_token_id=None)
    assert recorder.ended
    np.testing.assert_array_equal(recorder.values[0], output[:, :5])
    np.testing.assert_array_equal(np.stack(recorder.values[1:], axis=1), output[:, 5:])
    with pytest.raises(ValueError, match="a streamer can't follow several beams"):
        model.generate(PROMPT, streamer=recorder, num_beams=2)


def test_a_text_streamer_prints_what_decode_gives(model, capsys):
    output = model.generate(PROMPT, streamer=TextStreamer(TOKENIZER), max_new_tokens=20)
    assert capsys.readouterr().out == TOKENIZER.decode(output[0]) + "\n"
    streamer = TextStreamer(TOKENIZER, skip_prompt=True, skip_special_tokens=True)
    for prompt in (PROMPT, PROMPT[:, ::-1]):  # it is reusable
        output = model.generate(prompt, streamer=streamer, max_new_tokens=20, eos_token_id=0)
        expected = TOKENIZER.decode(output[0, 5:], skip_special_tokens=True)
        assert capsys.readouterr().out == expected + "\n"
    with pytest.raises(ValueError, match="a TextStreamer follows one sequence, got 2"):
        model.generate(np.repeat(PROMPT, 2, axis=0), streamer=TextStreamer(TOKENIZER))


def test_an_iterator_gives_the_text_while_another_thread_generates(model):
    streamer = TextIteratorStreamer(TOKENIZER, skip_prompt=True, timeout=60)
    thread = threading.Thread(target=model.generate, args=(PROMPT,),
                              kwargs=dict(streamer=streamer, max_new_tokens=20))
    thread.start()
    pieces = list(streamer)
    thread.join()
    assert len(pieces) > 1 and "".join(pieces) == TOKENIZER.decode(
        model.generate(PROMPT, max_new_tokens=20)[0, 5:])
    with pytest.raises(Empty):
        next(TextIteratorStreamer(TOKENIZER, timeout=0.01))


def test_streams_take_the_same_arguments(model, text):
    stop = "".join(text[2:4])
    tokens = list(stream(model, PROMPT, stop_strings=stop, tokenizer=TOKENIZER, max_new_tokens=12))
    np.testing.assert_array_equal(tokens, model.generate(
        PROMPT, stop_strings=stop, tokenizer=TOKENIZER, max_new_tokens=12)[0, 5:])
