"""The worked example: what it computes, and that every way of showing it shows the same numbers."""

import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from rich.cells import cell_len

from minillm.course.running_example import CHINESE_WORDS, WORDS, X
from minillm.course.worked_example import (
    backward,
    backward_steps,
    differences,
    forward,
    forward_steps,
)
from minillm.course.worked_example_export import latex_text, to_latex, to_markdown, to_png
from minillm.course.worked_example_input import file_example, words_example
from minillm.course.worked_example_terminal import kept, number_format, step_lines
from minillm.ops.attention import attention, attention_backward

LABELS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=15)


@st.composite
def examples(draw, largest_d=6):
    words = draw(st.lists(LABELS, min_size=1, max_size=5))
    heads = draw(st.none() | st.integers(1, 3))
    d = draw(st.integers(1, largest_d)) if heads is None else heads * draw(st.integers(1, 2))
    return words_example(words, d, heads, draw(st.booleans()), draw(st.integers(0, 99)))


def lines_of(step, width=80, number=1, total=1):
    return [line.plain for line in step_lines(step, number, total, width)]


def from_text(text):
    """-> the number that a renderer wrote"""
    text = text.replace("−", "-").replace(r"\infty", "inf")
    text = re.sub(r" \\cdot 10\^{(-?\d+)}", r"e\1", text)
    return float(text.replace("∞", "inf"))


def assert_shown(texts, matrix, form):
    """The texts are the numbers of the matrix, rounded as everywhere."""
    assert texts == [form(x) for x in matrix.ravel()]
    spacing = 10.0 ** -len(texts[0].partition(".")[2].partition("e")[0])
    for text, x in zip(texts, matrix.ravel()):
        assert np.isclose(from_text(text), x, rtol=0.005, atol=0.51 * spacing)


# ------------------------------------------------------------------ the numbers


def test_the_running_example_is_that_of_the_course():
    example = words_example()
    values = forward(example)
    assert example.keys == WORDS and np.array_equal(values["X"], X)
    assert np.allclose(values["P"][0, 0, 0], [0.142, 0.285, 0.572], atol=5e-4)
    assert np.array_equal(forward(words_example(CHINESE_WORDS))["P"], values["P"])


@given(examples())
def test_it_is_the_attention_of_the_library(example):
    v = forward(example)
    out, P, cache = attention(v["Q"], v["K"], v["V"], bias=example.bias)
    assert np.array_equal(P, v["P"]) and np.array_equal(out, v["out"])
    g = backward(example)
    for name, gradient in zip("QKV", attention_backward(g["out"], cache)):
        assert np.array_equal(g[name], gradient)
    assert np.allclose(v["P"].sum(axis=-1), 1)
    if example.bias.causal:
        assert not np.triu(v["P"], 1).any()


@given(examples(), st.randoms())
def test_permuted_words_give_permuted_rows(example, random):
    if example.bias.causal:
        return
    order = list(range(len(example.keys)))
    random.shuffle(order)
    other = example._replace(inputs={**example.inputs, "X": example.inputs["X"][order]})
    before, after = forward(example), forward(other)
    assert np.allclose(after["out"], before["out"][:, :, order])
    assert np.allclose(after["P"], before["P"][:, :, order][:, :, :, order])


@settings(max_examples=25, deadline=None)
@given(examples(4))
def test_every_gradient_agrees_with_its_differences(example):
    for step in backward_steps(example):
        largest = max(np.abs(panel.matrix).max() for panel in step.panels)
        assert step.largest_difference <= 1e-6 * (1 + largest)
        for gradient, check in zip(step.panels[::2], step.panels[1::2]):
            assert gradient.rows == check.rows and gradient.columns == check.columns
            assert np.allclose(gradient.matrix, check.matrix, atol=1e-5, rtol=1e-5)


def test_the_differences_find_a_wrong_gradient():
    example = words_example()
    g = backward(example)
    wrong = g["Q"] * np.sqrt(10)  # the factor of the scaling forgotten
    assert np.abs(wrong - differences(example, "Q")).max() > 0.1
    assert np.abs(g["Q"] - differences(example, "Q")).max() < 1e-8


def test_the_gradient_of_x_is_the_sum_over_its_three_uses():
    g = backward(words_example())
    assert np.allclose(g["X"], (g["Q"] + g["K"] + g["V"])[0, 0])


