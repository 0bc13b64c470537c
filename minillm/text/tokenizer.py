"""The base of all tokenizers: a text goes through five steps, whatever the algorithm.

    added tokens      find <|endoftext|> and the like                             added_tokens.py
    normalizer        Unicode forms, lower case; for GPT-2 nothing                normalizers.py
    pre-tokenizer     split the text into words                                   pre_tokenizers.py
    model             turn each word into ids: byte-pair encoding, WordPiece, …   bpe.py
    post-processor    put special tokens around the text, or around a pair        post_processors.py

Then rows are truncated and padded to one length (encoding.py). An algorithm is a subclass with a
model, which has encode(words) -> ids and encode_piece(text) -> [(id, start, end)], the characters
that each token stands for, and a method that turns ids into text.
"""

import inspect
import math
from functools import partial
from itertools import chain

import numpy as np

from minillm.checks import shown
from minillm.hub import find_pretrained
from minillm.text.added_tokens import AddedToken
from minillm.text.chat_template import choose_template, render
from minillm.text.encoding import (
    BatchEncoding,
    arrange,
    length_of,
    pad,
    to_array,
    truncate_pair,
)
from minillm.text.post_processors import bos_eos_template, template_of, trimmed
from minillm.text.pre_tokenizers import after_the_start
from minillm.text.tokenizer_files import (
    TokenizerFiles,
    read_tokenizer_files,
    write_tokenizer_files,
)
from minillm.text.traced_text import TracedText
from minillm.text.vocabulary import Vocabulary, one_of, require_ids, require_str

NO_LIMIT = int(1e30)  # the model_max_length that Hugging Face writes for "none"
STRATEGIES = ("longest_first", "only_first", "only_second")
COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask",
           "offset_mapping")
PLACES = inspect.signature(find_pretrained).parameters.keys() - {"name_or_path"}
TRACED = ("offset_mapping", "word_ids", "sequence_ids", "tokens")  # need the traced text


