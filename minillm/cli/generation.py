"""`minillm generate`: continue a text, and write it to the terminal token by token."""

import sys
import time

from minillm.cli.terminal import for_stream
from minillm.generation import generate as generate_ids
from minillm.generation import stream, text_pieces
from minillm.generation.options import SHAPES_THE_SAMPLE
from minillm.models.auto import AutoConfig, AutoModelForCausalLM, heads_of
from minillm.models.lora_files import with_adapter
from minillm.text.auto import AutoTokenizer
from minillm.training.run import model_folder

# Defaults for options that neither the command line nor the model's generation_config.json sets.
SAMPLING = {"temperature": 0.8, "top_k": 50, "top_p": 0.95}
NEW_TOKENS = 100
OPTIONS = ("temperature", "top_k", "top_p", "min_p", "typical_p", "max_new_tokens",
           "min_new_tokens", "max_time", "num_beams", "length_penalty", "repetition_penalty",
           "no_repeat_ngram_size", "num_return_sequences", "seed")


def generate(options):
    prompt = options.prompt if options.prompt is not None else read_stdin("prompt")
    prompt = prompt.removeprefix("\ufeff")  # a byte-order mark is not text
    folder = model_folder(options.model)
    require_generator(options.model, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model = with_adapter(model, options.adapter).quantize(options.dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode(prompt, return_tensors="np")
    if ids.size == 0:
        raise ValueError("the prompt is empty, wanted some text to continue")
    decoding = _decoding_options(options, model.generation_config)
    if not {"max_new_tokens", "max_length"} & {*decoding, *model.generation_config.to_dict()}:
        decoding["max_new_tokens"] = _default_length(model, ids.shape[1])
    decoding.update(_drafts(options, tokenizer))
    if options.stop:
        decoding.update(stop_strings=options.stop)
    beams = decoding.get("num_beams") or model.generation_config.num_beams or 1
    if options.num_return_sequences == 1 and beams == 1:
        # `stream` raises errors here, before anything is written.
        new_ids = stream(model, ids, tokenizer=tokenizer, **decoding)
        print(for_stream(prompt), end="", flush=True)
        start = time.perf_counter()
        for piece in text_pieces(tokenizer, new_ids):
            print(for_stream(piece), end="", flush=True)
        print()
        if options.stats:
            _print_stats(new_ids, time.perf_counter() - start)
        return
    if options.stats:
        raise ValueError("--stats is about one text: give no --num-beams or --num-return-sequences")
    sequences = generate_ids(model, ids, tokenizer=tokenizer, **decoding)
    for number, sequence in enumerate(sequences, 1):
        if len(sequences) > 1:
            print(f"--- {number}")
        print(for_stream(tokenizer.decode(sequence, skip_special_tokens=True)))


def _drafts(options, tokenizer):
    """-> dict of the options of `generate` for speculative decoding"""
    if options.draft is None:
        lookup = options.prompt_lookup
        return {} if lookup is None else {"prompt_lookup_num_tokens": lookup}
    if options.prompt_lookup is not None:
        raise ValueError("--draft and --prompt-lookup both draft tokens: give one of them")
    folder = model_folder(options.draft)
    require_generator(options.draft, folder)
    if AutoTokenizer.from_pretrained(folder).get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"--draft {options.draft} has another vocabulary than the model, wanted a "
                         "model with the same tokenizer")
    return {"assistant_model": AutoModelForCausalLM.from_pretrained(folder)}


def _print_stats(stream, seconds):
    """stream: a TokenStream that has ended"""
    n = stream.n_tokens
    line = f"{n} tokens in {seconds:.2f} s: {n / seconds:.1f} tokens/s"
    drafts = stream.drafts
    if drafts is not None:
        share = f" ({drafts.accepted / drafts.drafted:.0%})" if drafts.drafted else ""
        line += (f"; {drafts.accepted} of {drafts.drafted} drafted tokens accepted{share}, "
                 f"{drafts.forwards} forwards of the model")
    print(line, file=sys.stderr)


def require_generator(name, folder):
    """ValueError for a model that can't continue a text."""
    model_type = AutoConfig.from_pretrained(folder).model_type
    heads = heads_of(model_type)
    if "causal_lm" not in heads and "masked_lm" in heads:
        raise ValueError(f"{name} is a {model_type} model, which fills in masked words and can't "
                         "continue a text: minillm fill")


def _default_length(model, prompt_length):
    """-> as many new tokens as the trained length has room for, at most NEW_TOKENS

    For a prompt that leaves no room at all, `generate` raises an error, or goes on if the model's
    positions have no limit.
    """
    room = getattr(model.config, "max_position_embeddings", prompt_length) - prompt_length
    if room < 1 and model.max_positions is None:
        return NEW_TOKENS
    return max(1, min(NEW_TOKENS, room))


def read_stdin(what):
    """-> all of standard input, without the newline at its end"""
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(f"no {what}: give one as an argument or on standard input")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at position {error.start}"
        raise ValueError(f"standard input is not UTF-8 text ({byte})") from None


def _decoding_options(options, stored):
    """-> dict of options for `generate`; samples unless the user or the model chooses otherwise

    stored: the model's GenerationConfig, which applies where the command line sets nothing
    """
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    shaping = given.keys() & set(SHAPES_THE_SAMPLE)
    if given.get("seed", 0) < 0:
        raise ValueError(f"seed is {options.seed}, wanted at least 0")
    if options.greedy:
        if shaping or options.num_beams:
            raise ValueError("--greedy leaves nothing to --temperature, --top-k, --top-p, --min-p, "
                             "--typical-p or --num-beams: give one or the other")
        return {**given, "do_sample": False, "num_beams": 1}
    model_searches = (stored.num_beams or 1) > 1 or stored.do_sample is False
    if options.num_beams or model_searches and not shaping:
        return given
    defaults = {name: value for name, value in SAMPLING.items() if getattr(stored, name) is None}
    return {"num_beams": 1, **defaults, **given, "do_sample": True}
