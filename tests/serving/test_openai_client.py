"""minillm serve through OpenAI's own client, beside the library called directly."""

import asyncio

import numpy as np
import pytest

from minillm.generation import generate
from minillm.ops.softmax import log_softmax

openai = pytest.importorskip("openai", reason="openai is missing: pip install openai")
PROMPT = "The assignment statement"
HI = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a module?"}]


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def complete(client, prompt=PROMPT, **options):
    return client.completions.create(model="pydoc-tiny", prompt=prompt,
                                     **{"max_tokens": 8, "temperature": 0, **options})


def chat(client, messages=HI, **options):
    return client.chat.completions.create(model="pydoc-tiny", messages=messages,
                                          **{"max_tokens": 8, "temperature": 0, **options})


def expected(served, prompt=PROMPT, **options):
    """-> the ids that `generate` gives, and their text"""
    ids = served.tokenizer.encode(prompt, return_tensors="np")
    new = generate(served.model, ids, **{"max_new_tokens": 8, "do_sample": False, **options})[0]
    new = new[ids.shape[1] :]
    return new, served.tokenizer.decode(new, skip_special_tokens=True)


def test_models(client):
    assert [model.id for model in client.models.list()] == ["pydoc-tiny"]
    assert client.models.retrieve("pydoc-tiny").owned_by == "minillm"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_completion(client, served):
    new, text = expected(served)
    answer = complete(client)
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
    assert answer.choices[0].text == text and answer.choices[0].finish_reason == "length"
    n = len(served.tokenizer.encode(PROMPT))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (n, 8)
    assert answer.usage.total_tokens == n + 8
    assert len(complete(client, max_tokens=None).choices[0].text) > len(text)  # 16 tokens


def test_sampling_is_that_of_generate(client, served):
    for seed in (0, 7):
        options = {"temperature": 0.9, "top_p": 0.8}
        new, text = expected(served, do_sample=True, top_k=0, seed=seed, **options)
        assert complete(client, seed=seed, **options).choices[0].text == text
    options = {"temperature": 1.3, "top_k": 5, "repetition_penalty": 1.2}
    _, text = expected(served, do_sample=True, seed=3, **options)
    assert complete(client, seed=3, temperature=1.3, extra_body={
        "top_k": 5, "repetition_penalty": 1.2}).choices[0].text == text


def test_several_texts_and_prompts(client):
    options = {"temperature": 1, "seed": 5}
    one = complete(client, **options).choices[0].text
    several = complete(client, n=3, **options).choices
    assert [choice.index for choice in several] == [0, 1, 2]
    assert several[0].text == one and len({choice.text for choice in several}) == 3
    both = complete(client, prompt=["A module", PROMPT], n=2, **options).choices
    assert [both[2].text, both[3].text] == [several[0].text, several[1].text]


def test_prompts_may_be_ids(client, served):
    ids = served.tokenizer.encode(PROMPT)
    want = complete(client).choices[0].text
    assert complete(client, prompt=ids).choices[0].text == want
    assert [c.text for c in complete(client, prompt=[ids, ids]).choices] == [want, want]


def test_stream(client):
    for options in ({}, {"n": 3, "temperature": 1, "seed": 1}, {"stop": [" statement"]}):
        whole = complete(client, **options)
        texts, reasons = {}, {}
        chunks = list(complete(client, stream=True, stream_options={"include_usage": True},
                               **options))
        for chunk in chunks[:-1]:
            (choice,) = chunk.choices
            texts[choice.index] = texts.get(choice.index, "") + choice.text
            reasons[choice.index] = choice.finish_reason
            assert chunk.id == chunks[0].id and chunk.usage is None
        assert texts == {choice.index: choice.text for choice in whole.choices}
        assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
        assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in complete(client, stream=True))


def test_stop(client, served):
    _, text = expected(served, max_new_tokens=30)
    for stop in (text[5:9], [text[20:26], text[7:12]], "never comes"):
        choice = complete(client, stop=stop, max_tokens=30).choices[0]
        cuts = [text.find(each) for each in ([stop] if isinstance(stop, str) else stop)]
        cut = min([at for at in cuts if at >= 0], default=None)
        assert choice.text == text[:cut]
        assert choice.finish_reason == ("length" if cut is None else "stop")


def test_an_end_of_text_token_ends_it(client, served):
    end = served.model.generation_config.eos_token_id
    answer = complete(client, logit_bias={str(end): 100})
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")
    assert answer.usage.completion_tokens == 1


def test_biases_and_penalties(client, served):
    new, text = expected(served)
    banned = complete(client, logit_bias={str(new[0]): -100})
    assert banned.choices[0].text[:4] != text[:4]
    loop = complete(client, max_tokens=40).choices[0].text
    varied = complete(client, max_tokens=40, frequency_penalty=1.5, presence_penalty=1)
    assert len(set(varied.choices[0].text.split())) > len(set(loop.split()))


