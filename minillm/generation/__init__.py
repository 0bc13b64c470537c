"""Decoding: from the scores of the next token to text.

In reading order: logits_processors.py, sampling.py, kv_cache.py, stepper.py, generate.py,
beam_search.py, text_stream.py; options.py checks what was asked for.
"""

from minillm.generation.generate import generate, stream
from minillm.generation.kv_cache import KVCache
from minillm.generation.text_stream import text_pieces
from minillm.models.generation_config import GenerationConfig

__all__ = ["GenerationConfig", "KVCache", "generate", "stream", "text_pieces"]
