import pytest
from serving_models import serving

from minillm.models.auto import AutoModelForCausalLM
from minillm.serving.parameters import Served
from minillm.text.auto import AutoTokenizer


@pytest.fixture(scope="session")
def served():
    """The packaged model"""
    model = AutoModelForCausalLM.from_pretrained("pydoc-tiny").quantize("float32")
    return Served(model, AutoTokenizer.from_pretrained("pydoc-tiny"), "pydoc-tiny")


@pytest.fixture(scope="session")
def server(served):
    with serving(served) as running:
        yield running
