"""The drawings are well-formed SVG, in which nothing overlaps and everything is in view."""

import xml.etree.ElementTree as ElementTree

import pytest

from minillm.course import diagrams
from minillm.course.drawing import KINDS, Box, Diagram, text_width
from minillm import GPT2Config

SMALL = GPT2Config(vocab_size=2048, n_embd=128, n_layer=4, n_head=4, n_positions=128)
DRAWINGS = {
    "attention": diagrams.attention(),
    "causal attention": diagrams.attention(causal=True),
    "heads": diagrams.multi_head_attention(),
    "causal heads": diagrams.multi_head_attention(causal=True, d_model="d", d_head="D"),
    "feed-forward": diagrams.feed_forward(),
    "pre-norm": diagrams.block("pre"),
    "post-norm": diagrams.block("post", causal=False),
    "GPT-2": diagrams.gpt2(),
    "small GPT-2": diagrams.gpt2(SMALL),
    "untied GPT-2": diagrams.gpt2(GPT2Config(tie_word_embeddings=False)),
    "encoder-decoder": diagrams.encoder_decoder(),
    "pre-norm encoder-decoder": diagrams.encoder_decoder(norm="pre", layers=6),
    "training step": diagrams.training_step(),
    "training step of 4 layers": diagrams.training_step(layers=4),
}
PHONE = 480  # the widest drawing whose 12-pixel letters can still be read on a phone, in pixels


@pytest.mark.parametrize("diagram", DRAWINGS.values(), ids=DRAWINGS)
def test_drawing(diagram):
    assert diagram.problems() == []
    view = diagram.view_box
    assert view.width <= PHONE
    for part in diagram.texts + diagram.boxes + diagram.frames:
        assert view.left < part.left and part.right < view.right
        assert view.top < part.top and part.bottom < view.bottom
    root = ElementTree.fromstring(diagram.svg())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert len(texts) == len(diagram.texts) and all(texts)


def test_gpt2_names_the_sizes_of_its_config():
    texts = " ".join(text.name for text in DRAWINGS["small GPT-2"].texts)
    for size in ("2,048", "(B, T, 128)", "4 heads", "× 4", "128 → 512 → 128"):
        assert size in texts


def test_block_refuses_another_norm():
    with pytest.raises(ValueError, match="norm is 'middle', wanted 'pre' or 'post'"):
        diagrams.block("middle")


def test_text_is_escaped_and_scripts_become_tspans():
    d = Diagram()
    d.box("a < b & x_{ij}^{2}", 0, 0)
    (text,) = ElementTree.fromstring(d.svg()).iter("{http://www.w3.org/2000/svg}text")
    assert "".join(text.itertext()) == "a < b & xij2"
    assert len(list(text)) == 2


def test_width_of_text():
    assert text_width("", 14) == 0
    assert text_width("苹果", 14) == 28
    assert text_width("x_{i}", 14) < text_width("xi", 14) < text_width("xm", 14)


def test_problems_are_found():
    d = Diagram()
    upper = d.box("upper", 0, 0)
    lower = d.box("lower", 0, 120)
    d.arrow(upper, lower)
    assert d.problems() == []
    d.label("struck through", 0, 60, "middle")
    d.box("too near", 20, 10)
    assert "a line crosses 'struck through'" in d.problems()
    assert "'too near' overlaps 'upper'" in d.problems()


def test_kinds_differ_in_more_than_color():
    assert {has_parameters for _, _, has_parameters in KINDS.values()} == {True, False}


def test_box():
    box = Box(10, 20, 4, 6)
    assert (box.left, box.right, box.top, box.bottom) == (8, 12, 17, 23)
    assert not box.overlaps(Box(14, 20, 4, 6)) and box.overlaps(Box(13, 20, 4, 6))
