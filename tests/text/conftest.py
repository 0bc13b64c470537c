import json
from pathlib import Path

import pytest

from minillm.text.gpt2_tokenizer import GPT2Tokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "tokenizer"


@pytest.fixture(scope="session")
def fixtures():
    """Files that Hugging Face's libraries wrote; see tests/fixtures/make_tokenizer.py."""
    return FIXTURES


@pytest.fixture(scope="session")
def expected():
    return json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def tokenizer():
    """400 tokens and <pad>; a fresh one for each test, so that a test may change it."""
    return GPT2Tokenizer.from_pretrained(FIXTURES / "transformers")