class PreTrainedTokenizer(Vocabulary):
    """The interface of `transformers`' tokenizers, on top of the steps above.

    minillm computes with NumPy, so `return_tensors` "pt", which most programs pass, and "np" both
    return int64 NumPy arrays of shape (B, T).

    vocab: {token: id};  model, pre_tokenizer, normalizer, post_processor: the steps; without a
        post-processor, only add_bos_token and add_eos_token add tokens to a text
    added_tokens: {id: AddedToken}, tokens that are found in the text first
    special_tokens: {name: str, AddedToken or None}, such as {"pad_token": "<pad>"}; one that isn't
        in the vocabulary is added at its end. extra_special_tokens: a list without names.
    add_bos_token, add_eos_token: True or False replaces the post-processor by one that does or
        doesn't put these tokens around each text; None keeps it
    model_max_length: the length that truncation=True truncates to without a max_length
    split_special_tokens: treat special tokens in a text as ordinary text
    clean_up_tokenization_spaces: decode removes spaces before punctuation
    model_input_names: the columns that a call returns by default
    chat_template: kept and written back, see `apply_chat_template`
    kept, sections: {field: value} of tokenizer_config.json and of tokenizer.json that are only
        written back
    Raises ValueError for arguments that contradict each other.
    """

    is_fast = True  # in `transformers`: it knows offsets
    cleans_up_spaces = True  # False: clean_up_tokenization_spaces would change the text

    def __init__(self, vocab, model, pre_tokenizer, *, normalizer=None, post_processor=None,
                 added_tokens=None, special_tokens=None, extra_special_tokens=(),
                 add_bos_token=None, add_eos_token=None, model_max_length=NO_LIMIT,
                 padding_side="right", truncation_side="right", split_special_tokens=False,
                 clean_up_tokenization_spaces=False,
                 model_input_names=("input_ids", "attention_mask"), chat_template=None, kept=None,
                 sections=None):
        super().__init__(vocab, added_tokens or {}, normalizer)
        self.model, self.pre_tokenizer = model, pre_tokenizer
        if model_max_length is None:
            model_max_length = NO_LIMIT
        if not isinstance(model_max_length, (int, float)) or not 1 <= model_max_length < math.inf:
            raise ValueError(f"model_max_length is {shown(model_max_length)}, wanted a positive "
                             "integer")
        self.model_max_length = int(model_max_length)
        self.padding_side = one_of("padding_side", padding_side, ("right", "left"))
        self.truncation_side = one_of("truncation_side", truncation_side, ("right", "left"))
        self.split_special_tokens = bool(split_special_tokens)
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.model_input_names = list(model_input_names)
        for name in self.model_input_names:
            one_of("model_input_names", name, COLUMNS[:3])
        self.chat_template = chat_template
        self.kept, self.sections = dict(kept or {}), dict(sections or {})
        for name, token in (special_tokens or {}).items():
            if token is None:
                self._special[name] = None
            else:
                self.name_token(name, token)
        self.add_tokens(list(extra_special_tokens), special_tokens=True)
        self.post_processor = post_processor
        if post_processor is None or add_bos_token is not None or add_eos_token is not None:
            self._set_template(add_bos_token, add_eos_token)

    # ---- read from files, written to files

    classes = ()  # the classes of `transformers` whose files this one reads, its own name first
    decoder = None  # the section of tokenizer.json that says how ids become text
    vocabulary_files = ("vocab.json",)  # the files that can replace a tokenizer.json
    own_options = {}  # {field of tokenizer_config.json: kind}, further arguments of the constructor

    @classmethod
    def from_pretrained(cls, name_or_path, **options):
        """Read a tokenizer from a directory with tokenizer.json, or with its `vocabulary_files`.

        Any other name is looked up as in `GPT2LMHeadModel.from_pretrained`.
        options: arguments of the constructor that override the files, such as pad_token="<pad>",
        and those of hub.find_pretrained. use_fast has no effect: there is one kind of tokenizer.
        Raises FileNotFoundError if the files don't exist, ValueError if they are broken or need
        something that minillm does not have (see tokenizer_files.py), TypeError for other options.
        """
        options.pop("use_fast", None)
        if options.pop("trust_remote_code", False):
            raise ValueError("trust_remote_code is True, but minillm runs no code of a checkpoint")
        places = {name: options.pop(name) for name in PLACES & options.keys()}
        folder = find_pretrained(name_or_path, **places)
        files = read_tokenizer_files(folder, cls.classes, cls.vocabulary_files, cls.own_options)
        path = folder / ("tokenizer.json" if files.whole else cls.vocabulary_files[0])
        special = {name: token for name, token in files.special_tokens.items()
                   if name not in options}
        arguments = {
            **cls._from_files(path, files), **files.options, "special_tokens": special,
            "extra_special_tokens": files.extra_special_tokens, "added_tokens": files.added_tokens,
            "normalizer": files.normalizer, "pre_tokenizer": files.pre_tokenizer,
            "post_processor": files.post_processor, "kept": files.kept, "sections": files.sections,
            **options,
        }
        try:
            return cls(**arguments)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    @classmethod
    def _from_files(cls, path, files):
        """-> {argument of the constructor: value} for the arguments that the algorithm adds

        path: the file that a ValueError names
        """
        raise NotImplementedError

    def save_pretrained(self, folder):
        """Write the tokenizer into `folder`, in all files of Hugging Face's format.

        `transformers` and `tokenizers` can open the folder, and give the same ids.
        """
        names = ("add_bos_token", "add_eos_token", "clean_up_tokenization_spaces",
                 "model_input_names", "model_max_length", "padding_side", "split_special_tokens",
                 "truncation_side")
        options = {**{name: getattr(self, name) for name in names}, **self._options_to_json()}
        if self.chat_template is not None:
            options["chat_template"] = self.chat_template
        write_tokenizer_files(folder, TokenizerFiles(
            model=self._model_to_json(), decoder=self.decoder, normalizer=self.normalizer,
            pre_tokenizer=self.pre_tokenizer, post_processor=self.post_processor,
            added_tokens=self._added,
            special_tokens={name: token and AddedToken(token)
                            for name, token in self._special.items()},
            extra_special_tokens=[AddedToken(token) for token in self.extra_special_tokens],
            options=options, kept=self.kept, sections=self.sections,
        ), self._class_to_write(), self.vocabulary_files)

    def _class_to_write(self):
        """-> the class of `transformers` that opens what is written, and makes the same of it."""
        return self.classes[0]

    def _model_to_json(self):
        """-> the section "model" of tokenizer.json."""
        raise NotImplementedError

    def _options_to_json(self):
        """-> {field of tokenizer_config.json: value} for the fields that the algorithm adds"""
        return {}

    # ---- text to ids

    def __call__(self, text=None, text_pair=None, text_target=None, text_pair_target=None,
                 add_special_tokens=True, padding=False, truncation=None, max_length=None, stride=0,
                 is_split_into_words=False, pad_to_multiple_of=None, padding_side=None,
                 return_tensors=None, return_token_type_ids=None, return_attention_mask=None,
                 return_overflowing_tokens=False, return_special_tokens_mask=False,
                 return_offsets_mapping=False, return_length=False, verbose=True,
                 split_special_tokens=None):
        """Encode one text or several, or pairs -> BatchEncoding with input_ids and attention_mask

        text: str, or a list of str, or of pairs of str. With is_split_into_words a text is a list
            of words, each encoded separately. For one text without return_tensors the values are
            flat lists. text_pair: the second text of each pair, of the same kind.
        text_target: encoded in the same way; its ids are "labels"
        add_special_tokens: False leaves out the special tokens of the post-processor
        padding: True or "longest": to the length of the longest row; "max_length": to `max_length`,
            or else `model_max_length`; False: none. On `padding_side`.
        pad_to_multiple_of: pad to the next multiple of this
        truncation: True or "longest_first": to `max_length`, or else `model_max_length`, at
            `truncation_side`, the longer text of a pair first; "only_first", "only_second": only
            that text. A `max_length` without padding or truncation truncates.
        return_overflowing_tokens: the truncated tokens become further rows, which overlap by
            `stride`; "overflow_to_sample_mapping" has the index of each row's text
        return_tensors: "pt" or "np": int64 arrays (B, T); None: lists
        return_offsets_mapping: also return "offset_mapping": (start, end) of each token in its text
        return_special_tokens_mask: also return a mask: 1 for tokens of the post-processor and
            padding
        split_special_tokens: treat special tokens in the text as ordinary text; None: the
            attribute's value
        verbose: no effect

        Raises TypeError for anything but text; ValueError for texts of unequal length if they have
        to be padded without a pad token, or form an array without padding.
        """
        if text is None:
            text, text_pair = text_target, text_pair_target
            text_target = None
        pairs, single = self._inputs(text, text_pair, is_split_into_words)
        one_of("return_tensors", return_tensors, (None, "pt", "np"))
        padding, strategy, limit = self._lengths(padding, truncation, max_length,
                                                 pad_to_multiple_of)
        _whole("stride", stride)
        if strategy and stride > (room := self._room(limit, False, add_special_tokens)):
            raise ValueError(f"stride is {stride}, wanted at most the {room} tokens that "
                             "max_length leaves to the text")
        wanted = {"input_ids": True, "token_type_ids": return_token_type_ids,
                  "attention_mask": return_attention_mask,
                  "special_tokens_mask": return_special_tokens_mask,
                  "offset_mapping": return_offsets_mapping}
        columns = [name for name, flag in wanted.items()
                   if (name in self.model_input_names if flag is None else flag)]
        if split_special_tokens is None:
            split_special_tokens = self.split_special_tokens
        rows_of_all = partial(
            self._all_rows, pairs, add_special_tokens, strategy, limit, stride,
            split_special_tokens, return_overflowing_tokens, padding, pad_to_multiple_of,
            padding_side,
        )
        rows, samples = rows_of_all(columns)
        encoding = BatchEncoding(
            {name: [row[name] for row in rows] for name in columns},
            trace=partial(rows_of_all, columns + [name for name in TRACED if name not in columns]),
        )
        if return_length:
            encoding["length"] = [length_of(row) for row in rows]
        if return_overflowing_tokens:
            encoding["overflow_to_sample_mapping"] = samples
        for name, value in encoding.items():
            if return_tensors is not None:
                encoding[name] = to_array(name, value)
            elif single and not return_overflowing_tokens and name in COLUMNS:
                encoding[name] = value[0]
        if text_target is not None:
            encoding["labels"] = self(
                text_target, text_pair_target, None, None, add_special_tokens, padding, truncation,
                max_length, stride, is_split_into_words, pad_to_multiple_of, padding_side,
                return_tensors, split_special_tokens=split_special_tokens,
            )["input_ids"]
        return encoding

    encode_plus = batch_encode_plus = __call__  # their older names

    def encode(self, text, text_pair=None, add_special_tokens=True, padding=False, truncation=None,
               max_length=None, stride=0, padding_side=None, return_tensors=None, **options):
        """-> list of the ids of `text`, or with return_tensors="pt" or "np" an int64 array (1, T).

        Special tokens in the text become their ids. The empty text has no ids: [] or shape (1, 0).
        The arguments are those of `__call__`.
        """
        return self(text, text_pair, None, None, add_special_tokens, padding, truncation,
                    max_length, stride, padding_side=padding_side, return_tensors=return_tensors,
                    return_attention_mask=False, **options)["input_ids"]

    def tokenize(self, text, pair=None, add_special_tokens=False, **options):
        """-> list of the tokens of `text` as spelled in the vocabulary (a space is "Ġ")

        An added token appears as in the text, with the spaces that it includes.
        """
        require_str("text", text)
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def num_special_tokens_to_add(self, pair=False):
        """-> the number of special tokens that the post-processor puts around a text or a pair"""
        return sum(len(part.ids) for part in template_of(self.post_processor, pair))

    @property
    def max_len_single_sentence(self):
        """The number of tokens of one text that fit into `model_max_length`."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self):
        """The number of tokens of a pair that fit into `model_max_length`."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        """-> list of the ids of one text or two, with special tokens around them"""
        return self._arranged(token_ids_0, token_ids_1)["input_ids"]

    def create_token_type_ids_from_sequences(self, token_ids_0, token_ids_1=None):
        """-> list of the type ids that belong to `build_inputs_with_special_tokens`."""
        return self._arranged(token_ids_0, token_ids_1)["token_type_ids"]

    def get_special_tokens_mask(self, token_ids_0, token_ids_1=None,
                                already_has_special_tokens=False):
        """-> list of 0 and 1: 1 for a special token

        token_ids_0, token_ids_1: ids without special tokens, which are added first
        already_has_special_tokens: token_ids_0 is a whole row, special tokens included
        """
        if not already_has_special_tokens:
            return self._arranged(token_ids_0, token_ids_1)["special_tokens_mask"]
        if token_ids_1 is not None:
            raise ValueError("token_ids_1 is given, but token_ids_0 already has special tokens")
        special = set(self.all_special_ids)
        return [int(id in special) for id in require_ids(token_ids_0)]

    def _arranged(self, first, second):
        names = ("input_ids", "token_type_ids", "special_tokens_mask")
        rows = [None if ids is None else [_row(require_ids(ids), names, type_id)]
                for type_id, ids in enumerate((first, second))]
        return arrange(*rows, self.post_processor, add_special_tokens=True)[0]

    def pad(self, encoded_inputs, padding=True, max_length=None, pad_to_multiple_of=None,
            padding_side=None, return_attention_mask=None, return_tensors=None, verbose=True):
        """Pad rows that are already encoded -> BatchEncoding

        encoded_inputs: a dict of lists, for one row or several, or a list of such dicts; with
        input_ids, and optionally attention_mask, token_type_ids, special_tokens_mask.
        The other arguments are those of `__call__`. A missing attention mask is added.
        """
        if isinstance(encoded_inputs, (list, tuple)):
            encoded_inputs = {name: [one[name] for one in encoded_inputs]
                              for name in encoded_inputs[0]}
        columns = {name: np.asarray(value).tolist() if isinstance(value, np.ndarray) else value
                   for name, value in encoded_inputs.items()}
        if "input_ids" not in columns:
            raise ValueError(f"encoded_inputs has {', '.join(columns)}, but no input_ids")
        single = not columns["input_ids"] or np.ndim(columns["input_ids"][0]) == 0
        if single:
            columns = {name: [value] for name, value in columns.items()}
        rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        rows = [{name: list(column) for name, column in row.items()} for row in rows]
        if return_attention_mask is not False:
            rows = [{"attention_mask": [1] * length_of(row), **row} for row in rows]
        padding, _, _ = self._lengths(padding, False, max_length, pad_to_multiple_of)
        rows = self._pad(rows, padding, pad_to_multiple_of, padding_side)
        one_of("return_tensors", return_tensors, (None, "pt", "np"))
        encoding = BatchEncoding({name: [row[name] for row in rows]
                                  for name in (*columns, *(rows[0].keys() - columns.keys()))})
        for name, value in encoding.items():
            if return_tensors is not None:
                encoding[name] = to_array(name, value)
            elif single:
                encoding[name] = value[0]
        return encoding

    def apply_chat_template(self, conversation, tools=None, documents=None, chat_template=None,
                            add_generation_prompt=False, continue_final_message=False,
                            tokenize=True, sanitize_control_tokens=False, padding=False,
                            truncation=False, max_length=None, return_tensors=None,
                            return_dict=True, return_assistant_tokens_mask=False,
                            tokenizer_kwargs=None, **variables):
        """Write a conversation as the model wants it -> BatchEncoding, as a call returns it; with
        tokenize=False the text, with return_dict=False the ids alone

        conversation: list of {"role": "user", "content": "Hi"}, or a list of such lists
        tools: JSON schemas of functions; documents: list of dicts. Not every template reads them.
        chat_template: a Jinja template, or the name of one in self.chat_template, if it is a dict
        add_generation_prompt: end with the beginning of the assistant's message
        continue_final_message: end inside the last message, so that the model continues it
        padding, truncation, max_length, return_tensors: as in a call; tokenizer_kwargs: more such
        variables: what the template calls by name, such as enable_thinking=False

        The template runs in Jinja2's sandbox: see chat_template.py. Raises ImportError without
        Jinja2 (pip install "minillm[chat]"); ValueError for an empty conversation, without a
        template, for one that fails, and for the two options that minillm doesn't have.
        """
        for name, value in (("sanitize_control_tokens", sanitize_control_tokens),
                            ("return_assistant_tokens_mask", return_assistant_tokens_mask)):
            if value:
                raise ValueError(f"{name} is {shown(value)}, but only False is implemented")
        template = choose_template(self.chat_template, chat_template, tools is not None)
        several = bool(conversation) and isinstance(conversation[0], (list, tuple))
        variables = {**self.special_tokens_map, **variables}
        texts = [
            render(template, messages, tools=tools, documents=documents,
                   add_generation_prompt=add_generation_prompt,
                   continue_final_message=continue_final_message, **variables)
            for messages in (conversation if several else [conversation])
        ]
        texts = texts if several else texts[0]
        if not tokenize:
            return texts
        encoding = self(texts, padding=padding, truncation=truncation, max_length=max_length,
                        add_special_tokens=False, return_tensors=return_tensors,
                        **(tokenizer_kwargs or {}))
        return encoding if return_dict else encoding["input_ids"]

    # ---- the steps

    def _inputs(self, text, text_pair, is_split_into_words):
        """-> list of (first, second or None), each a str or a list of words; True for one text"""
        several = isinstance(text, (list, tuple)) and not (
            is_split_into_words and all(isinstance(word, str) for word in text))
        if not several:
            return [(self._check(text, is_split_into_words),
                     self._check(text_pair, is_split_into_words) if text_pair else None)], True
        if not text:
            raise ValueError("text is an empty list, wanted at least one text")
        if text_pair is None:
            pairs = [self._pair(one, is_split_into_words) for one in text]
        else:
            if not isinstance(text_pair, (list, tuple)):
                raise TypeError(f"text_pair is a {type(text_pair).__name__}, wanted a list as text "
                                "is one")
            if len(text_pair) != len(text):
                raise ValueError(f"text_pair has {len(text_pair)} texts, wanted {len(text)} as "
                                 "text has")
            pairs = list(zip(text, text_pair))
        return [(self._check(first, is_split_into_words),
                 second if second is None else self._check(second, is_split_into_words))
                for first, second in pairs], False

    def _pair(self, one, is_split_into_words):
        if not isinstance(one, (list, tuple)) or len(one) != 2:
            return one, None
        if is_split_into_words and all(isinstance(word, str) for word in one):
            return one, None
        return tuple(one)

    def _check(self, text, is_split_into_words):
        if not is_split_into_words:
            return require_str("text", text)
        if not isinstance(text, (list, tuple)) or not all(isinstance(word, str) for word in text):
            raise TypeError(f"text is {shown(text)}, wanted a list of words (str), because "
                            "is_split_into_words is True")
        return text

    def _lengths(self, padding, truncation, max_length, pad_to_multiple_of):
        """-> padding ("longest", a length or None), truncation (a strategy or None), max_length"""
        padding = one_of("padding", padding,
                         (False, None, True, "longest", "max_length", "do_not_pad"))
        truncation = one_of("truncation", truncation,
                            (None, False, True, *STRATEGIES, "do_not_truncate"))
        limit = None if max_length is None else _whole("max_length", max_length, 1)
        if pad_to_multiple_of is not None:
            _whole("pad_to_multiple_of", pad_to_multiple_of, 1)
        if padding in (False, "do_not_pad"):
            padding = None
        elif padding is True:
            padding = "longest"
        if truncation is None and max_length is not None and padding is None:
            truncation = True
        if limit is None and self.model_max_length < NO_LIMIT:
            limit = self.model_max_length
        strategy = "longest_first" if truncation is True else truncation
        if strategy in (None, False, "do_not_truncate") or limit is None:
            strategy = None
        if strategy and padding and pad_to_multiple_of and limit % pad_to_multiple_of:
            raise ValueError(f"max_length is {limit}, wanted a multiple of pad_to_multiple_of="
                             f"{pad_to_multiple_of}, because rows are both cut and padded")
        if padding == "max_length":
            if limit is None:
                raise ValueError("padding='max_length' needs a max_length or a model_max_length")
            padding = limit
        return padding, strategy, limit

    def _all_rows(self, pairs, add_special_tokens, strategy, limit, stride, split_special_tokens,
                  overflow, padding, pad_to_multiple_of, padding_side, columns):
        """-> list of all rows with these columns, padded; list of the index of each one's text"""
        rows, samples = [], []
        for index, (first, second) in enumerate(pairs):
            found = self._rows(first, second, add_special_tokens, strategy, limit, stride,
                               split_special_tokens, columns)
            found = found if overflow else found[:1]
            rows += found
            samples += [index] * len(found)
        rows = self._pad(rows, padding, pad_to_multiple_of, padding_side)
        for row in rows:
            if "tokens" in row:  # special tokens and padding are still None
                row["tokens"] = [self._token(id) if token is None else token
                                 for id, token in zip(row["input_ids"], row["tokens"])]
        return rows, samples

    def _rows(self, first, second, add_special_tokens, strategy, limit, stride,
              split_special_tokens, columns):
        """-> list of the rows of one text or a pair: the first, then the overflow"""
        first = self._encode(first, 0, split_special_tokens, columns)
        if second is not None:
            second = self._encode(second, 1, split_special_tokens, columns)
        if strategy:
            room = self._room(limit, second is not None, add_special_tokens)
            first, second = truncate_pair(first, second, room, strategy, stride,
                                          self.truncation_side)
        else:
            first, second = [first], second and [second]
        if "offset_mapping" in columns and self.post_processor is not None:
            for prefix_added in self.post_processor.trims:
                for row in chain(first, second or ()):
                    row["offset_mapping"] = trimmed(row["offset_mapping"], row["tokens"],
                                                    prefix_added)
        return arrange(first, second, self.post_processor, add_special_tokens)

    def _room(self, limit, pair, add_special_tokens):
        """-> the tokens that `limit` leaves to the text; ValueError if special tokens exceed it"""
        added = self.num_special_tokens_to_add(pair) if add_special_tokens else 0
        if limit < added:
            raise ValueError(f"max_length is {limit}, but the special tokens alone are {added}")
        return limit - added

    def _encode(self, text, type_id, split_special_tokens, columns):
        """-> the row of a str or a list of words, without special tokens around it"""
        if any(name in columns for name in TRACED):
            return self._encode_traced(text, type_id, split_special_tokens, columns)
        if not isinstance(text, str):
            ids = [id for word in text for id in self._ids(word, split_special_tokens)]
        else:
            ids = self._ids(text, split_special_tokens)
        return _row(ids, columns, type_id)

    def _ids(self, text, split_special_tokens=False):
        """-> list of the ids of `text`: the fast way, without tracing single characters"""
        if not self._spells_last:
            return [id for id, *_ in self._traced_tokens(text, split_special_tokens)]
        ids, encode = [], self.model.encode
        split, later = self.pre_tokenizer.split, after_the_start(self.pre_tokenizer).split
        for piece, token in self._splitter.split(text, split_special_tokens):
            if token is None:
                ids += encode(split(piece))
            else:
                ids.append(self._added_ids[token.content])
            split = later
        return ids

    _spells_last = True  # False: the steps need the traced text, see `_traced_tokens`

    def _encode_traced(self, text, type_id, split_special_tokens, columns):
        words = [text] if isinstance(text, str) else text
        found = [[(id, span, token, word if isinstance(text, str) else index)
                  for id, span, token, word in self._traced_tokens(part, split_special_tokens)]
                 for index, part in enumerate(words)]
        found = list(chain.from_iterable(found))
        ids, spans, tokens, word_ids = map(list, zip(*found)) if found else ([], [], [], [])
        # Trimming offsets needs the tokens, so the row always has them.
        return {**_row(ids, columns, type_id), "offset_mapping": spans, "tokens": tokens,
                "word_ids": word_ids, "sequence_ids": [type_id] * len(ids)}

    def _traced_tokens(self, text, split_special_tokens):
        """Yield (id, (start, end) in `text`, token, index of its word) for every token"""
        parts = self.traced_parts(text, split_special_tokens)
        words = [(word, token) for _, token, words in parts for word in words]
        for index, (word, token) in enumerate(words):
            if token:
                yield self._added_ids[token.content], word.span(0, len(word)), word.text, index
                continue
            for id, start, end in self.model.encode_piece(word.text):
                yield id, word.span(start, end), self._tokens[id], index

    def traced_parts(self, text, split_special_tokens=False):
        """The first three steps -> list of (part, added token or None, words) that cover the text

        part: a normalized TracedText;  words: list of TracedTexts, what the pre-tokenizer makes of
        the part, and what the model gets; an added token is one word
        """
        parts = []
        split, later = self.pre_tokenizer.split, after_the_start(self.pre_tokenizer).split
        for piece, token in self._splitter.split(TracedText.of(text), split_special_tokens):
            parts.append((piece, token, [piece] if token else split(piece)))
            split = later
        return parts

    def _pad(self, rows, padding, multiple, side):
        side = self.padding_side if side is None else one_of("padding_side", side,
                                                             ("right", "left"))
        if padding is None:
            return rows
        length = max(map(length_of, rows)) if padding == "longest" else padding
        if multiple:
            length = -(-length // multiple) * multiple
        pad_id = self.pad_token_id
        return [pad(row, length, pad_id, side) for row in rows]

    # ---- special tokens around a text

    @property
    def add_bos_token(self):
        """True if the post-processor puts `bos_token` before a text."""
        template = template_of(self.post_processor, pair=False)
        return bool(template) and template[0].ids[:1] == (self.bos_token_id,)

    @add_bos_token.setter
    def add_bos_token(self, value):
        self._set_template(value, None)

    @property
    def add_eos_token(self):
        """True if the post-processor puts `eos_token` after a text."""
        template = template_of(self.post_processor, pair=False)
        return bool(template) and template[-1].ids[-1:] == (self.eos_token_id,)

    @add_eos_token.setter
    def add_eos_token(self, value):
        self._set_template(None, value)

    def _set_template(self, add_bos, add_eos):
        """Replace the post-processor by one that adds these; None: as the current one does."""
        add_bos = self.add_bos_token if add_bos is None else add_bos
        add_eos = self.add_eos_token if add_eos is None else add_eos
        for name, wanted in (("bos_token", add_bos), ("eos_token", add_eos)):
            if wanted and getattr(self, name) is None:
                raise ValueError(f"add_{name} is True, but there is no {name}")
        self.post_processor = bos_eos_template(
            (self.bos_token, self.bos_token_id) if add_bos else None,
            (self.eos_token, self.eos_token_id) if add_eos else None,
        )

    # ---- ids to text

    def decode(self, token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=None):
        """-> the text of ids, an int, a list or an array (T,); for rows (B, T), a list of texts

        An id without a token adds nothing. Raises TypeError for anything but integers, ValueError
        for negative ones.
        """
        ids = token_ids
        if isinstance(ids, (list, tuple)) and ids and not np.isscalar(ids[0]) and np.ndim(ids[0]):
            return self.batch_decode(ids, skip_special_tokens, clean_up_tokenization_spaces)
        if np.ndim(ids) == 2:
            return self.batch_decode(ids, skip_special_tokens, clean_up_tokenization_spaces)
        ids = require_ids(ids)
        if skip_special_tokens:
            added = self._added
            ids = [id for id in ids if not (id in added and added[id].special)]
        text = self._join(ids)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        if clean_up_tokenization_spaces and self.cleans_up_spaces:
            text = self.clean_up_tokenization(text)
        return text

    def batch_decode(self, sequences, skip_special_tokens=False, clean_up_tokenization_spaces=None):
        """-> list of the texts of `sequences`, rows of ids"""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces)
                for ids in sequences]

    @staticmethod
    def clean_up_tokenization(text):
        """-> `text` without the spaces before punctuation and English contractions."""
        for spaced, joined in ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
                               (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"),
                               (" 're", "'re")):
            text = text.replace(spaced, joined)
        return text

    def _join(self, ids):
        """-> the text of `ids`, a list of int; each algorithm implements this"""
        raise NotImplementedError

    def __repr__(self):
        return f"{type(self).__name__}({len(self)} tokens, special: {self.special_tokens_map})"


def _row(ids, columns, type_id):
    """-> a row without special tokens, with those of `columns` that need no tracing"""
    n = len(ids)
    row = {"input_ids": ids}
    if "token_type_ids" in columns:
        row["token_type_ids"] = [type_id] * n
    if "attention_mask" in columns:
        row["attention_mask"] = [1] * n
    if "special_tokens_mask" in columns:
        row["special_tokens_mask"] = [0] * n
    return row


def _whole(name, value, least=0):
    """Return `value` as an int; ValueError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} is {value!r}, wanted an integer of at least {least}")
    return int(value)
