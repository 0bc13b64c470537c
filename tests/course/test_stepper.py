"""The recording of a run, the walk in it, and the steps as lines."""

import sys

import numpy as np
import pytest

from minillm import kernels
from minillm.course.stepper.plain import lines_of
from minillm.course.stepper.recording import RETURNED, record
from minillm.course.stepper.session import record_text, token_label
from minillm.course.stepper.snapshots import CORNER, LARGEST, Keeper
from minillm.course.stepper.variables import Picture, rows_of
from minillm.course.stepper.walk import Walk, layer_of, n_layers
from minillm.insight.source import function_of
from minillm.models.auto import AutoModelForCausalLM
from minillm.ops.attention import add_bias
from minillm.ops.layer_norm import layer_norm, layer_norm_backward
from minillm.text.auto import AutoTokenizer

TEXT = "The class statement"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained("pydoc-tiny")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained("pydoc-tiny")


@pytest.fixture(scope="module")
def forward(model, tokenizer):
    return record_text(model, tokenizer, TEXT)


@pytest.fixture(scope="module")
def backward(model, tokenizer):
    return record_text(model, tokenizer, TEXT, backward=True)


def returned(session):
    return session.recording.steps[-1].changes[RETURNED]


def first_step_of(session, name, path=None):
    return next(step for step in session.recording.steps
                if step.call.name == name and path in (None, step.call.path))


# ---------------------------------------------------------------- what is recorded


def test_a_recording_changes_no_number(model, tokenizer, forward):
    with kernels.use("numpy"):
        logits = model(np.array([tokenizer.encode(TEXT)])).logits
    assert np.array_equal(forward.recording.steps[-1].variables()["logits"].kept, logits)
    assert returned(forward).kept.sum() == pytest.approx(1, abs=1e-5)


def test_the_gradients_are_those_of_the_model(model, tokenizer, backward):
    ids = np.array([tokenizer.encode(TEXT)])
    model.zero_grad()
    with kernels.use("numpy"):
        model(ids, labels=ids).loss.backward()
    kept = dict(backward.recording.steps[-1].variables()["gradients"].parts)
    for name, parameter in model.named_parameters():
        assert np.array_equal(kept[name].kept, parameter.grad), name


def test_it_leaves_python_as_it_was(model, tokenizer):
    tracer, empty, before = sys.gettrace(), np.empty, kernels.current()
    with pytest.raises(ValueError, match="the text is empty"):
        record_text(model, tokenizer, "")
    record_text(model, tokenizer, "a", kernels="c" if before == "c" else "numpy")
    assert sys.gettrace() is tracer and np.empty is empty and kernels.current() == before


def test_every_step_shows_the_statement_that_runs(forward, backward):
    for session in (forward, backward):
        for step in session.recording.steps:
            function, statement = step.call.function, step.statement
            assert function.first <= statement.first <= statement.last <= function.last
            assert function.text(statement)


def test_a_statement_over_several_lines_is_one_step(forward):
    steps = first_step_of(forward, "CausalLM.forward").call.steps
    texts = [step.call.function.text(step.statement) for step in steps]
    assert sum(text.startswith("base = self.base_model(input_ids, ") for text in texts) == 1


def test_a_with_block_is_entered_once(forward):
    steps = first_step_of(forward, "CausalLM.forward").call.steps
    assert sum(step.statement.opens_block for step in steps) == 1


def test_a_loop_leaves_a_step_for_each_round(forward):
    steps = first_step_of(forward, "GPT2Model.forward").call.steps
    blocks = [step for step in steps
              if step.call.function.text(step.statement).startswith("x = block(")]
    assert len(blocks) == n_layers(forward.recording) == 4


def test_variables_are_those_before_the_statement(forward):
    steps = first_step_of(forward, "layer_norm").call.steps
    assert set(steps[0].variables()) == {"x", "weight", "bias", "eps"}
    assert list(steps[1].changes) == ["mean"] and list(steps[2].changes) == ["variance"]
    x, mean = (steps[-1].variables()[name].kept for name in ("x", "mean"))
    assert np.array_equal(mean, x.mean(axis=-1, keepdims=True))


def test_what_changes_in_place_is_kept_as_it_was(forward):
    steps = first_step_of(forward, "add_bias").call.steps
    before, after = steps[0].variables()["S"], steps[-1].variables()["S"]
    assert np.isfinite(before.kept).all()
    assert np.isneginf(after.kept[..., 0, 1:]).all()


def test_new_memory_is_not_written_yet(forward):
    steps = first_step_of(forward, "matmul").call.steps
    assert steps[0].variables()["out"].is_unwritten
    assert not steps[-1].variables()["out"].is_unwritten


def test_a_statement_shows_the_attributes_that_it_reads(forward):
    step = first_step_of(forward, "LayerNorm.forward", "transformer.h.0.norm1")
    assert {"self.weight.data", "self.bias.data", "self.eps"} <= set(step.attributes)
    assert step.attributes["self.weight.data"].is_weight


