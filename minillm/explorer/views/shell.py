"""What the page's frame asks: which models there are, and the tokens of a text."""

import numpy as np

from minillm.explorer.question import TOP, has_answers, probabilities
from minillm.explorer.views import offline, view
from minillm.insight.anatomy import stacks_of
from minillm.insight.subject import Subject
from minillm.nn.module import no_grad

LONGEST_ANSWERED = 512  # tokens of a text whose answer stands above every view


@view
def subjects(explorer) -> dict:
    """The models: their keys, names and sizes, and the text to begin with"""
    return {"text": explorer.text,
            "subjects": [{"key": key, **described(subject)}
                         for key, subject in explorer.subjects.items()]}


def described(subject):
    """-> dict: what the page says about a model"""
    model, config = subject.model, subject.model.config
    blocks = [block for stack in stacks_of(model).values() for block in stack]
    return {
        "name": subject.name, "architecture": subject.architecture, "model_type": config.model_type,
        "n_layers": len(blocks), "n_heads": blocks[0].n_heads if blocks else 0,
        "d_model": config.hidden_size, "vocab_size": config.vocab_size,
        "position_limit": config.position_limit, "n_parameters": model.num_parameters(),
        "predicts_tokens": subject.predicts_tokens, "mask": subject.tokenizer.mask_token,
        "run": subject.folder is not None and (subject.folder.parent / "run.json").is_file(),
    }


@view
def tokens(subject: Subject, text: str) -> dict:
    """The text's tokens and their ids, and the position whose prediction is explained"""
    reading = subject.read(text)
    return {"tokens": reading.tokens, "ids": reading.ids, "position": reading.position}


@view
def answer(subject: Subject, text: str) -> dict:
    """What the model says to the text: the likeliest tokens or labels, where it is asked

    kind: "next", "hidden" (a mask's token) or "label";  position, token: where, None of a text's
    top: list of {id, name, p, then: the text with this token, or None}; empty for a model that says
        nothing, and for a long text
    """
    reading = subject.read(text)
    found = {"kind": "label", "position": None, "token": None, "top": []}
    if not has_answers(subject) or len(reading.input_tokens) > LONGEST_ANSWERED:
        return found
    with no_grad():
        P = probabilities(subject.model(**reading.inputs).logits, reading.position)[0]
    if subject.says != "text label":
        found.update(position=reading.position, token=reading.tokens[reading.position])
    if subject.says == "token":
        found["kind"] = "next" if hasattr(subject.model, "prefill") else "hidden"
    best = np.argsort(-P, kind="stable")[:TOP].tolist()
    found["top"] = [{"id": id, "name": name, "p": float(P[id]), "then": _then(subject, text, id)}
                    for id, name in zip(best, subject.answer_names(best))]
    return found


def _then(subject, text, id):
    """-> the text with the token after it, or in the place of its mask; None if it has none"""
    mask = subject.tokenizer.mask_token
    if subject.says != "token" or subject.is_encoder_decoder:
        return None
    if hasattr(subject.model, "prefill"):
        return text + subject.tokenizer.decode([id])
    return text.replace(mask, subject.tokenizer.decode([id]).strip(), 1) if mask in text else None


@offline
def offline_shell(subject, text):
    yield "tokens", {}
    yield "answer", {}
