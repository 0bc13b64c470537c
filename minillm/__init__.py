"""minillm: the transformer that a person can read from end to end, in NumPy and a small C kernel."""

__version__ = "0.1.0"

from minillm.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.optimizers import SGD, Adam, AdamW

__all__ = [
    "Adam",
    "AdamW",
    "GPT2Config",
    "GPT2LMHeadModel",
    "GPT2Model",
    "GPT2Tokenizer",
    "SGD",
]
