"""A text as something to learn: the model's own loss is the mean of the terms that are shown."""

import numpy as np
import pytest
from tests.helpers.subjects import MAKERS, TEXT

from minillm.insight.lesson import lesson_of
from minillm.nn.module import no_grad


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "bert alone"])
def test_the_loss_is_the_mean_of_its_terms_and_has_a_backward(kind, open_subject):
    subject = open_subject(kind)
    lesson = lesson_of(subject, TEXT)
    output = subject.model(**lesson.inputs)
    losses = lesson.losses(output)
    assert float(output.loss) == pytest.approx(float(np.nanmean(losses)), rel=1e-5)
    assert len(lesson.rows) == len(lesson.targets) == len(lesson.target_names) == len(losses)
    assert list(np.isnan(losses)) == [target < 0 for target in lesson.targets]
    assert 0 <= lesson.position < len(lesson.rows)
    output.loss.backward()
    assert any(parameter.grad.any() for parameter in subject.model.parameters()
               if parameter.grad is not None)


def test_a_model_without_a_head_has_nothing_to_learn(open_subject):
    with pytest.raises(ValueError, match="is a BertModel, which has no head: it says nothing"):
        lesson_of(open_subject("bert alone"), TEXT)


def test_a_decoder_learns_each_next_token(open_subject):
    subject = open_subject("gpt2")
    lesson = lesson_of(subject, TEXT)
    assert lesson.rows[1:] == lesson.target_names[:-1]
    np.testing.assert_array_equal(lesson.targets[:-1], subject.encode(TEXT)[1:])
    with pytest.raises(ValueError, match="the text has 1 token, wanted at least 2"):
        lesson_of(subject, "a")


def test_a_masked_model_learns_what_is_hidden(open_subject):
    subject = open_subject("bert")
    ids, mask = subject.encode(TEXT), subject.tokenizer.mask_token_id
    for hide, place in ((-1, len(ids) - 2), (-2, len(ids) - 3), (1, 1)):
        lesson = lesson_of(subject, TEXT, hide=hide)
        assert lesson.inputs["input_ids"][0, place] == mask and lesson.position == place
        assert lesson.targets[place] == ids[place] and (lesson.targets >= 0).sum() == 1
    word = subject.names(ids[2:3])[0]
    lesson = lesson_of(subject, f"{subject.tokenizer.mask_token} {word}", word)
    assert lesson.targets[1] == ids[2] and lesson.target_names[1] == word
    for text, target, hide, message in (
            (TEXT, "", 0, "hide is 0, wanted the position of a token that isn't special: 1, 2"),
            (TEXT, "", -99, "hide is -99, wanted at least"),
            ("[MASK] [MASK]", word, -1, r"target is .*, which is 1 tokens, wanted 2, one for")):
        with pytest.raises(ValueError, match=message):
            lesson_of(subject, text, target, hide)


@pytest.mark.parametrize("kind", ["transformer", "marian"])
def test_an_encoder_decoder_learns_a_target_text(kind, open_subject):
    subject = open_subject(kind)
    lesson = lesson_of(subject, TEXT, "the cat")
    labels = subject.tokenizer(text_target="the cat")["input_ids"]
    np.testing.assert_array_equal(lesson.targets, labels)
    np.testing.assert_array_equal(lesson.inputs["decoder_input_ids"][0, 1:], labels[:-1])
    own = lesson_of(subject, TEXT)
    with no_grad():
        logits = subject.model(**own.inputs).logits[0]
    n_said = len(own.targets) - 1  # the last one is the end, which it may not have reached
    np.testing.assert_array_equal(logits.argmax(axis=1)[:n_said], own.targets[:n_said])


def test_labels_by_their_names(open_subject):
    subject = open_subject("bert texts")
    assert lesson_of(subject, TEXT, subject.labels[1]).targets[0] == 1
    with pytest.raises(ValueError, match="target is 'nothing', wanted one of "):
        lesson_of(subject, TEXT, "nothing")
    subject = open_subject("bert tokens")
    n = len(subject.encode(TEXT)) - 2
    one, other = subject.labels[:2]
    np.testing.assert_array_equal(lesson_of(subject, TEXT, one).targets, [-1, *[0] * n, -1])
    lesson = lesson_of(subject, TEXT, " ".join([other] * n))
    np.testing.assert_array_equal(lesson.targets, [-1, *[1] * n, -1])
    with pytest.raises(ValueError, match=f"target has 2 labels, wanted 1, or {n}"):
        lesson_of(subject, TEXT, f"{one} {other}")


def test_an_answer_in_the_text(open_subject):
    subject = open_subject("bert spans")
    ids = subject.encode(TEXT)
    answer = subject.tokenizer.decode(ids[2:4])
    np.testing.assert_array_equal(lesson_of(subject, TEXT, answer).targets, [2, 3])
    with pytest.raises(ValueError, match="wanted words of the text"):
        lesson_of(subject, TEXT, "elsewhere and nowhere")
