"""Decoding: from the scores of the next token to text. Nothing here knows an architecture.

In reading order: logits_processors.py, warpers.py, sampling.py, processors.py, stopping.py,
decoding_state.py, generate.py, beam_search.py, drafts.py, speculative.py, mixins.py,
text_stream.py. fill_mask.py fills in what a masked language model expects.
generation_config.py declares the options, options.py checks and completes them, and prompts.py
checks the prompts that generation starts from.
"""

from minillm.generation.decoding_state import DecodingState
from minillm.generation.drafts import DraftCounts
from minillm.generation.generate import GenerateOutput, follow_beams, generate, stream
from minillm.generation.generation_config import GenerationConfig
from minillm.generation.mixins import CausalLMMixin, EncoderDecoderMixin, GenerationMixin
from minillm.generation.processors import LogitsProcessor, LogitsProcessorList
from minillm.generation.stopping import StoppingCriteria, StoppingCriteriaList
from minillm.generation.text_stream import TextIteratorStreamer, TextStreamer, text_pieces
from minillm.nn.module import inference

__all__ = [
    "CausalLMMixin",
    "DecodingState",
    "DraftCounts",
    "EncoderDecoderMixin",
    "GenerateOutput",
    "GenerationConfig",
    "GenerationMixin",
    "LogitsProcessor",
    "LogitsProcessorList",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextIteratorStreamer",
    "TextStreamer",
    "follow_beams",
    "generate",
    "inference",
    "stream",
    "text_pieces",
]