def test_each_result_by_hand_is_the_number_in_the_matrix():
    """ "query · key = 0.1×0.9 + … = 8.25": what stands behind the last "=" is in the matrix."""
    for example in (words_example(), words_example(heads=2, causal=True)):
        for step in forward_steps(example) + backward_steps(example):
            for line in filter(None, step.pencil.split("\n")[-1:]):
                value = from_text(line.rpartition("= ")[2])
                shown = np.concatenate([panel.matrix.ravel() for panel in step.panels])
                assert np.isclose(shown, value, rtol=1e-3).any(), line


def test_the_sums_by_hand_are_right_when_written_out():
    example = words_example(["a", "b"], d=3)
    for step in forward_steps(example):
        left, sums, result = step.pencil.rpartition(" = ")
        if "×" in left:
            formula = left.rpartition("= ")[2].replace("×", "*").replace("−", "-")
            assert np.isclose(eval(formula), from_text(result), rtol=1e-2, atol=2e-3)


# ------------------------------------------------------------------ the terminal


@settings(max_examples=40, deadline=None)
@given(examples(), st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal(example, width):
    for step in forward_steps(example) + backward_steps(example):
        lines = lines_of(step, width)
        assert max(map(cell_len, lines)) <= width
        assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("words", [WORDS, CHINESE_WORDS])
def test_columns_are_aligned(width, words):
    """The bar behind the labels stands in one column, and the last cell of each row ends in one."""
    for step in forward_steps(words_example(words)):
        rows = [line for line in lines_of(step, width) if "│" in line]
        assert len({cell_len(row.partition("│")[0]) for row in rows}) == 1
        assert len({cell_len(row.rstrip()) for row in rows}) == 1


def test_a_wide_matrix_is_cut_in_the_middle_and_a_tall_one_too():
    step = forward_steps(words_example([f"w{i}" for i in range(40)], d=300))[0]
    lines = lines_of(step, 80)
    heading = next(line for line in lines if "│" in line).split("│")[1].split()
    assert heading[0] == "1" and heading[-1] == "300" and heading.count("…") == 1
    assert sum("⋮" in line for line in lines) == 1 and len(lines) < 35
    assert kept(5, 5) == [0, 1, 2, 3, 4] and kept(6, 5) == [0, 1, 2, None, 4, 5]
    assert kept(100, 1) == [0, None]


def test_a_gradient_stands_beside_its_differences_where_there_is_room():
    dX = backward_steps(words_example())[-1]
    wide, narrow = lines_of(dX, 180), lines_of(dX, 80)
    assert any("dX" in line and "differences" in line for line in wide)
    assert not any("dX" in line and "differences" in line for line in narrow)
    assert any("largest difference" in line for line in narrow)


def test_colors_say_size_and_sign():
    example = words_example()
    weights = next(step for step in forward_steps(example) if step.title == "Weights")

    def background(text):
        line = next(line for line in step_lines(weights, 1, 1, 80) if text in line.plain)
        spans = [span.style for span in line.spans
                 if text in line.plain[span.start : span.end] and hasattr(span.style, "bgcolor")]
        return sum(spans[0].bgcolor.triplet)

    assert background("0.824") < background("0.572") < background("0.027")  # larger is darker


def test_numbers_take_the_decimals_they_need():
    assert number_format([X])(0.1) == "0.1"
    assert number_format([np.array([[1.0, -2.0]])])(-2.0) == "−2"
    form = number_format([np.array([[1.23456, -0.0001]])])
    assert form(1.23456) == "1.235" and form(-0.0001) == "0.000" and form(0.0) == "0"
    assert number_format([np.array([[1.5e-5]])])(1.5e-5) == "1.50e−05"
    assert number_format([np.array([[-np.inf, 1.0]])])(-np.inf) == "−∞"
    assert number_format([np.zeros((0, 0))])(0.0) == "0"


# ------------------------------------------------------------------ exports


@settings(max_examples=25, deadline=None)
@given(examples())
def test_markdown_holds_the_computed_numbers(example):
    steps = forward_steps(example)
    tables = re.findall(r"(?:^\|.*\|\n)+", to_markdown(steps, "title"), re.MULTILINE)
    panels = [(panel, number_format([p.matrix for p in step.panels]))
              for step in steps for panel in step.panels]
    assert len(tables) == len(panels)
    for table, (panel, form) in zip(tables, panels):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()[2:]]
        assert len({len(row) for row in rows}) == 1  # words can't break a row
        columns = 1 + len(panel.columns)
        texts = [cell.strip() for row in rows for cell in row[1:columns]]
        assert_shown(texts, panel.matrix, form)


