"""The body of a request -> what to generate. Every parameter is obeyed, or refused by its name.

The names are those of OpenAI's API reference (completions, chat completions), and a few more that
other servers also take: top_k, min_p, repetition_penalty.
"""

from dataclasses import dataclass, field

import numpy as np

from minillm.checks import shown
from minillm.generation.continuous_batching import Request
from minillm.generation.generation_config import closest
from minillm.generation.logits_processors import frequency_and_presence
from minillm.json_files import fields, parse_json
from minillm.serving.errors import ApiError
from minillm.serving.output import Output

MOST_TEXTS = 16  # n times the number of prompts
MOST_STOPS = 4  # as OpenAI
LONGEST_STOP = 256  # characters
COMPLETION_TOKENS = 16  # OpenAI's default of max_tokens for completions
CONTEXT = 2048  # of a model that names no length

_BOTH = {
    "model": str, "stream": bool, "stream_options": dict, "n": int, "seed": int,
    "max_tokens": int, "temperature": float, "top_p": float, "top_k": int, "min_p": float,
    "repetition_penalty": float, "frequency_penalty": float, "presence_penalty": float,
    "logit_bias": dict[str, float], "stop": str | list[str],
    # without an effect, whatever the value
    "user": str, "metadata": dict, "safety_identifier": str, "prompt_cache_key": str,
}
COMPLETION = {**_BOTH, "prompt": str | list, "echo": bool, "logprobs": int, "best_of": int}
CHAT = {**_BOTH, "messages": list[dict], "max_completion_tokens": int, "logprobs": bool,
        "top_logprobs": int}
# Not implemented: name -> the values, besides null, that change nothing.
REFUSED = {
    "suffix": ("",), "store": (False,), "service_tier": ("auto", "default"), "tools": ([],),
    "functions": ([],), "tool_choice": ("none", "auto"), "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False), "response_format": ({"type": "text"},),
    "modalities": (["text"],), "audio": (), "prediction": (), "reasoning_effort": ("none",),
    "verbosity": (), "web_search_options": (), "moderation": (), "prompt_cache_retention": (),
    "prompt_cache_options": (),
}
RANGES = {"temperature": (0, 2), "top_p": (0, 1), "min_p": (0, 1), "top_k": (0, 2**31),
          "repetition_penalty": (0.01, 100), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2),
          "n": (1, MOST_TEXTS), "seed": (-2**63, 2**63 - 1), "max_tokens": (0, 2**31),
          "max_completion_tokens": (1, 2**31), "top_logprobs": (0, 20), "best_of": (1, MOST_TEXTS)}
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What a model without a chat template reads.
PLAIN_ROLES = {"system": "", "user": "User: ", "assistant": "Assistant: "}
PLAIN_STOP = "\nUser:"


@dataclass
class Served:
    """What is served: a model in eval mode, its tokenizer, the name that clients ask for.

    max_tokens: the most that a request may generate, None for no limit but the context
    """

    model: object
    tokenizer: object
    name: str
    max_tokens: int | None = None

    @property
    def context(self):
        """The most tokens of a prompt with its continuation"""
        limit = self.model.max_positions
        return limit or getattr(self.model.config, "max_position_embeddings", None) or CONTEXT


@dataclass
class Job:
    """One text to generate."""

    index: int
    request: Request
    output: Output
    prompt_scores: list = field(default_factory=list)  # of TokenScores, if they are asked for


@dataclass
class Order:
    """The checked body of a request."""

    is_chat: bool
    jobs: list
    n_prompt_tokens: int
    streams: bool
    includes_usage: bool