def test_logprobs(client, served):
    new, _ = expected(served)
    ids = np.append(served.tokenizer.encode(PROMPT), new)
    want = log_softmax(served.model(ids[None]).logits[0].astype(np.float64))[0]
    answer = complete(client, logprobs=2, echo=True).choices[0]
    assert answer.text.startswith(PROMPT) and answer.text == "".join(answer.logprobs.tokens)
    logprobs = answer.logprobs
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    for i, id in enumerate(ids[1:]):
        assert logprobs.token_logprobs[i + 1] == pytest.approx(want[i, id], abs=1e-4)
        best = sorted(logprobs.top_logprobs[i + 1].values())[-2:]
        assert best == pytest.approx(np.sort(want[i])[-2:], abs=1e-4)
        at = logprobs.text_offset[i + 1]
        assert answer.text[at:].startswith(logprobs.tokens[i + 1])
    scored = complete(client, logprobs=0, echo=True, max_tokens=0)
    assert scored.choices[0].text == PROMPT and scored.usage.completion_tokens == 0
    assert scored.choices[0].logprobs.token_logprobs == logprobs.token_logprobs[: len(ids) - 8]
    streamed = list(complete(client, logprobs=2, echo=True, stream=True))
    joined = [t for chunk in streamed if chunk.choices[0].logprobs
              for t in chunk.choices[0].logprobs.token_logprobs]
    assert joined == logprobs.token_logprobs


def test_chat(client, served):
    conversation = "Be brief.\nUser: What is a module?\nAssistant:"
    _, text = expected(served, conversation)
    answer = chat(client, logprobs=True, top_logprobs=3)
    (choice,) = answer.choices
    assert answer.object == "chat.completion" and choice.message.role == "assistant"
    assert choice.message.content == text
    entries = choice.logprobs.content
    assert len(entries) == 8 and all(len(entry.top_logprobs) == 3 for entry in entries)
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == text
    assert entries[0].logprob == entries[0].top_logprobs[0].logprob  # greedy
    parts = [{"role": "developer", "content": "Be brief."},
             {"role": "user", "content": [{"type": "text", "text": "What is "},
                                          {"type": "text", "text": "a module?"}]}]
    assert chat(client, parts).choices[0].message.content == text


def test_chat_stream(client):
    text = chat(client, max_tokens=None, max_completion_tokens=9).choices[0].message.content
    chunks = list(chat(client, max_tokens=None, max_completion_tokens=9, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert chunks[-1].choices[0].finish_reason == "length"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_chat_templates(client, served, monkeypatch):
    pytest.importorskip("jinja2", reason="jinja2 is missing: pip install 'minillm[chat]'")
    monkeypatch.setattr(served.tokenizer, "chat_template", "{{ messages[-1].content }} is")
    _, text = expected(served, "What is a module? is")
    assert chat(client).choices[0].message.content == text
    monkeypatch.setattr(served.tokenizer, "chat_template", "{{ raise_exception('never') }}")
    with pytest.raises(openai.BadRequestError, match="never"):
        chat(client)


def test_many_clients_at_once_get_what_they_would_get_alone(server, client):
    prompts = ["An iterator", "Return the", "class", "The module " * 30] * 3
    options = [{"temperature": i % 2, "seed": i, "max_tokens": 3 + 5 * i % 17}
               for i in range(len(prompts))]
    alone = [complete(client, prompt, **each).choices[0].text
             for prompt, each in zip(prompts, options)]

    async def together():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as many:
            return await asyncio.gather(*(
                many.completions.create(model="pydoc-tiny", prompt=prompt, **each)
                for prompt, each in zip(prompts, options)))

    assert [answer.choices[0].text for answer in asyncio.run(together())] == alone


@pytest.mark.parametrize("options, param", [
    ({"temperature": 2.5}, "temperature"), ({"temperature": "hot"}, "temperature"),
    ({"n": 0}, "n"), ({"n": 17}, "n"), ({"best_of": 2}, "best_of"), ({"suffix": "."}, "suffix"),
    ({"stop": ["a"] * 5}, "stop"), ({"stop": [""]}, "stop"), ({"logprobs": 6}, "logprobs"),
    ({"max_tokens": 10**6}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 255}, "max_tokens"), ({"prompt": ""}, "prompt"), ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"), ({"prompt": [2048]}, "prompt"), ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": "word " * 2000}, "prompt"), ({"logit_bias": {"2048": 1}}, "logit_bias"),
    ({"logit_bias": {"x": 1}}, "logit_bias"), ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"extra_body": {"top_K": 3}}, "top_K"), ({"extra_body": {"min_p": 2}}, "min_p"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"prompt": ["a"] * 9, "n": 2}, "n"), ({"model": "gpt-4"}, "model"),
])
def test_mistakes_are_named(client, options, param):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        client.completions.create(**{"model": "pydoc-tiny", "prompt": PROMPT, **options})
    assert caught.value.param == param and caught.value.type == "invalid_request_error"
    assert "\n" not in caught.value.body["message"] and len(caught.value.body["message"]) < 300


@pytest.mark.parametrize("options, param", [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"reasoning_effort": "high"}, "reasoning_effort"), ({"modalities": ["audio"]}, "modalities"),
    ({"store": True}, "store"), ({"top_logprobs": 2}, "top_logprobs"),
    ({"max_completion_tokens": 3, "max_tokens": 3}, "max_tokens"),
    ({"messages": []}, "messages"), ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
    ({"messages": [{"role": "user", "content": None}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
    ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages"),
])
def test_mistakes_of_chats_are_named(client, options, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "pydoc-tiny", "messages": HI, **options})
    assert caught.value.param == param