def test_checks_and_machinery_are_passed_over(backward):
    texts = {step.call.function.text(step.statement) for step in backward.recording.steps}
    assert not any(text.startswith(("require_", "self._check")) for text in texts)
    names = {step.call.name for step in backward.recording.steps}
    assert not names & {"Module.__call__", "Module.remember", "dispatch"}


def test_every_backward_of_the_model_is_there(model, backward):
    ran = {step.call.path for step in backward.recording.steps if "backward" in step.call.name}
    layers = {path for path, module in model.named_modules()
              if "backward" in vars(type(module)) and path}
    assert layers <= ran
    assert {"layer_norm_backward", "fused_attention_backward", "linear_backward",
            "gelu_tanh_backward", "scatter_add", "token_losses_backward"} <= {
        step.call.name for step in backward.recording.steps}


@pytest.mark.skipif(kernels.current() != "c", reason="the C extension isn't built")
def test_with_c_each_kernel_is_one_step(model, tokenizer):
    session = record_text(model, tokenizer, TEXT, kernels="c")
    calls = {step.call for step in session.recording.steps if step.call.in_c}
    assert {"matmul", "layer_norm", "gelu_tanh", "fused_attention"} <= {c.name for c in calls}
    assert all(len(call.steps) == 1 for call in calls)
    numpy = record_text(model, tokenizer, TEXT)
    assert np.allclose(returned(session).kept, returned(numpy).kept, atol=1e-4)


def test_an_error_of_the_program_is_raised():
    def program(x):
        layer_norm(x, x, x)

    with pytest.raises(ValueError):
        record(program, (np.zeros((2, 3), np.float32),), Keeper({}, []), {})
    assert sys.gettrace() is None or sys.gettrace().__name__ != "trace"


@pytest.mark.parametrize("text, options, message", [
    ("", {}, "the text is empty"),
    ("word " * 200, {}, "tokens, wanted at most 128"),
    ("a", {"backward": True}, "the text has 1 token, wanted at least 2"),
])
def test_bad_texts(model, tokenizer, text, options, message):
    with pytest.raises(ValueError, match=message):
        record_text(model, tokenizer, text, **options)


def test_a_quantized_model_is_refused(tokenizer):
    model = AutoModelForCausalLM.from_pretrained("pydoc-tiny").quantize("int8")
    with pytest.raises(ValueError, match="the model is quantized"):
        record_text(model, tokenizer, TEXT)


# ---------------------------------------------------------------- snapshots


def test_an_unchanged_array_is_kept_once():
    keeper, array = Keeper({}, []), np.arange(6.0)
    first = keeper.keep(array)
    assert keeper.keep(array) is first
    array[2] = 9
    second = keeper.keep(array)
    assert second is not first and first.kept[2] == 2 and second.kept[2] == 9


def test_weights_are_not_copied():
    weight = np.zeros((3, 3), np.float32)
    assert Keeper({}, [weight]).keep(weight).kept is weight