def read_body(body, is_chat):
    """bytes -> dict of the parameters that aren't null, all of them known and of the right type"""
    try:
        given = parse_json("the body", body)
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    kinds = CHAT if is_chat else COMPLETION
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name in REFUSED:
            if not any(value == harmless for harmless in REFUSED[name]):
                raise _bad(name, f"{name} is {shown(value)}, which isn't implemented",
                           "unsupported_parameter")
        elif name not in kinds:
            raise _bad(shown(name).strip("'"), f"{shown(name)} is no parameter here"
                       f"{closest(name, kinds)}", "unknown_parameter")
        else:
            _check(name, value, kinds[name])
    for name in ("model", "messages" if is_chat else "prompt"):
        if name not in given:
            raise _bad(name, f"the body has no {name}", "missing_required_parameter")
    return {name: value for name, value in given.items() if name not in REFUSED}


def _check(name, value, kind):
    try:
        fields("the body", {name: value}, {name: kind})
    except ValueError as error:
        raise _bad(name, str(error).removeprefix("the body: ")) from None
    low, high = RANGES.get(name, (-np.inf, np.inf))
    if kind in (int, float) and not low <= value <= high:
        raise _bad(name, f"{name} is {shown(value)}, wanted {low} to {high}")


def read_order(given, served, is_chat, report):
    """given: from `read_body` -> Order

    report: a function (job, has_ended), which the batch's thread calls after every token and at
        the end

    Raises ApiError.
    """
    if given["model"] != served.name:
        raise ApiError(404, f"the model {shown(given['model'])} doesn't exist, wanted "
                       f"{served.name!r}", param="model", code="model_not_found")
    stream = _stream_options(given)
    prompts, stop = _prompts(given, served, is_chat)
    n = given.get("n", 1)
    if given.get("best_of", n) != n:
        raise _bad("best_of", f"best_of is {given['best_of']}, wanted {n}, as n")
    if n * len(prompts) > MOST_TEXTS:
        raise _bad("n", f"{len(prompts)} prompts times n = {n} are {n * len(prompts)} texts, "
                   f"wanted at most {MOST_TEXTS}")
    n_top = _n_top(given, is_chat)
    jobs = []
    for prompt, ids in prompts:
        for i in range(n):
            jobs.append(_job(len(jobs), i, prompt, ids, given, served, is_chat, stop, n_top,
                             report))
    return Order(is_chat, jobs, sum(len(ids) for _, ids in prompts), given.get("stream", False),
                 stream.get("include_usage", False))


def _job(index, i, prompt, ids, given, served, is_chat, stop, n_top, report):
    room = served.context - len(ids)
    n_new, name = _n_new(given, served, is_chat, room, len(ids))
    options = _options(given, served, len(ids), i)
    echo = given.get("echo", False)
    if n_new == 0 and not echo:
        raise _bad(name, f"{name} is 0, wanted at least 1, or echo=true")
    ends = set(np.ravel([] if (end := served.model.generation_config.eos_token_id) is None
                        else end).tolist())
    if echo and prompt is None:
        prompt = served.tokenizer.decode(ids)
    output = Output(served.tokenizer, ends, stop, n_top, prompt if echo else "")
    job = Job(index, None, output)
    on_prompt = None
    if echo and n_top is not None:
        job.prompt_scores.append(output.score(ids[0], None, 0))
        on_prompt = _prompt_scorer(job, ids)

    def on_token(token, logits):
        ended = output.push(token, logits)
        report(job, False)
        return ended

    try:
        job.request = Request(
            served.model, [ids], on_token=on_token, on_prompt=on_prompt,
            on_end=lambda: report(job, True), only_reads=n_new == 0,
            tokenizer=served.tokenizer, max_new_tokens=max(1, n_new), **options)
    except (ValueError, TypeError) as error:
        raise ApiError(400, " ".join(str(error).split())) from None
    return job


def _prompt_scorer(job, ids):
    """-> a function that adds the scores of the prompt's tokens, from the second on"""
    output = job.output

    def on_prompt(first, logits):
        for i, row in enumerate(logits[: len(ids) - 1 - first], first + 1):
            before = job.prompt_scores[-1]
            job.prompt_scores.append(output.score(ids[i], row, before.offset + len(before.text)))
    return on_prompt