@settings(max_examples=25, deadline=None)
@given(examples())
def test_latex_is_balanced_and_holds_the_computed_numbers(example):
    steps = forward_steps(example)
    latex = to_latex(steps, " ".join(example.keys))
    bare = re.sub(r"\\[\\{}$&#%_]", "", latex)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert latex.count(r"\[") == latex.count(r"\]")
    assert re.findall(r"\\begin{(\w+)}", latex).count("array") == latex.count(r"\end{array}")
    arrays = re.findall(r"\\begin{array}{([r|]+)}\n(.*?)\\end{array}", latex, re.DOTALL)
    panels = [(panel, number_format([p.matrix for p in step.panels]))
              for step in steps for panel in step.panels]
    assert len(arrays) == len(panels)
    for (spec, body), (panel, form) in zip(arrays, panels):
        rows = [re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
                for line in body.splitlines()[1:]]
        assert {len(row) for row in rows} == {spec.count("r")}
        cells = [cell.strip() for row in rows for cell in row[1 : 1 + len(panel.columns)]]
        wanted = [form(x) for x in panel.matrix.ravel()]
        assert [from_text(cell) for cell in cells] == [from_text(text) for text in wanted]


def test_markdown_formulas_stand_alone():
    markdown = to_markdown(forward_steps(words_example()), "title")
    blocks = re.findall(r"\n\n\$\$\n(.+)\n\$\$\n\n", markdown)
    assert len(blocks) == 6 == markdown.count("$$") // 2
    assert not any("operatorname" in block for block in blocks)  # which GitHub refuses


def test_latex_escapes_what_words_may_contain():
    assert latex_text("a_b%c&d#e{f}$^~\\") == \
        r"a\_b\%c\&d\#e\{f\}\$\^{}\~{}\textbackslash{}"
    assert latex_text("√10 × dS_ij") == r"$\sqrt{10}$ $\times$ $dS_{ij}$"
    assert "ctex" in to_latex(forward_steps(words_example(CHINESE_WORDS)), "t")
    assert "ctex" not in to_latex(forward_steps(words_example()), "t")


@pytest.mark.parametrize("options", [{}, {"words": CHINESE_WORDS, "heads": 2, "causal": True},
                                     {"words": ["$x$", "_", "a" * 40], "d": 30}])
def test_the_poster_is_a_picture(options, capsys):
    example = words_example(**options)
    data = to_png(forward_steps(example), "title $")
    picture = imread(io.BytesIO(data))
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and picture.shape[0] > 500
    assert picture[..., :3].std() > 0.05  # something is drawn
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ files


def write(tmp_path, content):
    path = tmp_path / "own.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_of_ones_own(tmp_path):
    Q, K, V = [[1, 0.5]], [[1, 0], [0, 1], [1, 1]], [[1, 2], [3, 4], [5, 6]]
    path = write(tmp_path, {"Q": Q, "K": K, "V": V, "words": ["a", "b", "c"],
                            "query_words": ["who"], "mask": [True, False, True]})
    example = file_example(path)
    weights = np.exp(np.array([1, 1.5]) / np.sqrt(2))
    weights /= weights.sum()
    v = forward(example)
    assert np.allclose(v["P"][0, 0], [[weights[0], 0, weights[1]]])
    assert np.allclose(v["out"][0, 0], [weights[0] * np.array(V[0]) + weights[1] * np.array(V[2])])
    assert example.queries == ["who"] and example.keys == ["a", "b", "c"]
    for step in backward_steps(example):
        assert step.largest_difference < 1e-6


def test_a_file_with_x_alone(tmp_path):
    path = write(tmp_path, {"X": X.tolist(), "causal": True})
    example = file_example(path, heads=2)
    assert example.keys == ["w1", "w2", "w3"] and example.bias.causal and example.is_projected
    assert np.array_equal(forward(example)["X"], X)
    assert file_example(path, words=["I like", "apple"]).keys == WORDS


