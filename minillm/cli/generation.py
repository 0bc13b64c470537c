"""`minillm generate`: continue a text, written to the terminal as it comes."""

import sys

from minillm.generation import generate as generate_ids
from minillm.generation import stream
from minillm.generation.text_stream import text_pieces
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.run import model_folder

SAMPLING = {"temperature": 0.8, "top_k": 50, "top_p": 0.95}


def generate(options):
    prompt = options.prompt if options.prompt is not None else read_stdin("prompt")
    folder = model_folder(options.model)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=options.dtype)
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    ids = tokenizer.encode(prompt, return_tensors="np")
    if ids.size == 0:
        raise ValueError("the prompt is empty, wanted some text to continue")
    if options.max_new_tokens is None:
        # A prompt that leaves no room at all is an error, which `stream` and `generate` tell.
        options.max_new_tokens = max(1, min(100, model.config.n_positions - ids.shape[1]))
    decoding = _decoding_options(options)
    if options.num_return_sequences == 1 and not options.num_beams:
        new_ids = stream(model, ids, **decoding)  # raises here, before anything is written
        print(prompt, end="", flush=True)
        for piece in text_pieces(tokenizer, new_ids):
            print(piece, end="", flush=True)
        print()
        return
    sequences = generate_ids(model, ids, **decoding)
    for number, sequence in enumerate(sequences, 1):
        print(f"--- {number}")
        print(tokenizer.decode(sequence, skip_special_tokens=True))


def read_stdin(what):
    """All of standard input, without the newline at its end."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(f"no {what}: give one as an argument or on standard input")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at position {error.start}"
        raise ValueError(f"standard input is not UTF-8 text ({byte})") from None


def _decoding_options(options):
    names = ("max_new_tokens", "temperature", "top_k", "top_p", "num_beams", "repetition_penalty",
             "no_repeat_ngram_size", "num_return_sequences", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if given.get("seed", 0) < 0:
        raise ValueError(f"seed is {options.seed}, wanted at least 0")
    if options.greedy:
        if given.keys() & SAMPLING.keys() or options.num_beams:
            raise ValueError("--greedy leaves nothing to --temperature, --top-k, --top-p or "
                             "--num-beams: give one or the other")
        return {**given, "do_sample": False}
    if options.num_beams:
        return given
    return {**SAMPLING, **given, "do_sample": True}
