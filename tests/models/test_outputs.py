"""Outputs as dicts, as tuples and as objects: the rules of `transformers`."""

from dataclasses import dataclass

import pytest

from minillm.models.outputs import ModelOutput


@dataclass
class Scores(ModelOutput):
    loss: float | None = None
    logits: list | None = None
    attentions: tuple | None = None


def test_an_output_is_a_dict_of_what_is_there():
    output = Scores(logits=[1, 2], attentions=())
    assert "logits" in output and "loss" not in output and "attentions" in output
    assert list(output) == output.keys() == ["logits", "attentions"]
    assert output.items() == [("logits", [1, 2]), ("attentions", ())]
    assert len(output) == 2 and dict(output) == {"logits": [1, 2], "attentions": ()}
    assert output.get("loss", 7) == 7 and output.get("logits") == [1, 2]


def test_an_output_is_a_tuple_of_what_is_there():
    output = Scores(logits=[1, 2], attentions=())
    assert output[0] is output.logits is output["logits"]
    assert output[:] == output.to_tuple() == ([1, 2], ())
    for key, error in (("loss", KeyError), ("nothing", KeyError), (2, IndexError)):
        with pytest.raises(error):
            output[key]
