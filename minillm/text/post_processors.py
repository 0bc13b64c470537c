"""Post-processors put special tokens around a text, or around a pair of texts.

    GPT-2      nothing; with add_bos_token: <|endoftext|> A
    Llama 3    <|begin_of_text|> A
    RoBERTa    <s> A </s>,  <s> A </s> </s> B </s>
    BERT       [CLS] A [SEP],  [CLS] A [SEP] B [SEP],  where B and its [SEP] have type 1

A template is a list of parts: texts ("A" or "B") and special tokens (ids), each with a type id. A
post-processor can also trim the offsets of byte-level tokens, so that those of " word" exclude the
space.
"""

from dataclasses import dataclass
from typing import NamedTuple

from minillm.checks import shown
from minillm.text.components import read_component


class Part(NamedTuple):
    """One part of a template: a text ("A" or "B"), or special tokens with these `ids`.

    overflow_too: True if `type_id` applies to the overflow as well. If not, the overflow has type 0
        for A and 1 for B, as in `tokenizers`.
    """

    type_id: int
    text: str | None = None
    ids: tuple = ()
    overflow_too: bool = False


class PostProcessor:
    """A component of tokenizer.json for a text A, or a pair A, B."""

    trims = ()  # add_prefix_space of each step that trims offsets, see `trimmed`
    template = None  # {"single": list of Part, "pair": list of Part}, if it has one


@dataclass(frozen=True)
class ByteLevel(PostProcessor):
    """Adds nothing. trim_offsets: exclude spaces at both ends of a token from its offsets."""

    add_prefix_space: bool
    trim_offsets: bool
    use_regex: bool = True

    @property
    def trims(self):
        return (self.add_prefix_space,) if self.trim_offsets else ()


@dataclass(frozen=True)
class TemplateProcessing(PostProcessor):
    """Templates in the form of the file:

    single, pair: [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", …}}, …]
    special_tokens: {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    """

    single: list[dict]
    pair: list[dict]
    special_tokens: dict[str, dict]

    def __post_init__(self):
        template = {
            "single": [self._part(f"single[{i}]", part, "A") for i, part in enumerate(self.single)],
            "pair": [self._part(f"pair[{i}]", part, "AB") for i, part in enumerate(self.pair)],
        }
        object.__setattr__(self, "template", template)

    def _part(self, where, part, texts):
        kind, value = next(iter(part.items())) if len(part) == 1 else (None, None)
        name, type_id = (value.get("id"), value.get("type_id")) if isinstance(value, dict) else (
            None, None)
        if (kind not in ("Sequence", "SpecialToken") or not isinstance(name, str)
                or type(type_id) is not int or type_id < 0 or len(value) != 2):
            raise ValueError(f"{where} is {shown(part)}, wanted {{'Sequence' or 'SpecialToken': "
                             "{'id': …, 'type_id': …}}")
        if kind == "Sequence":
            if name not in tuple(texts):
                raise ValueError(f"{where} is text {shown(name)}, wanted {' or '.join(texts)}")
            return Part(type_id, text=name)
        return Part(type_id, ids=self._ids(where, name))

    def _ids(self, where, name):
        token = self.special_tokens.get(name)
        if token is None:
            raise ValueError(f"{where} is {shown(name)}, which special_tokens doesn't have")
        ids = token.get("ids")
        if not isinstance(ids, list) or not all(type(id) is int and id >= 0 for id in ids):
            raise ValueError(f"special_tokens[{shown(name)}].ids is {shown(ids)}, wanted a list of "
                             "integers")
        return tuple(ids)


class _ClassifierTokens(PostProcessor):
    """Base of BERT's and RoBERTa's, whose fields cls and sep are [token, id]."""

    def _id(self, name):
        value = getattr(self, name)
        if (len(value) != 2 or not isinstance(value[0], str) or type(value[1]) is not int
                or value[1] < 0):
            raise ValueError(f"{name} is {shown(value)}, wanted [token, id]")
        return (value[1],)


