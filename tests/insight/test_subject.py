"""A text as every kind of model reads it."""

import numpy as np
import pytest
from tests.helpers.subjects import MAKERS, TEXT

from minillm import SentenceEncoder
from minillm.insight.anatomy import Anatomy
from minillm.insight.target import Label, Logit
from minillm.nn.module import no_grad


SAYS = {"gpt2 texts": "text label", "bert texts": "text label", "gpt2 tokens": "token label",
        "bert tokens": "token label", "bert spans": "span", "bert alone": "vector"}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_model_runs_on_what_is_read(kind, open_subject):
    subject = open_subject(kind)
    reading = subject.read(TEXT)
    with no_grad():
        output = subject.model(**reading.inputs)
    assert len(reading.tokens) == len(reading.ids)
    assert 0 <= reading.position < len(reading.ids)
    assert subject.says == SAYS.get(kind, "token")
    if subject.says == "vector":
        with pytest.raises(ValueError, match="is a BertModel, wanted one with a head"):
            subject.said(reading)
        assert subject.target(reading).value(output.logits)[0] == pytest.approx(1, abs=1e-6)
        like = subject.target(reading, subject.read("the owl"))
        encoder = SentenceEncoder.from_pretrained(subject.folder)
        want = encoder.similarity(TEXT, "the owl")[0, 0]
        assert like.value(output.logits)[0] == pytest.approx(want, abs=1e-6)
        return
    logits = output.logits[0]
    at = logits if subject.says == "text label" else logits[reading.position]
    assert subject.said(reading) == at.argmax()
    target = subject.target(reading, 1, 0)
    assert isinstance(target, Label if subject.says == "text label" else Logit)
    assert target.value(output.logits)[0] == pytest.approx(float(at[1]) - float(at[0]), abs=1e-5)
    assert len(subject.answer_names([0, 1])) == 2
    # what a trace sees of the last stack has a row for each of reading.ids
    from minillm.nn.trace import trace

    name = Anatomy(subject.model).blocks[-1].residual
    with no_grad(), trace(subject.model, [name]) as t:
        subject.model(**reading.inputs)
    assert t[name].shape[:2] == (1, len(reading.ids))


@pytest.mark.parametrize("kind", ["transformer", "marian"])
def test_an_encoder_decoder_answers_or_reads_a_target(kind, open_subject):
    subject = open_subject(kind)
    reading = subject.read(TEXT)
    config = subject.model.config
    assert reading.ids[0] == config.decoder_start_token_id
    assert reading.source_tokens == subject.names(reading.source_ids)
    assert reading.input_tokens == reading.source_tokens + reading.tokens
    with no_grad():
        said = subject.model(**reading.inputs).logits[0].argmax(axis=-1)
    np.testing.assert_array_equal(said[:-1], reading.ids[1:])  # the answer is what it says itself
    if len(reading.ids) > 1:
        assert subject.said(reading) == reading.ids[-1]
    written = subject.read(TEXT, "the dog")
    assert written.position == len(written.ids) - 1 > 0
    np.testing.assert_array_equal(written.source_ids, reading.source_ids)
    assert config.eos_token_id not in written.ids
    assert subject.read(TEXT, "").ids.tolist() == [config.decoder_start_token_id]


def test_pairs_of_texts(open_subject):
    subject = open_subject("bert spans")
    reading = subject.read("the cat [SEP] a cat saw the dog")
    types = reading.inputs["token_type_ids"][0]
    assert types.tolist() == [0, 0, 0, 0, 1, 2, 1, 2, 1, 1]  # shared words are 2
    assert reading.tokens.count("[SEP]") == 2
    assert subject.labels == ["start", "end"] and subject.token("--token", "end") == 1
    reading = open_subject("bert texts").read("the cat [SEP] a dog")
    assert reading.inputs["token_type_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert reading.position == 0


def test_positions(open_subject):
    assert open_subject("bert").read("a [MASK] and").position == 2
    assert open_subject("bert tokens").read(TEXT).position == 1
    gpt2 = open_subject("gpt2 texts")
    reading = gpt2.read(TEXT)
    assert reading.position == len(reading.ids) - 1
    assert gpt2.labels == ["no", "yes", "perhaps"] and gpt2.answer_names([2]) == ["perhaps"]


def test_errors(open_subject):
    with pytest.raises(ValueError, match="^the text is empty, wanted at least one token$"):
        open_subject("gpt2").read("")
    with pytest.raises(ValueError, match="^the text has 100 tokens, wanted at most 48, which"):
        open_subject("gpt2").read("#" * 100)
    with pytest.raises(ValueError, match="^target_text is 'x', wanted None: a GPT2LMHeadModel"):
        open_subject("gpt2").read("a", "x")
    with pytest.raises(ValueError, match="^the target text has 101 tokens, wanted at most 48"):
        open_subject("transformer").read("a", "#" * 100)
    with pytest.raises(ValueError, match="^--token is 'maybe', wanted one of no, yes, perhaps$"):
        open_subject("bert texts").token("--token", "maybe")
    with pytest.raises(ValueError, match="^--token is 'a cat', which is . tokens, wanted one"):
        open_subject("gpt2").token("--token", "a cat")
