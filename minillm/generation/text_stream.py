"""Streaming: from a stream of tokens to a stream of text that never splits a character."""

import codecs
from queue import Queue


class StreamDecoder:
    """Returns the text of each token as soon as it is complete.

    A token of a byte-level vocabulary stands for bytes. A character outside ASCII takes two to four
    of them, often in different tokens, so its bytes wait until the last one arrives. Bytes that
    aren't UTF-8 become U+FFFD. An id without a token, from a padded vocabulary, has no text.
    """

    def __init__(self, tokenizer, skip_special_tokens=True):
        self.tokenizer = tokenizer
        self.skipped = set(tokenizer.all_special_ids) if skip_special_tokens else ()
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.ids, self.n_given = [], 0  # without token_bytes: the ids so far, characters returned
        self.text = ""  # and their text

    def push(self, id):
        """-> the text that the token `id` completes"""
        if id in self.skipped:
            return ""
        if hasattr(self.tokenizer, "token_bytes"):
            return self.decoder.decode(self.tokenizer.token_bytes(id))
        # The text of a token depends on those before it: decode all of them.
        self.ids.append(id)
        self.text = self.tokenizer.decode(self.ids)
        return self._new(self.text.rstrip("\ufffd"))  # a character that isn't complete yet

    def _new(self, text):
        given, self.n_given = self.n_given, max(self.n_given, len(text))
        return text[given:]

    def finish(self):
        """-> the rest of the text: U+FFFD for a character that was never completed"""
        return self._new(self.text) + self.decoder.decode(b"", final=True)


def text_pieces(tokenizer, ids, skip_special_tokens=True):
    """Yield the text of each id of the iterable `ids` as soon as it is complete.

    Joined, the pieces are tokenizer.decode(ids, skip_special_tokens), except that lone surrogates,
    which no terminal can show, are U+FFFD.
    """
    decoder = StreamDecoder(tokenizer, skip_special_tokens)
    for id in ids:
        piece = decoder.push(id)
        if piece:
            yield piece
    rest = decoder.finish()
    if rest:
        yield rest


class TextStreamer:
    """Prints the text of one sequence while `generate` produces it:

        model.generate(**inputs, streamer=TextStreamer(tokenizer))

    skip_prompt: print only the new text;  skip_special_tokens: leave special tokens out
    """

    def __init__(self, tokenizer, skip_prompt=False, *, skip_special_tokens=False):
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.skip_special_tokens = skip_special_tokens
        self._begin()

    def _begin(self):
        self.decoder = StreamDecoder(self.tokenizer, self.skip_special_tokens)
        self.next_is_prompt = True

    def put(self, value):
        """Receive the prompt (1, T), and then each new token (1,)."""
        if len(value) > 1:
            raise ValueError(f"a TextStreamer follows one sequence, got {len(value)} of them")
        is_prompt, self.next_is_prompt = self.next_is_prompt, False
        if is_prompt and self.skip_prompt:
            return
        text = "".join(self.decoder.push(id) for id in value.ravel().tolist())
        if text:
            self.on_finalized_text(text)

    def end(self):
        """Print the rest of the text and a newline. The streamer is then ready for another one."""
        rest = self.decoder.finish()
        self._begin()
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text, stream_end=False):
        """Print one piece of text; a subclass may override this."""
        print(text, end="\n" if stream_end else "", flush=True)


class TextIteratorStreamer(TextStreamer):
    """An iterator over the pieces of text, for `generate` in another thread:

        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
        Thread(target=model.generate, kwargs={**inputs, "streamer": streamer}).start()
        for piece in streamer: ...

    timeout: seconds to wait for the next piece before queue.Empty is raised; None waits forever
    """

    END = object()

    def __init__(self, tokenizer, skip_prompt=False, timeout=None, *, skip_special_tokens=False):
        super().__init__(tokenizer, skip_prompt, skip_special_tokens=skip_special_tokens)
        self.timeout = timeout
        self.queue = Queue()

    def on_finalized_text(self, text, stream_end=False):
        if text:
            self.queue.put(text)
        if stream_end:
            self.queue.put(self.END)

    def __iter__(self):
        return self

    def __next__(self):
        piece = self.queue.get(timeout=self.timeout)
        if piece is self.END:
            raise StopIteration
        return piece
