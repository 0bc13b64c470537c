"""Decoding: from the scores of the next token to text.

In reading order: logits_processors.py, sampling.py, stepper.py, generate.py,
beam_search.py, text_stream.py; options.py checks what was asked for.
"""

from minillm.generation.generate import generate, stream
from minillm.generation.generation_config import GenerationConfig
from minillm.generation.text_stream import text_pieces

__all__ = ["GenerationConfig", "generate", "stream", "text_pieces"]
