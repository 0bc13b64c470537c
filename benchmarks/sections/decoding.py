"""Generating text with GPT-2 124M (random weights), against memory bandwidth and Hugging Face."""

from benchmarks.cases import bytes_per_token, prefill_operations
from benchmarks.harness import Effort
from benchmarks.programs import LlamaCpp
from benchmarks.results import FMA_BOUND, MEMORY_BOUND, Row, Section, from_timings

SHORT = Effort("full", min_rounds=5, max_rounds=9, seconds=20, sample_seconds=0.01)
NEW = 64  # tokens, beside llama.cpp
SAME_BITS = {"float32": "f32", "bfloat16": "bf16", "int8": "q8_0", "int4": "q4_0"}
PLAIN, LOOKUP = "one by one", "prompt lookup"
REPEATING = {
    "sentences": "parameters, the target list, the target list, the target list,\n" * 3,
    "signatures": "object.__add__(self, other)\nobject.__sub__(self, other)\n" * 2,
}
ORDINARY = "The value of the object is"
SAMPLING = {"num_return_sequences": 5, "top_k": 50, "top_p": 0.95, "no_repeat_ngram_size": 2}


def decoding(context):
    section = Section("decode", "Decoding, GPT-2 124M", "tokens/s or steps/s", True)
    threads = context.most_threads
    sides = [context.minillm(threads), context.hugging_face(threads)]
    measure = context.arena.measure
    effort = Effort("quick", 1, 1, 0, 0) if context.quick else SHORT

    n = 4 if context.quick else 48
    # Weights of fewer bytes do the same work for the user, but read less memory.
    smaller = [context.minillm(threads, dtype, dtype=dtype)
               for dtype in ("bfloat16", "int8", "int4")]
    bound = context.minillm(threads, MEMORY_BOUND, only_read=True)
    timings = measure("generate", {"n_tokens": n, "prompt": 1}, [*sides, *smaller, bound], effort)
    row = from_timings("greedy, batch 1, tokens/s", timings, amount=n, threads=threads)
    section.add(row, ("greedy decode, 124M", "minillm", MEMORY_BOUND, 0.85),
                ("greedy decode with int8 weights", "int8", "minillm", 2.5),
                ("greedy decode with int4 weights", "int4", "int8", 1.4))
    context.arena.release()

    if not context.quick:
        arguments = {"n_tokens": n, "prompt": 1, **SAMPLING}
        timings = measure("generate", arguments, [*sides, *smaller, bound], effort)
        section.add(from_timings("5 sampled sequences, steps/s", timings, amount=n,
                                 threads=threads),
                    ("sampled decode, 5 sequences", "minillm", "Hugging Face", 3.0))

        context.arena.release()

        timings = measure("prefill", {"T": 1024}, sides, effort)
        row = from_timings("prefill of 1,024 tokens, prompts/s", timings, amount=1,
                           threads=threads)
        if threads in context.fma_peak:
            row.values[FMA_BOUND] = context.fma_peak[threads] * 1e9 / prefill_operations(1024)
        section.add(row, ("prefill of 1,024 tokens", "minillm", "Hugging Face", 2.5))
    context.arena.release()
    if context.llama_cpp:
        add_llama_cpp(context, section, effort)
    section.notes.append(f"a token reads {bytes_per_token() / 1e6:.0f} MB of weights; memory bound: "
                         "only reading as much, in one matrix, by turns with the others. The prompt "
                         "is one token")
    return section


def add_llama_cpp(context, section, effort):
    """Rows for minillm and llama.cpp alone, with weights of as many bits on both sides."""
    threads = context.most_threads
    for dtype, kind in list(SAME_BITS.items())[: 1 if context.quick else None]:
        llama = LlamaCpp(context.llama_cpp, threads, kind)
        side = context.minillm(threads, dtype=dtype)
        works = [("generate", {"n_tokens": NEW, "prompt": 1}, NEW, {"n_new": NEW},
                  f"greedy, {dtype} and {kind}, tokens/s")]
        if not context.quick:
            works.append(("prefill", {"T": 1024}, 1, {"n_prompt": 1024},
                          f"prefill of 1,024, {dtype} and {kind}, prompts/s"))
        for case, arguments, amount, test, name in works:
            peer = {LlamaCpp.label: lambda calls, test=test: llama.seconds(**test)}
            timings = context.arena.measure(case, arguments, [side], effort, peer)
            section.add(from_timings(name, timings, amount=amount, threads=threads),
                        (f"{case} beside llama.cpp", "minillm", LlamaCpp.label, 1.0))
            context.arena.release()
        llama.close()
    section.notes.append("llama.cpp: its llama-bench, caches in float16; beside it, "
                         "minillm's weights are of the type that is named first")


def speculative(context):
    """Prompt lookup beside plain greedy decoding, on texts that repeat themselves."""
    section = Section("speculative", "Greedy decoding of texts that repeat themselves", "tokens/s",
                      True)
    threads = context.most_threads
    plain = context.minillm(threads, PLAIN)
    lookup = context.minillm(threads, LOOKUP, prompt_lookup_num_tokens=10)
    effort = Effort("quick", 1, 1, 0, 0) if context.quick else SHORT

    n = 16 if context.quick else 64
    for name, text in {**REPEATING, "ordinary text": ORDINARY}.items():
        timings = context.arena.measure("continue_text", {"text": text, "n_tokens": n},
                                        [plain, lookup], effort)
        row = from_timings(f"pydoc-tiny, {name}", timings, amount=n, threads=threads)
        goal = ("prompt lookup, pydoc-tiny", LOOKUP, PLAIN, 2.0)
        section.add(row, *([goal] if name in REPEATING else []))
    context.arena.release()

    n = 8 if context.quick else 48
    for name, repeats in (("repeats a token", True), ("random weights", False)):
        arguments = {"n_tokens": n, "prompt": 8, "repeats": repeats}
        timings = context.arena.measure("generate", arguments, [plain, lookup], effort)
        row = from_timings(f"GPT-2 124M, {name}", timings, amount=n, threads=threads)
        section.add(row, *([("prompt lookup, 124M", LOOKUP, PLAIN, 2.0)] if repeats else []))
    context.arena.release()
    section.notes.append("the same tokens on both sides. With a tied head, the best next token is "
                         "the one just read: a random GPT-2 repeats it, for a while, and one "
                         "without position embeddings for ever")
    return section


def precision(context):
    """The cost of smaller weights: the perplexity of the packaged model on its test text."""
    section = Section("precision", "pydoc-tiny on its test text, weights stored as", "", False)
    exact = None
    for dtype in ("float32", "bfloat16", "int8", "int4"):
        found = context.arena.call(context.minillm(context.most_threads), "perplexity", dtype=dtype)
        if found is None:
            return section
        exact = exact or found["perplexity"]
        section.add(Row(dtype, {**found, "change, %": 100 * (found["perplexity"] / exact - 1)}))
    section.notes.append("the text is of the running Python's version, so it differs a little from "
                         "what the model card says")
    return section