def _options(given, served, n_prompt, i):
    """-> dict of the options of `generate` for text i of a prompt"""
    stored = served.model.generation_config
    defaults = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}  # OpenAI's
    options = {name: value if getattr(stored, name) is None else getattr(stored, name)
               for name, value in defaults.items()}
    options |= {name: given[name] for name in ("temperature", "top_p", "top_k", "min_p",
                                               "repetition_penalty") if name in given}
    options["do_sample"] = options["temperature"] > 0
    if not options["do_sample"]:
        for name in ("temperature", "top_p", "top_k", "min_p"):
            options.pop(name, None)
    seed = given.get("seed")
    if seed is not None:  # text 0 is the one that n = 1 gives
        seed %= 2**64
        options["generator"] = np.random.default_rng([seed, i] if i else seed)
    if "logit_bias" in given:
        options["sequence_bias"] = _biases(given["logit_bias"], served.model.config.vocab_size)
    frequency, presence = (given.get(f"{name}_penalty", 0) for name in ("frequency", "presence"))
    if frequency or presence:
        options["logits_processor"] = [lambda ids, scores: frequency_and_presence(
            scores, ids[:, n_prompt:], frequency, presence)]
    return {**options, "num_beams": 1, "num_return_sequences": 1}


def _biases(given, vocab_size):
    biases = {}
    for id, bias in given.items():
        if not (id.isascii() and id.isdecimal() and len(id) < 10 and int(id) < vocab_size):
            raise _bad("logit_bias", f"logit_bias names the token {shown(id)}, wanted ids from 0 "
                       f"to {vocab_size - 1}")
        if not -100 <= bias <= 100:
            raise _bad("logit_bias", f"logit_bias[{id}] is {bias}, wanted -100 to 100")
        biases[(int(id),)] = float(bias)
    return biases or None


def _n_new(given, served, is_chat, room, n_prompt):
    """-> how many tokens to generate at most, and the name of the parameter that says so"""
    name = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    if {"max_tokens", "max_completion_tokens"} <= given.keys():
        raise _bad("max_tokens", "max_tokens and max_completion_tokens are both given, wanted one")
    limit = served.max_tokens or served.context
    wanted = given.get(name)
    if wanted is None:
        return max(1, min(room, limit, limit if is_chat else COMPLETION_TOKENS)), name
    if wanted > limit:
        raise _bad(name, f"{name} is {wanted}, wanted at most {limit}")
    if wanted > room:
        raise _bad(name, f"the context is {served.context} tokens, but the prompt has {n_prompt} "
                   f"and {name} is {wanted}", "context_length_exceeded")
    return wanted, name


def _n_top(given, is_chat):
    """-> the number of likeliest tokens to report with each, or None for no log-probabilities"""
    if not is_chat:
        n = given.get("logprobs")
        if n is not None and not 0 <= n <= 5:
            raise _bad("logprobs", f"logprobs is {n}, wanted 0 to 5")
        return n
    if given.get("logprobs"):
        return given.get("top_logprobs", 0)
    if given.get("top_logprobs"):
        raise _bad("top_logprobs", "top_logprobs needs logprobs=true")
    return None


def _stream_options(given):
    options = given.get("stream_options", {})
    if options and not given.get("stream"):
        raise _bad("stream_options", "stream_options needs stream=true")
    for name, value in options.items():
        if name not in ("include_usage", "include_obfuscation") or type(value) is not bool:
            raise _bad("stream_options", f"stream_options has {shown(name)}: {shown(value)}, "
                       "wanted include_usage: true or false")
        if name == "include_obfuscation" and value:
            raise _bad("stream_options", "include_obfuscation isn't implemented",
                       "unsupported_parameter")
    return options


# -------------------------------------------------------------------- prompts


