from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from minillm import GPT2LMHeadModel, GPT2Tokenizer
from minillm.generation import stream, text_pieces

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"
TOKENIZER = GPT2Tokenizer.from_pretrained(TINY)


@given(st.text(max_size=30))
def test_characters_arrive_whole(text):
    pieces = list(text_pieces(TOKENIZER, TOKENIZER.encode(text)))
    assert "".join(pieces) == text.replace("<|endoftext|>", "")
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40), st.booleans())
@example([170, 255, 95], False)  # the bytes of a lone surrogate
def test_any_tokens_give_what_decode_gives(ids, skip_special_tokens):
    pieces = list(text_pieces(TOKENIZER, ids, skip_special_tokens))
    whole = TOKENIZER.decode(ids, skip_special_tokens)
    assert "".join(pieces) == whole.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    assert all(pieces)


def test_a_piece_comes_as_soon_as_it_is_complete():
    ids = TOKENIZER.encode("a世b")
    taken = []

    def tokens():
        for id in ids:
            taken.append(id)
            yield id

    pieces = text_pieces(TOKENIZER, tokens())
    assert next(pieces) == "a" and len(taken) == 1
    assert next(pieces) == "世" and len(taken) == len(ids) - 1
    assert list(pieces) == ["b"]


def test_an_id_without_a_token_is_no_text():
    """A model's vocabulary has such ids if it is padded to a round number."""
    ids = [*TOKENIZER.encode("a"), 5000, *TOKENIZER.encode("b")]
    assert "".join(text_pieces(TOKENIZER, ids)) == TOKENIZER.decode(ids) == "ab"


def test_tokens_that_are_no_bytes_are_decoded_together():
    class Words:
        all_special_ids = [0]

        def decode(self, ids):
            return " ".join("?abc"[id] for id in ids)

    assert list(text_pieces(Words(), [1, 0, 2, 3])) == ["a", " b", " c"]
    assert "".join(text_pieces(Words(), [0, 1], skip_special_tokens=False)) == "? a"


def test_from_the_model_to_the_terminal():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    prompt = TOKENIZER.encode("The import", return_tensors="np")
    options = dict(max_length=40, top_k=20, seed=0)
    pieces = text_pieces(TOKENIZER, stream(model, prompt, **options))
    expected = model.generate(prompt, **options)[0, prompt.shape[1] :]
    assert "".join(pieces) == TOKENIZER.decode(expected, skip_special_tokens=True)
