"""A vocabulary: tokens, their ids, and special tokens with names."""

from dataclasses import replace

import numpy as np

from minillm.checks import shown
from minillm.text.added_tokens import AddedToken, AddedTokenSplitter

# The names that every tokenizer has, set or not. Files can add others, such as image_token.
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
                 "mask_token")
EXTRA_NAMES = ("additional_special_tokens", "extra_special_tokens")  # lists without names


class Vocabulary:
    """The part of a tokenizer that doesn't depend on its algorithm.

    Besides the vocabulary proper there are added tokens, which are found in a text first. Some have
    names: bos_token (the beginning of a text), eos_token (its end), unk_token (an unknown token),
    pad_token (padding), and sep_token, cls_token and mask_token, which GPT-2 doesn't use. Their ids
    are bos_token_id and so on. All can be set: tokenizer.pad_token = tokenizer.eos_token.

    vocab: {token: id};  added_tokens: {id: AddedToken}
    normalizer: applied to texts before finding tokens with normalized=True
    Raises ValueError for an added token whose id belongs to another token of the vocabulary.
    """

    def __init__(self, vocab, added_tokens, normalizer=None):
        self._vocab = dict(vocab)
        self._tokens = {id: token for token, id in self._vocab.items()}
        self.normalizer = normalizer
        self._added = {}  # id -> AddedToken
        self._added_ids = {}  # content -> id
        self._special = dict.fromkeys(SPECIAL_NAMES)
        for id, token in sorted(added_tokens.items()):
            self._put_added(id, token)
        self._splitter = AddedTokenSplitter(self._added.values(), normalizer)

    @property
    def vocab_size(self):
        """The size of the vocabulary without added tokens."""
        return len(self._vocab)

    def __len__(self):
        """The number of all tokens: the `vocab_size` that a model needs."""
        return len(self._vocab.keys() | self._added_ids.keys())

    def get_vocab(self):
        """-> {token: id} of all tokens"""
        return {**self._vocab, **self._added_ids}

    vocab = property(get_vocab)

    def get_added_vocab(self):
        """-> {token: id} of the added tokens"""
        return dict(self._added_ids)

    @property
    def added_tokens_decoder(self):
        """{id: AddedToken} of the added tokens."""
        return dict(self._added)

    def convert_tokens_to_ids(self, tokens):
        """-> the id of a token, or the list of ids of a list; unk_token_id for an unknown token"""
        if isinstance(tokens, str):
            id = self._added_ids.get(tokens)
            return self._vocab.get(tokens, self.unk_token_id) if id is None else id
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids, skip_special_tokens=False):
        """-> the token of an id, or the list of tokens of a sequence of ids

        An id without a token, such as the padding of a model's vocabulary to a round number, gives
        None. Raises TypeError for anything but integers, ValueError for negative ones.
        """
        if np.ndim(ids) == 0:
            return self._token(require_ids(ids)[0])
        special = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._token(id) for id in require_ids(ids) if id not in special]

    def _token(self, id):
        added = self._added.get(id)
        if added is None:
            return self._tokens.get(id)
        normalize = self.normalizer if added.normalized and self.normalizer else str
        return normalize(added.content)

    # ---- special tokens

    def add_tokens(self, tokens, special_tokens=False):
        """Add tokens (str, AddedToken, or a list of them) -> the number of new ones

        New tokens get the next free ids. The model needs a row for each of them:
        model.resize_token_embeddings(len(tokenizer)).
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
            if known is None:
                self._put_added(self._next_id() if id is None else id, token)
            elif special_tokens and not known.special:  # as a known token, it is found as before
                self._put_added(id, replace(known, special=True))
        self._splitter = AddedTokenSplitter(self._added.values(), self.normalizer)
        return len(self) - before

    def add_special_tokens(self, tokens):
        """Name special tokens, and add those that aren't in the vocabulary -> the number added

        tokens: {"pad_token": "<pad>", …}, and optionally "additional_special_tokens" or
        "extra_special_tokens", a list without names. A token is a str or an AddedToken.
        """
        count = 0
        for name, value in tokens.items():
            if name in EXTRA_NAMES:
                count += self.add_tokens(list(value), special_tokens=True)
            elif name in self._special:
                count += self.name_token(name, value)
            else:
                wanted = ", ".join((*self._special, *EXTRA_NAMES))
                raise ValueError(f"tokens has the name {name!r}, wanted {wanted}")
        return count

    def name_token(self, name, token):
        """Give `token`, a str or AddedToken, a name that ends in _token -> 1 if it is new, or 0"""
        count = self.add_tokens([token], special_tokens=True)
        self._special[name] = token.content if isinstance(token, AddedToken) else token
        return count

    def _put_added(self, id, token):
        if not token.content:
            raise ValueError("an added token is empty")
        other = self._tokens.get(id, token.content)
        if other != token.content or self._vocab.get(token.content, id) != id:
            raise ValueError(
                f"added token {shown(token.content)} has id {id}, where the vocabulary has "
                f"{shown(other)}"
            )
        self._added[id] = token
        self._added_ids[token.content] = id

    def _next_id(self):
        return max(max(self._tokens, default=-1), max(self._added, default=-1)) + 1

    @property
    def all_special_tokens(self):
        """List of all special tokens, those with names first."""
        named = [token for token in self._special.values() if token is not None]
        return list(dict.fromkeys(named + self.extra_special_tokens))

    @property
    def all_special_ids(self):
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def extra_special_tokens(self):
        """List of the special tokens without names."""
        named = set(self._special.values())
        return [token.content for _, token in sorted(self._added.items())
                if token.special and token.content not in named]

    additional_special_tokens = extra_special_tokens  # the old name

    @property
    def special_tokens_map(self):
        """{name: token} of the special tokens that are set."""
        return {name: token for name, token in self._special.items() if token is not None}

    def __getattr__(self, name):
        """bos_token, bos_token_id and so on, and the names that files add."""
        special = self.__dict__.get("_special", {})
        if name in special:
            return special[name]
        token_name = name.removesuffix("_id")
        if token_name in special and name != token_name:
            token = special[token_name]
            return None if token is None else self.convert_tokens_to_ids(token)
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def __setattr__(self, name, value):
        special = self.__dict__.get("_special", {})
        if name in special:
            self._set_special(name, value)
        elif name.endswith("_id") and name.removesuffix("_id") in special:
            token = None if value is None else self.convert_ids_to_tokens(value)
            if value is not None and token is None:
                raise ValueError(f"{name} is {value}, which no token has")
            self._set_special(name.removesuffix("_id"), token)
        else:
            super().__setattr__(name, value)

    def _set_special(self, name, token):
        if token is not None:
            content = token.content if isinstance(token, AddedToken) else require_str(name, token)
            if content not in self._vocab and content not in self._added_ids:
                raise ValueError(
                    f"{name} is {shown(content)}, which is not in the vocabulary; add it with "
                    f"tokenizer.add_special_tokens({{{name!r}: {shown(content)}}})"
                )
            self.name_token(name, token)
        else:
            self._special[name] = None


def require_ids(ids):
    """-> `ids`, an int, a sequence or an array (T,) of any integer dtype, as a list of int

    Raises TypeError for anything but integers, ValueError for negative ones.
    """
    array = np.asarray(ids)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"ids are {array.dtype}, wanted integers")
    if array.size and array.min() < 0:
        raise ValueError(f"ids contain {array.min()}, wanted at least 0")
    return array.reshape(-1).tolist()


def require_str(name, value):
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}, wanted a str")
    return value


def one_of(name, value, allowed):
    """Return `value` if it is one of `allowed`, else ValueError. 1 isn't True here."""
    if not any(value is choice or (isinstance(choice, str) and value == choice)
               for choice in allowed):
        raise ValueError(f"{name} is {shown(value)}, wanted one of "
                         f"{', '.join(map(repr, allowed))}")
    return value