def _prompts(given, served, is_chat):
    """-> list of (text or None, ids), and the list of stop strings"""
    stop = given.get("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if len(stop) > MOST_STOPS:
        raise _bad("stop", f"stop has {len(stop)} strings, wanted at most {MOST_STOPS}")
    if not all(0 < len(each) <= LONGEST_STOP for each in stop):
        raise _bad("stop", f"stop has an empty string, or one of over {LONGEST_STOP} characters")
    if is_chat:
        messages = _messages(given["messages"])
        if served.tokenizer.chat_template is None:
            text = plain_conversation(messages)
            prompts, stop = [(text, _encode(text, served, "messages"))], [*stop, PLAIN_STOP]
        else:
            prompts = [(None, _templated(messages, served))]
    else:
        prompts = [_prompt(prompt, served) for prompt in _list_of_prompts(given["prompt"])]
    for _, ids in prompts:
        if len(ids) >= served.context:
            raise _bad("messages" if is_chat else "prompt",
                       f"the prompt has {len(ids)} tokens, wanted fewer than the context, "
                       f"{served.context}", "context_length_exceeded")
    return prompts, stop


def _list_of_prompts(prompt):
    """A text, a list of texts, a list of ids, or a list of lists of ids -> list of the prompts"""
    if isinstance(prompt, str) or (prompt and type(prompt[0]) is int):
        prompt = [prompt]
    if not 0 < len(prompt) <= MOST_TEXTS:
        raise _bad("prompt", f"prompt has {len(prompt)} prompts, wanted 1 to {MOST_TEXTS}")
    return prompt


def _prompt(prompt, served):
    if isinstance(prompt, str):
        return prompt, _encode(prompt, served, "prompt")
    vocab_size = served.model.config.vocab_size
    if not isinstance(prompt, list) or not prompt or not all(
            type(id) is int and 0 <= id < vocab_size for id in prompt):
        raise _bad("prompt", f"prompt is {shown(prompt)}, wanted texts, or ids from 0 to "
                   f"{vocab_size - 1}")
    return None, prompt


def _encode(text, served, name):
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _bad(name, f"{name} has half of a surrogate pair, wanted Unicode text")
    ids = served.tokenizer.encode(text)
    if not ids:
        raise _bad(name, f"{name} is empty, wanted some text to continue")
    return list(ids)


def _messages(messages):
    """-> list of {"role", "content"}"""
    if not messages:
        raise _bad("messages", "messages is empty, wanted at least one")
    plain = []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in ROLES:
            raise _bad("messages", f"{where}.role is {shown(role)}, wanted one of "
                       f"{', '.join(ROLES)}")
        if isinstance(content, list):
            content = _joined(content, where)
        if not isinstance(content, str):
            raise _bad("messages", f"{where}.content is {shown(content)}, wanted a string")
        for name, value in message.items():
            if name not in ("role", "content", "name") and value not in (None, []):
                raise _bad("messages", f"{where} has {shown(name)}, which isn't implemented",
                           "unsupported_parameter")
        plain.append({"role": ROLES[role], "content": content})
        if isinstance(message.get("name"), str):
            plain[-1]["name"] = message["name"]
    return plain


def _joined(parts, where):
    """The text of a content that is a list of parts"""
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(
                part.get("text"), str):
            raise _bad("messages", f"{where}.content has {shown(part)}, wanted parts of type text",
                       "unsupported_parameter")
    return "".join(part["text"] for part in parts)


def _templated(messages, served):
    try:
        return list(served.tokenizer.apply_chat_template(messages, add_generation_prompt=True,
                                                         return_dict=False))
    except ValueError as error:
        raise _bad("messages", " ".join(str(error).split())) from None


def plain_conversation(messages):
    """The conversation for a model without a chat template: a text that its turn continues

        Answer briefly.
        User: What is an iterator?
        Assistant:
    """
    lines = [PLAIN_ROLES[message["role"]] + message["content"] for message in messages]
    return "\n".join([*lines, "Assistant:"])


def _bad(param, message, code=None):
    return ApiError(400, message, param=param, code=code)