def test_a_query_that_sees_nothing(tmp_path):
    example = file_example(write(tmp_path, {"X": [[1, 2], [3, 4]], "mask": [False, False]}))
    steps = forward_steps(example) + backward_steps(example)
    assert all(np.isfinite(step.panels[0].matrix).all() for step in steps
               if step.title != "Masked scores")
    assert any("sees no key" in step.note for step in steps)


@pytest.mark.parametrize("content, message", [
    ({"Q": [[1, float("nan")]], "K": [[1, 2]], "V": [[1, 2]]}, "Q[0][1] is nan, wanted a number"),
    ({"X": [[float("inf")]]}, "X[0][0] is inf"),
    ({"X": [[1e300]]}, "X[0][0] is 1e+300, wanted at most 1000"),
    ({"X": [["1"]]}, "X[0][0] is '1', wanted a number"),
    ({"X": [[True]]}, "X[0][0] is True"),
    ({"X": [1, 2]}, "X[0] is 1, wanted a list"),
    ({"X": []}, "the number of rows of X is 0"),
    ({"X": [[]]}, "the length of X[0] is 0"),
    ({"X": [[0]] * 51}, "the number of rows of X is 51, wanted 1 to 50"),
    ({"X": [[0] * 513]}, "the length of X[0] is 513, wanted 1 to 512"),
    ({"X": [[1, 2], [3]]}, "X[1] has length 1, wanted 2"),
    ({"X": [[1]], "Q": [[1]]}, "has X and Q, wanted Q, K and V, or X alone"),
    ({"Q": [[1]], "K": [[1]]}, "has Q and K, wanted"),
    ({}, "has no matrix, wanted"),
    ({"Q": [[1, 2]], "K": [[1]], "V": [[1]]}, "K has shape (1, 1), wanted (1, 2): Q's columns"),
    ({"Q": [[1]], "K": [[1]], "V": [[1], [2]]}, "V has shape (2, 1), wanted (1, 1)"),
    ({"X": [[1]], "words": ["a", "b"]}, "words has 2 items, wanted 1"),
    ({"X": [[1]], "words": [""]}, "words[0] is empty"),
    ({"X": [[1]], "words": [1]}, "words[0] is 1, wanted a string"),
    ({"X": [[1]], "query_words": ["q"]}, "query_words needs Q, K and V"),
    ({"X": [[1]], "mask": [True, False]}, "mask has 2 items, wanted 1"),
    ({"X": [[1]], "mask": [1]}, "mask[0] is 1, wanted true or false"),
    ({"X": [[1]], "causal": "yes"}, "causal is 'yes', wanted true or false"),
    ({"X": [[1]], "word": []}, "has a field 'word', wanted only"),
    ([[1]], "holds a list, wanted a JSON object"),
    ("[" * 100_000, "nested more than 64 deep"),
    ('{"X": [[1]]', "is not valid JSON"),
    ('{"X": [[1]], "X": [[1]]}', "appears twice"),
])
def test_files_that_are_wrong(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as error:
        file_example(path)
    assert message in str(error.value) and "own.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arguments, message", [
    ({"words": []}, "the number of words is 0"),
    ({"words": ["  "]}, "the number of words is 0"),
    ({"words": ["a b"] * 26}, "the number of words is 52"),
    ({"d": 0}, "d is 0, wanted 1 to 512"), ({"d": 10**9}, "d is 1000000000"),
    ({"heads": 3}, "heads is 3, wanted a divisor of d = 10"),
    ({"heads": 0}, "heads is 0"), ({"d": 512, "heads": 32}, "heads is 32, wanted 1 to 16"),
    ({"seed": -1}, "seed is -1"), ({"seed": 2**64}, "seed is 18446744073709551616"),
])
def test_arguments_that_are_wrong(arguments, message):
    with pytest.raises(ValueError) as error:
        words_example(**arguments)
    assert message in str(error.value)


def test_gradients_of_too_many_numbers_are_refused():
    with pytest.raises(ValueError, match="wanted at most 20,000: take fewer words"):
        backward_steps(words_example(d=128, heads=2))


def test_words_can_not_break_the_lines(tmp_path):
    path = write(tmp_path, {"X": [[1]], "words": ["a\n\x1b[2J\u202e"]})
    assert file_example(path).keys == ["a\\n\\x1b[2J\\u202e"]
