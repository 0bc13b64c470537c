"""A text as something to learn: what each output of the model should have said, and the loss.

    lesson = lesson_of(subject, "The cat sat")
    loss = subject.model(**lesson.inputs).loss      the model's own, as training computes it
    lesson.losses(output)                           its terms, one for each token
"""

from dataclasses import dataclass

import numpy as np

from minillm.insight.anatomy import Anatomy
from minillm.nn.module import no_grad
from minillm.ops.cross_entropy import token_losses


@dataclass(frozen=True)
class Lesson:
    """What a model learns from one text: R outputs, each with the number of what is right.

    inputs: the arguments of the model's forward, the labels among them
    kind: "next token", "masked token", "target text", "label", "number", "token labels" or "span"
    rows: R strings, where each output stands: its token, or what it is about
    targets: int64 (R,), the id of the right token or label; -1 where nothing is asked
    target_names: R strings, "" where nothing is asked
    position: the row to explain
    """

    inputs: dict
    kind: str
    rows: list
    targets: np.ndarray
    target_names: list
    position: int

    def scores(self, output):
        """-> the logits of the R outputs, float (R, C)"""
        if self.kind in ("label", "number"):
            return output.logits
        return output.logits[0].T if self.kind == "span" else output.logits[0]

    def losses(self, output):
        """-> the cross-entropy of each output: float (R,), nan where nothing is asked

        The loss is the mean of those that aren't nan (of a number: its squared error).
        """
        z = np.ascontiguousarray(self.scores(output))
        if self.kind == "number":
            return ((z[0] - self.inputs["labels"].ravel()) ** 2).astype(z.dtype)
        losses, _ = token_losses(z, self.targets, 0.0)
        return np.where(self.targets >= 0, losses, np.nan).astype(z.dtype)


def lesson_of(subject, text, target="", hide=-1):
    """-> Lesson

    text: what the model reads
    target: what it should say: an encoder-decoder's text; the tokens that [MASK]s hide; the label
        of a text, or those of its tokens with spaces between them, one for all or one for each; the
        words of an answer that occur in the text; a number. "": what the model itself finds
        likeliest, so that learning makes it more certain. A decoder has no target but the text.
    hide: in a masked language model and a text without [MASK], the position of the token that is
        hidden; negative: counted from the last one that isn't special

    Raises ValueError, in one line, for a model without a loss and for a target that doesn't fit.
    """
    says = subject.says
    if says in (None, "vector"):
        raise ValueError(f"the model is a {subject.architecture}, which has no head: it "
                         "says nothing, so it has no loss, and there is nothing to learn")
    if subject.is_encoder_decoder:
        return _target_text(subject, text, target)
    reading = subject.read(text)
    if says == "token" and Anatomy(subject.model).blocks[-1].module.attention.causal:
        return _next_tokens(subject, reading)
    find = {"token": _masked, "text label": _label, "token label": _token_labels, "span": _span}
    return find[says](subject, reading, target, hide)


def _next_tokens(subject, reading):
    """Position t learns token t + 1."""
    ids = reading.ids
    if len(ids) < 2:
        raise ValueError("the text has 1 token, wanted at least 2: each one is learned from those "
                         "before it")
    targets = np.append(ids[1:], -1)
    return Lesson({**reading.inputs, "labels": ids[None]}, "next token", reading.tokens, targets,
                  [*reading.tokens[1:], ""], len(ids) - 1)


def _target_text(subject, text, target):
    """Each output learns the target's next token; the decoder reads the start token and the target
    but for its last token.
    """
    if target:
        labels = np.array(subject.tokenizer(text_target=target)["input_ids"])
        reading = subject.read(text, target)
        inputs = reading.ids[:1]
    else:
        reading = subject.read(text)
        labels, inputs = reading.ids[1:], reading.ids[:1]
        end = subject.model.config.eos_token_id
        labels = np.append(labels, [] if end is None else np.ravel(end)[:1]).astype(np.int64)
    if not len(labels):
        raise ValueError("target is empty, wanted the text that the model should write")
    limit = subject.model.config.position_limit
    if limit is not None and len(labels) > limit:
        raise ValueError(f"target has {len(labels)} tokens, wanted at most {limit}")
    inputs = np.append(inputs, labels[:-1])
    return Lesson({"input_ids": reading.source_ids[None], "decoder_input_ids": inputs[None],
                   "labels": labels[None]}, "target text", subject.names(inputs), labels,
                  subject.names(labels), min(reading.position, len(labels) - 1))


