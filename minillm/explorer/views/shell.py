"""What the page's frame asks: which models there are, and the tokens of a text."""

from minillm.explorer.views import offline, view
from minillm.insight.anatomy import stacks_of
from minillm.insight.subject import Subject


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


@offline
def offline_shell(subject, text):
    yield "tokens", {}
