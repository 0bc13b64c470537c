"""The answers as OpenAI's API reference has them: completions and chat completions, whole and in
chunks."""

import secrets
import time


class Answer:
    """The answers to one Order.

    name: of the model
    """

    def __init__(self, order, name):
        self.order = order
        self.fields = {
            "id": f"{'chatcmpl' if order.is_chat else 'cmpl'}-{secrets.token_hex(12)}",
            "object": "chat.completion" if order.is_chat else "text_completion",
            "created": int(time.time()), "model": name, "system_fingerprint": "minillm",
        }

    def whole(self, texts):
        """texts: {index: (text, scores, finish_reason)} -> dict"""
        choices = []
        for index, (text, scores, finish_reason) in sorted(texts.items()):
            content = {"text": text}
            if self.order.is_chat:
                content = {"message": {"role": "assistant", "content": text, "refusal": None}}
            choices.append(self._choice(index, content, scores, finish_reason))
        return {**self.fields, "choices": choices, "usage": self.usage()}

    def opening(self):
        """-> list of the chunks before any text: in a chat, the role of each choice"""
        if not self.order.is_chat:
            return []
        delta = {"delta": {"role": "assistant", "content": "", "refusal": None}}
        return [self._chunk([self._choice(job.index, delta, [], None)])
                for job in self.order.jobs]

    def chunk(self, event):
        content = {"text": event.text}
        if self.order.is_chat:
            content = {"delta": {"content": event.text} if event.text else {}}
        return self._chunk([self._choice(event.job.index, content, event.scores,
                                         event.finish_reason)])

    def closing(self):
        """-> list of the chunks after all text"""
        return [{**self._chunk([]), "usage": self.usage()}] if self.order.includes_usage else []

    def usage(self):
        n_new = sum(len(job.request.new_ids) for job in self.order.jobs)
        n_prompt = self.order.n_prompt_tokens
        return {"prompt_tokens": n_prompt, "completion_tokens": n_new,
                "total_tokens": n_prompt + n_new}

    def _chunk(self, choices):
        chunk = {**self.fields, "choices": choices}
        if self.order.is_chat:
            chunk["object"] = "chat.completion.chunk"
        if self.order.includes_usage:
            chunk["usage"] = None
        return chunk

    def _choice(self, index, content, scores, finish_reason):
        logprobs = None
        if scores:
            logprobs = _chat_logprobs(scores) if self.order.is_chat else _logprobs(scores)
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish_reason}


def _chat_logprobs(scores):
    def entry(score):
        return {"token": score.text, "logprob": score.logprob, "bytes": score.bytes}

    return {"content": [{**entry(score), "top_logprobs": [entry(each) for each in score.top]}
                        for score in scores], "refusal": None}


def _logprobs(scores):
    top = [None if score.logprob is None else
           {**{_name(each): each.logprob for each in score.top}, _name(score): score.logprob}
           for score in scores]
    return {"tokens": [_name(score) for score in scores],
            "token_logprobs": [score.logprob for score in scores], "top_logprobs": top,
            "text_offset": [score.offset for score in scores]}


def _name(score):
    """-> the token's text; "bytes:\\xe2\\x80", as OpenAI writes, for bytes that aren't text"""
    if "\ufffd" in score.text:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in score.bytes)
    return score.text