def test_memory_is_bounded():
    keeper = Keeper({}, [], budget=100_000)
    kept = [keeper.keep(np.full((100, 100), float(i))) for i in range(5)]
    assert [snapshot.is_whole for snapshot in kept] == [True, False, False, False, False]
    large = Keeper({}, []).keep(np.ones((2, 1000, LARGEST // 4000), np.float32))
    assert large.kept.shape == (1, CORNER, CORNER) and large.mean == 1


def test_a_change_of_a_large_array_is_noticed():
    keeper, array = Keeper({}, []), np.zeros(LARGEST, np.float32)
    first = keeper.keep(array)
    assert keeper.keep(array) is first
    array += 1
    assert keeper.keep(array).mean == 1


# ---------------------------------------------------------------- the walk


def test_next_stays_in_the_function_and_then_in_its_caller(forward):
    walk = Walk(forward.recording)
    assert walk.continue_to("layer_norm")
    call = walk.step.call
    while not walk.step.is_return:
        assert walk.step.call is call
        walk.next()
    walk.next()
    assert walk.step.call is call.caller


def test_into_visits_every_step(forward):
    walk, seen = Walk(forward.recording), 1
    while walk.into():
        seen += 1
    assert seen == len(forward.recording.steps) and walk.is_at_end


def test_next_from_the_root_visits_only_the_root(forward):
    walk = Walk(forward.recording)
    while walk.next():
        assert walk.step.call is forward.recording.root
    assert walk.is_at_end and walk.step.is_return


def test_out_and_back(forward):
    walk = Walk(forward.recording)
    walk.continue_to("softmax")
    inside = walk.step
    walk.out()
    assert walk.step.call is inside.call.caller
    walk.back()
    assert walk.step is inside
    walk.back()
    assert walk.step.index == 0 and not walk.back()


def test_back_undoes_any_moves(forward):
    walk, way = Walk(forward.recording), []
    for move in ("next", "into", "into", "out", "end", "start") * 3:
        before = walk.step
        if getattr(walk, move)():
            way.append(before)
    while way:
        walk.back()
        assert walk.step is way.pop()


def test_continue_to_a_layer_a_function_and_a_module(forward):
    walk = Walk(forward.recording)
    for layer in (2, 0, 3):  # looks ahead, then from the start
        assert walk.continue_to(str(layer))
        assert layer_of(walk.step.call) == layer and walk.step is walk.step.call.steps[0]
    assert walk.continue_to("feed_forward") and walk.step.call.path.endswith("h.3.feed_forward")
    assert walk.continue_to("layer_norm") and walk.step.call.name == "layer_norm"
    assert walk.continue_to("h.1.norm2") and walk.step.call.path == "transformer.h.1.norm2"
    here = walk.step
    assert not walk.continue_to("9") and not walk.continue_to("nothing") and walk.step is here


def test_a_backward_starts_at_the_loss(backward):
    walk = Walk(backward.recording, backward.start)
    assert walk.step.call.function.text(walk.step.statement) == "loss.backward()"
    walk.continue_to("2")
    assert walk.step.call.name == "DecoderBlock.backward"


# ---------------------------------------------------------------- what is shown


def test_rows_begin_with_what_is_new(forward):
    steps = first_step_of(forward, "layer_norm").call.steps
    assert rows_of(steps[1])[0].name == "mean" and rows_of(steps[1])[0].is_new
    assert rows_of(steps[-1])[0].name == RETURNED
    assert f"{RETURNED}[0]" in [row.name for row in rows_of(steps[-1])]
    assert not any(row.is_new for row in rows_of(steps[0]))


def test_axes_of_tokens_are_labeled(forward):
    tokens = ["The", "·class", "·statement"]
    steps = first_step_of(forward, "fused_attention").call.steps
    variables = steps[-1].variables()
    P, Q = (Picture(name, variables[name], forward) for name in "PQ")
    assert P.row_labels == P.column_labels == Q.row_labels == tokens
    assert Q.column_labels is None
    step = first_step_of(forward, "Linear.forward", "transformer.h.0.attention.qkv")
    weight = Picture("W", step.attributes["self.weight.data"], forward)
    assert weight.row_labels is weight.column_labels is None


def test_labels_when_the_tokens_are_as_many_as_a_head_is_wide(model, tokenizer):
    session = record_text(model, tokenizer, " a" * 32)
    assert len(session.tokens) == model.config.n_embd // model.config.n_head
    variables = first_step_of(session, "fused_attention").call.steps[-1].variables()
    P, Q, x = (Picture(name, snapshot, session) for name, snapshot in [
        ("P", variables["P"]), ("Q", variables["Q"]),
        ("x", first_step_of(session, "DecoderBlock.forward").variables()["x"])])
    assert P.row_labels == P.column_labels == x.row_labels == session.tokens
    assert Q.column_labels is x.column_labels is None


def test_numbers_over_the_vocabulary_are_ranked(forward):
    picture = Picture("returned", returned(forward), forward)
    best = forward.vocabulary[returned(forward).kept.argmax()]
    assert picture.kinds[0] == "ranking" and picture.draw(40, 5).plain.startswith(best)


@pytest.mark.parametrize("width, height", [(10, 2), (40, 8), (200, 60)])
def test_every_array_can_be_drawn_in_every_way(forward, backward, width, height):
    for session in (forward, backward):
        for step in session.recording.steps[::211]:
            for row in rows_of(step):
                if hasattr(row.value, "kept"):
                    picture = Picture(row.name, row.value, session)
                    for kind in (None, *picture.kinds):
                        text = picture.draw(width, height, kind, picture.size[0] - 1, 1, 1)
                        assert len(text.plain.split("\n")) <= height


def test_token_labels(tokenizer):
    assert token_label(tokenizer, tokenizer.encode(" class")[0]) == "·class"
    assert token_label(tokenizer, tokenizer.encode("\n")[0]) == "\\n"
    assert token_label(tokenizer, tokenizer.encode("\x1b")[0]) == "\\x1b"
    assert token_label(tokenizer, tokenizer.encode("ä")[0]).isprintable()


def test_plain_lines(forward):
    lines = list(lines_of(forward))
    assert lines[0].startswith("predict  (minillm/course/stepper/session.py:")
    assert any("scale * matmul(Q" in line for line in lines)
    block = list(lines_of(forward, layer=2))
    assert block[1].startswith("transformer.h.2: DecoderBlock.forward")
    assert not any("h.1" in line or "h.3" in line for line in block)
    short = list(lines_of(forward, layer=2, depth=0))
    assert len(short) < 10 and set(short) <= set(block)


# ---------------------------------------------------------------- source


def test_the_source_of_a_kernel_has_its_derivation():
    function = function_of(layer_norm_backward.__wrapped__.__code__)
    assert "dx = (dx̂ - mean(dx̂)" in "\n".join(function.comment_above())
    assert function.lines()[0].startswith("@kernel(") and function.place.endswith("layer_norm.py")


def test_statements_of_a_function():
    function = function_of(add_bias.__code__)
    line = next(number for number, text in enumerate(function.lines(), function.first)
                if "if causal" in text)
    statement = function.statement(line)
    assert statement.first == statement.last == line and "causal" in statement.names
