"""The tokens of a vocabulary, their ids, and the special ones among them."""

from dataclasses import replace

import numpy as np

from minillm.text.added_tokens import AddedToken, AddedTokenSplitter
from minillm.text.byte_level import text_to_bytes, unspell

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


class Vocabulary:
    """Tokens and ids: what a GPT2Tokenizer knows beside its merges.

    A token is written in the printable characters of byte_level.py. Beside the vocabulary proper
    stand the added tokens, which are looked for in a text first. Some have a name: bos_token (the
    beginning of a text), eos_token (its end), unk_token (stands for what is unknown) and pad_token
    (fills up short texts); the id of each is bos_token_id and so on. All can be set:
    tokenizer.pad_token = tokenizer.eos_token.

    vocab: {token: id};  added_tokens: {id: AddedToken}
    Raises ValueError for an added token whose id the vocabulary gives to another token.
    """

    def __init__(self, vocab, added_tokens):
        self._vocab = dict(vocab)
        # The bytes of every token, for decoding. A token that isn't spelled in the alphabet of
        # bytes (such as "<|fin de texte|>", with its spaces) stands for itself.
        self._tokens = {id: token for token, id in self._vocab.items()}
        self._bytes = {id: unspell(token) for id, token in self._tokens.items()}
        for id, data in self._bytes.items():
            if data is None:
                self._bytes[id] = text_to_bytes(self._tokens[id])
        self._added = {}  # id -> AddedToken
        self._added_ids = {}  # content -> id
        for id, token in sorted(added_tokens.items()):
            self._put_added(id, token)
        self._splitter = AddedTokenSplitter(self._added.values())
        self._special = dict.fromkeys(SPECIAL_NAMES)

    @property
    def vocab_size(self):
        """Number of tokens of the vocabulary, without those that were added to it later."""
        return len(self._vocab)

    def __len__(self):
        """Number of all tokens: what a model needs as its `vocab_size`."""
        return len(self._vocab.keys() | self._added_ids.keys())

    def get_vocab(self):
        """-> {token: id} of all tokens."""
        return {**self._vocab, **self._added_ids}

    def get_added_vocab(self):
        """-> {token: id} of the tokens that are looked for before the text is split up."""
        return dict(self._added_ids)

    def convert_tokens_to_ids(self, tokens):
        """-> the id of a token, or the list of ids of a list; an unknown one is `unk_token_id`."""
        if isinstance(tokens, str):
            id = self._added_ids.get(tokens)
            return self._vocab.get(tokens, self.unk_token_id) if id is None else id
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids, skip_special_tokens=False):
        """-> the token of an id, or the list of tokens of a sequence of ids."""
        if np.ndim(ids) == 0:
            id = int(ids)
            return self._added[id].content if id in self._added else self._lookup(self._tokens, id)
        special = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.convert_ids_to_tokens(id) for id in ids if int(id) not in special]

    def _lookup(self, table, id):
        try:
            return table[id]
        except KeyError:
            raise ValueError(
                f"ids contain {id}, which is not in the vocabulary of {len(self)} tokens"
            ) from None

    # ---- special tokens

    def add_tokens(self, tokens, special_tokens=False):
        """Add tokens (str, AddedToken, or a list of them) -> how many are new to the vocabulary.

        They get the next free ids. The model's embedding must be made larger by as many rows.
        """
        tokens = [tokens] if isinstance(tokens, (str, AddedToken)) else tokens
        before = len(self)
        for token in tokens:
            if not isinstance(token, AddedToken):
                require_str("token", token)
                token = AddedToken(token, normalized=not special_tokens)
            token = replace(token, special=special_tokens or token.special)
            id = self._added_ids.get(token.content, self._vocab.get(token.content))
            known = self._added.get(id)
            if known is None or (special_tokens and not known.special):
                self._put_added(self._next_id() if id is None else id, token)
        self._splitter = AddedTokenSplitter(self._added.values())
        return len(self) - before

    def add_special_tokens(self, tokens):
        """Name special tokens, adding those that are not in the vocabulary -> how many were added.

        tokens: {"pad_token": "<pad>", …} and "additional_special_tokens": a list; a token is a str
        or an AddedToken.
        """
        count = 0
        for name, value in tokens.items():
            if name in ("additional_special_tokens", "extra_special_tokens"):
                count += self.add_tokens(list(value), special_tokens=True)
            elif name in SPECIAL_NAMES:
                count += self.add_tokens([value], special_tokens=True)
                self._special[name] = value.content if isinstance(value, AddedToken) else value
            else:
                wanted = ", ".join((*SPECIAL_NAMES, "additional_special_tokens"))
                raise ValueError(f"tokens has the name {name!r}, wanted {wanted}")
        return count

    def _put_added(self, id, token):
        if not token.content:
            raise ValueError("an added token is empty")
        other = self._tokens.get(id, token.content)
        if other != token.content or self._vocab.get(token.content, id) != id:
            raise ValueError(
                f"added token {token.content!r} has id {id}, where the vocabulary has {other!r}"
            )
        self._added[id] = token
        self._added_ids[token.content] = id

    def _next_id(self):
        return max([*self._tokens, *self._added], default=-1) + 1

    @property
    def all_special_tokens(self):
        """Contents of all special tokens, those with a name first, the others by id."""
        named = [token for token in self._special.values() if token is not None]
        others = [token.content for _, token in sorted(self._added.items()) if token.special]
        return list(dict.fromkeys(named + others))

    @property
    def all_special_ids(self):
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def special_tokens_map(self):
        """{name: token} of the special tokens that are set."""
        return {name: token for name, token in self._special.items() if token is not None}

    def _set_special(self, name, token):
        if token is not None:
            if require_str(name, token) not in self._vocab and token not in self._added_ids:
                raise ValueError(
                    f"{name} is {token!r}, which is not in the vocabulary; add it with "
                    f"tokenizer.add_special_tokens({{{name!r}: {token!r}}})"
                )
            self.add_tokens([token], special_tokens=True)
        self._special[name] = token

    def _special_id(self, name):
        token = self._special[name]
        return None if token is None else self.convert_tokens_to_ids(token)

    def _set_special_id(self, name, id):
        self._set_special(name, None if id is None else self.convert_ids_to_tokens(id))

    bos_token = property(lambda self: self._special["bos_token"],
                         lambda self, token: self._set_special("bos_token", token))
    eos_token = property(lambda self: self._special["eos_token"],
                         lambda self, token: self._set_special("eos_token", token))
    unk_token = property(lambda self: self._special["unk_token"],
                         lambda self, token: self._set_special("unk_token", token))
    pad_token = property(lambda self: self._special["pad_token"],
                         lambda self, token: self._set_special("pad_token", token))
    bos_token_id = property(lambda self: self._special_id("bos_token"),
                            lambda self, id: self._set_special_id("bos_token", id))
    eos_token_id = property(lambda self: self._special_id("eos_token"),
                            lambda self, id: self._set_special_id("eos_token", id))
    unk_token_id = property(lambda self: self._special_id("unk_token"),
                            lambda self, id: self._set_special_id("unk_token", id))
    pad_token_id = property(lambda self: self._special_id("pad_token"),
                            lambda self, id: self._set_special_id("pad_token", id))


def require_str(name, value):
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}, wanted a str")
    return value


def one_of(name, value, allowed):
    """Return `value` if it is one of `allowed`, else ValueError. 1 isn't True here."""
    if not any(value is choice or (isinstance(choice, str) and value == choice)
               for choice in allowed):
        raise ValueError(f"{name} is {value!r}, wanted one of {', '.join(map(repr, allowed))}")
    return value