@dataclass(frozen=True)
class BertProcessing(_ClassifierTokens):
    sep: list
    cls: list

    def __post_init__(self):
        cls, sep = self._id("cls"), self._id("sep")
        single = [Part(0, ids=cls), Part(0, "A"), Part(0, ids=sep)]
        object.__setattr__(self, "template", {
            "single": single, "pair": [*single, Part(1, "B"), Part(1, ids=sep)]})


@dataclass(frozen=True)
class RobertaProcessing(_ClassifierTokens):
    """RoBERTa's: both texts have type 0."""

    sep: list
    cls: list
    trim_offsets: bool
    add_prefix_space: bool

    def __post_init__(self):
        cls, sep = self._id("cls"), self._id("sep")
        single = [Part(0, ids=cls), Part(0, "A"), Part(0, ids=sep)]
        second = Part(0, "B", overflow_too=True)
        object.__setattr__(self, "template", {
            "single": single, "pair": [*single, Part(0, ids=sep), second, Part(0, ids=sep)]})

    @property
    def trims(self):
        return (self.add_prefix_space,) if self.trim_offsets else ()


@dataclass(frozen=True)
class Sequence(PostProcessor):
    """Several post-processors; only one of them can add tokens."""

    processors: list[dict]
    parts = "processors"

    def __post_init__(self):
        if sum(part.template is not None for part in self.processors) > 1:
            raise ValueError("processors has two templates: minillm can follow one")

    @property
    def template(self):
        return next((part.template for part in self.processors if part.template), None)

    @property
    def trims(self):
        return tuple(prefix for part in self.processors for prefix in part.trims)


PLAIN = {"single": [Part(0, "A")], "pair": [Part(0, "A"), Part(1, "B")]}
KINDS = {cls.__name__: cls for cls in (
    ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence)}


def read_post_processor(path, content):
    """-> the post-processor of a tokenizer.json, None for null; ValueError for one not here."""
    return None if content is None else read_component(path, content, "post_processor", KINDS)


def template_of(post_processor, pair, add_special_tokens=True):
    """-> list of Part for one text, or for a pair"""
    template = (post_processor and post_processor.template) or PLAIN
    parts = template["pair" if pair else "single"]
    return parts if add_special_tokens else [part for part in parts if part.text]


def bos_eos_template(bos, eos):
    """-> TemplateProcessing that puts `bos` before each text and `eos` after it

    bos, eos: (token, id), or None for nothing
    """
    def around(text, type_id):
        parts = [{"Sequence": {"id": text, "type_id": type_id}}]
        if bos:
            parts.insert(0, {"SpecialToken": {"id": bos[0], "type_id": type_id}})
        if eos:
            parts.append({"SpecialToken": {"id": eos[0], "type_id": type_id}})
        return parts

    tokens = {token: {"id": token, "ids": [id], "tokens": [token]}
              for token, id in filter(None, (bos, eos))}
    return TemplateProcessing(around("A", 0), around("A", 0) + around("B", 1), tokens)


def trimmed(offsets, tokens, prefix_added):
    """-> `offsets` without the spaces at both ends of their tokens

    offsets: list of (start, end);  tokens: the spelled tokens, with "Ġ" for a space
    prefix_added: the single space before the first word was inserted, so it takes up no offset
    """
    result = []
    for index, ((start, end), token) in enumerate(zip(offsets, tokens)):
        left = len(token) - len(token.lstrip(_SPACES))
        right = len(token) - len(token.rstrip(_SPACES))
        if left == 1 and prefix_added and (index == 0 or start == 0):
            left = 0
        start = min(start + left, end)
        if end >= right:
            end = max(end - right, start)
        result.append((start, end))
    return result


_SPACES = "Ġ \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009" \
          "\u200a\u2028\u2029\u202f\u205f\u3000"