def _masked(subject, reading, target, hide):
    """The hidden tokens are learned from all others.         (Devlin et al. 2019, section 3.1)"""
    ids, mask = reading.ids.copy(), subject.tokenizer.mask_token_id
    masks = np.flatnonzero(ids == mask)
    if masks.size:
        right = (subject.tokenizer.encode(target, add_special_tokens=False) if target
                 else _own(subject, reading.inputs).logits[0, masks].argmax(axis=-1))
        if len(right) != len(masks):
            raise ValueError(f"target is {target!r}, which is {len(right)} tokens, wanted "
                             f"{len(masks)}, one for each {subject.tokenizer.mask_token}")
    else:
        if mask is None:
            raise ValueError("the tokenizer has no mask token, wanted one to hide what is learned")
        masks = _hidden(subject, ids, hide)
        right, ids[masks] = ids[masks], mask
    targets = np.full(len(ids), -1)
    targets[masks] = right
    names = np.full(len(ids), "", object)
    names[masks] = subject.names(right)
    labels = np.where(targets < 0, -100, targets)
    return Lesson({**reading.inputs, "input_ids": ids[None], "labels": labels[None]},
                  "masked token", subject.names(ids), targets, list(names), int(masks[0]))


def _hidden(subject, ids, hide):
    """-> int (1,): the position of the token to hide"""
    plain = _plain(subject, ids)
    if hide < 0:
        if -hide > len(plain):
            raise ValueError(f"hide is {hide}, wanted at least {-len(plain)}: the text has "
                             f"{len(plain)} tokens that can be hidden")
        return plain[hide][None]
    if hide not in plain:
        raise ValueError(f"hide is {hide}, wanted the position of a token that isn't special: "
                         f"{', '.join(map(str, plain)) or 'the text has none'}")
    return np.array([hide])


def _label(subject, reading, target, hide):
    config, inputs = subject.model.config, reading.inputs
    if getattr(config, "problem_type", None) == "multi_label_classification":
        raise ValueError("the model gives a text several labels at once, wanted one that gives it "
                         "one label, or a number")
    logits = _own(subject, inputs).logits
    if logits.shape[1] == 1 or getattr(config, "problem_type", None) == "regression":
        try:
            wanted = [[float(each) for each in target.split()]] if target else logits.round()
        except ValueError:
            raise ValueError(f"target is {target!r}, wanted a number") from None
        wanted = np.array(wanted, logits.dtype)
        if wanted.shape != logits.shape:
            raise ValueError(f"target is {target!r}, wanted {logits.shape[1]} numbers")
        return Lesson({**inputs, "labels": wanted}, "number", subject.labels,
                      np.full(logits.shape[1], -1), [f"{x:g}" for x in wanted[0]], 0)
    right = subject.token("target", target) if target else int(logits[0].argmax())
    return Lesson({**inputs, "labels": np.array([right])}, "label", [reading.text],
                  np.array([right]), subject.answer_names([right]), 0)


def _token_labels(subject, reading, target, hide):
    plain = _plain(subject, reading.ids)
    right = _own(subject, reading.inputs).logits[0, plain].argmax(axis=-1)
    names = target.split()
    if names:
        if len(names) not in (1, len(plain)):
            raise ValueError(f"target has {len(names)} labels, wanted 1, or {len(plain)}, one for "
                             "each token")
        right = [subject.token("target", name) for name in names * (len(plain) // len(names))]
    targets = np.full(len(reading.ids), -1)
    targets[plain] = right
    labels = np.where(targets < 0, -100, targets)
    names = ["" if id < 0 else subject.labels[id] for id in targets]
    return Lesson({**reading.inputs, "labels": labels[None]}, "token labels", reading.tokens,
                  targets, names, reading.position)


def _span(subject, reading, target, hide):
    """The first and the last token of the answer are learned."""
    ids = reading.ids
    if target:
        words = subject.tokenizer.encode(target, add_special_tokens=False)
        places = [start for start in range(len(ids) - len(words) + 1)
                  if list(ids[start : start + len(words)]) == list(words)]
        if not places or not words:
            raise ValueError(f"target is {target!r}, wanted words of the text")
        start, end = places[-1], places[-1] + len(words) - 1  # the last: the question comes first
    else:
        start, end = _own(subject, reading.inputs).logits[0].argmax(axis=0)
    positions = {"start_positions": np.array([start]), "end_positions": np.array([end])}
    return Lesson({**reading.inputs, **positions}, "span", ["start", "end"], np.array([start, end]),
                  [reading.tokens[start], reading.tokens[end]], 0)


def _plain(subject, ids):
    """-> the positions of the tokens that aren't special"""
    return np.flatnonzero(~np.isin(ids, list(subject.tokenizer.all_special_ids)))


def _own(subject, inputs):
    """-> what the model says"""
    with no_grad():
        return subject.model(**inputs)
