"""Pieces of text: joined they are the text up to the first stop string, and none is taken back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.serving.output import Output

LOGITS = np.zeros(2048, np.float32)


@given(text=st.text("ab é", max_size=30), data=st.data(),
       stop=st.lists(st.text("ab é", min_size=1, max_size=3), max_size=3))
def test_pieces_end_before_the_first_stop_string(served, text, data, stop):
    ids = served.tokenizer.encode(text)
    output, pieces = Output(served.tokenizer, stop=stop, n_top=0), []
    for n, id in enumerate(ids, 1):
        is_stopped = output.push(id, LOGITS)
        pieces.append(output.take()[0])
        decoded = served.tokenizer.decode(ids[:n]).rstrip("\ufffd")
        assert is_stopped == any(each in decoded for each in stop)
        assert text.startswith("".join(pieces))
        if is_stopped:
            text = decoded  # what comes later was never written
            break
    output.finish()
    pieces.append(output.take(is_last=True)[0])
    cuts = [at for each in stop if (at := text.find(each)) >= 0]
    assert "".join(pieces) == (text[: min(cuts)] if cuts else text)
    for score in output.scores:
        assert score.offset <= len(output.text)


def test_half_a_character_becomes_a_replacement(served):
    first = served.tokenizer.encode("é")
    if len(first) < 2:
        return
    output = Output(served.tokenizer)
    output.push(first[0], LOGITS)
    assert output.take()[0] == ""
    output.finish()
    assert output.take(is_last=True)[0] == "\ufffd"
