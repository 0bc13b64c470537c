import sys

import pytest

from minillm.course.debugging import debug, place
from minillm.nn.attention import SelfAttention
from minillm.ops.layer_norm import layer_norm
from minillm.ops.softmax import softmax


def double(x):
    y = 2 * x
    return y


def test_a_session_shows_commands_and_answers():
    session = debug(lambda: double(21), ["step", "step", "next", "p y"])
    assert "(Pdb) p y\n42\n(Pdb) quit" in repr(session)
    assert sys.gettrace() is None or "pdb" not in repr(sys.gettrace())


def test_breakpoints():
    import numpy as np

    session = debug(lambda: softmax(np.zeros((1, 4), np.float32)),
                    [f"tbreak {place(softmax, 'total =')}", "continue", "p e.shape", "continue"])
    assert "minillm/ops/softmax.py" in session.text and "(1, 4)" in session.text


def test_a_place_is_a_line_of_the_source():
    file, line = place(layer_norm, "variance =").split(":")
    assert file == "minillm/ops/layer_norm.py" and int(line) > 10
    assert place(SelfAttention.forward, "kv_cache.append").startswith("minillm/nn/attention.py:")
    with pytest.raises(ValueError, match="layer_norm has no line"):
        place(layer_norm, "nothing of the kind")
