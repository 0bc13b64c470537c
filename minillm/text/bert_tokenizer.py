"""BERT's tokenizer: words and punctuation, then WordPiece, with the interface of `transformers`.

Devlin et al. 2018. The normalizer and the pre-tokenizer (together the "basic tokenizer" of the
original code) are in normalizers.py and pre_tokenizers.py, the pieces of words in wordpiece.py, the
steps around them and the interface in tokenizer.py, the files in tokenizer_files.py.
"""

from collections import Counter

from minillm.checks import shown
from minillm.json_files import fields
from minillm.text.normalizers import BertNormalizer
from minillm.text.post_processors import TemplateProcessing
from minillm.text.pre_tokenizers import BertPreTokenizer
from minillm.text.tokenizer import PreTrainedTokenizer
from minillm.text.tokenizer_files import check_vocab, read_vocab_lines
from minillm.text.vocabulary import require_str
from minillm.text.wordpiece import WordPiece, train_wordpiece

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
OWN_TOKENS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
OWN_DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}
# What the decoder does with a token and the space before it.
CLEANUP = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
           (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))


class BertTokenizer(PreTrainedTokenizer):
    """A WordPiece tokenizer with the interface of `transformers.BertTokenizer`.

    The ids are those of Hugging Face's libraries for the same vocabulary. A text becomes
    [CLS] A [SEP], a pair [CLS] A [SEP] B [SEP], where B and its [SEP] have token type 1.

    vocab: {token: id}, or the path of a vocab.txt
    do_lower_case: lower case (an uncased model)
    strip_accents: remove accents; None: if do_lower_case is True
    tokenize_chinese_chars: make each Chinese character a word
    unk_token, sep_token, pad_token, cls_token, mask_token: str, AddedToken or None
    do_basic_tokenize, never_split: no effect, as in `transformers`
    normalizer, pre_tokenizer, post_processor: replace these steps; `do_lower_case` and the two
        after it describe the normalizer, and have no effect beside another one
    wordpiece: {name: value}, arguments of wordpiece.WordPiece;  decoder: how ids become text
    The other options are those of PreTrainedTokenizer.
    """

    # These classes of `transformers` obey the steps in tokenizer.json; the others have their own.
    general_classes = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer")
    classes = ("BertTokenizer", "BertTokenizerFast", "ElectraTokenizer", "ElectraTokenizerFast",
               "DistilBertTokenizer", "DistilBertTokenizerFast", *general_classes)
    vocabulary_files = ("vocab.txt",)
    own_options = {"do_lower_case": bool | None, "strip_accents": bool | None,
                   "tokenize_chinese_chars": bool | None, "do_basic_tokenize": bool | None,
                   "never_split": list | None}

    def __init__(self, vocab, do_lower_case=True, unk_token="[UNK]", sep_token="[SEP]",
                 pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]",
                 tokenize_chinese_chars=True, strip_accents=None, *, do_basic_tokenize=True,
                 never_split=None, normalizer=None, pre_tokenizer=None, post_processor=None,
                 wordpiece=None, decoder=OWN_DECODER, steps_of_file=False, special_tokens=None,
                 model_input_names=("input_ids", "token_type_ids", "attention_mask"), **options):
        vocab = vocab if isinstance(vocab, dict) else read_vocab_lines(vocab)
        named = {"unk_token": unk_token, "sep_token": sep_token, "pad_token": pad_token,
                 "cls_token": cls_token, "mask_token": mask_token, **(special_tokens or {})}
        self.decoder = decoder
        if not steps_of_file:
            normalizer = normalizer or BertNormalizer(True, bool(tokenize_chinese_chars),
                                                      strip_accents, bool(do_lower_case))
            pre_tokenizer = pre_tokenizer or BertPreTokenizer()
        unknown = getattr(named["unk_token"], "content", named["unk_token"])
        super().__init__(
            vocab, WordPiece(vocab, **{"unk_token": unknown, **(wordpiece or {})}), pre_tokenizer,
            normalizer=normalizer, post_processor=post_processor, special_tokens=named,
            model_input_names=model_input_names, **options,
        )
        if post_processor is None and not steps_of_file:
            self.post_processor = self._own_template()

    def _own_template(self):
        """-> [CLS] A [SEP] B [SEP]"""
        def special(name, type_id):
            return {"SpecialToken": {"id": getattr(self, name), "type_id": type_id}}

        first = [special("cls_token", 0), {"Sequence": {"id": "A", "type_id": 0}},
                 special("sep_token", 0)]
        second = [{"Sequence": {"id": "B", "type_id": 1}}, special("sep_token", 1)]
        tokens = {token: {"id": token, "ids": [self.convert_tokens_to_ids(token)],
                          "tokens": [token]} for token in (self.cls_token, self.sep_token)}
        return TemplateProcessing(first, first + second, tokens)

    # ---- made by training; read from files and written to them

    @classmethod
    def train(cls, texts, vocab_size, special_tokens=SPECIAL_TOKENS, *, do_lower_case=True,
              strip_accents=None, tokenize_chinese_chars=True, min_frequency=2, max_alphabet=1000,
              progress=None):
        """Learn a vocabulary of `vocab_size` tokens (characters and special tokens included).

        texts: iterable of str;  special_tokens: get the first ids, the five of BERT before others
        min_frequency, max_alphabet, progress: see `wordpiece.train_wordpiece`
        The other options are those of the constructor.

        Deterministic. Raises ValueError for texts that are all empty, and for a `vocab_size` too
        small for the characters.
        """
        special_tokens = list(dict.fromkeys([*SPECIAL_TOKENS, *special_tokens]))
        options = {"do_lower_case": do_lower_case, "strip_accents": strip_accents,
                   "tokenize_chinese_chars": tokenize_chinese_chars}
        untrained = cls({token: id for id, token in enumerate(special_tokens)}, **options)
        untrained.add_tokens(special_tokens, special_tokens=True)
        counts = Counter()
        for text in [texts] if isinstance(texts, str) else texts:
            for piece, token in untrained._splitter.split(require_str("texts", text)):
                if token is None:
                    counts.update(untrained.pre_tokenizer.split(piece))
        if not counts:
            raise ValueError("texts hold no text: there is nothing to learn a vocabulary from")
        tokens = train_wordpiece(counts, vocab_size, special_tokens=special_tokens,
                                 min_frequency=min_frequency, max_alphabet=max_alphabet,
                                 progress=progress)
        return cls({token: id for id, token in enumerate(tokens)},
                   extra_special_tokens=special_tokens[len(SPECIAL_TOKENS):], **options)

    @classmethod
    def _from_files(cls, path, files):
        if not files.whole:
            return {"vocab": check_vocab(path, files.model.get("vocab"))}
        wordpiece = _read_wordpiece(path, files)
        arguments = {"vocab": check_vocab(path, files.model.get("vocab"))}
        has_own_steps = files.tokenizer_class not in (None, *cls.general_classes) or any(
            name in files.options for name in cls.own_options)
        if files.tokenizer_class not in cls.general_classes and has_own_steps:
            # As in `transformers`, tokenizer_config.json decides about the steps.
            files.normalizer = files.pre_tokenizer = files.post_processor = None
            return arguments
        for name in cls.own_options:
            files.options.pop(name, None)
        arguments.update(wordpiece=wordpiece, decoder=files.decoder, steps_of_file=True)
        if files.tokenizer_class is not None:  # such a class names no special tokens by itself
            arguments.update(dict.fromkeys(OWN_TOKENS))
        return arguments

    def _class_to_write(self):
        own = (type(self.normalizer) is BertNormalizer and self.normalizer.clean_text,
               self.pre_tokenizer == BertPreTokenizer(), self.decoder == OWN_DECODER,
               self.post_processor == self._own_template(), self.model.prefix == "##",
               self.model.max_characters == 100, self.model.unk_token == self.unk_token)
        return "BertTokenizer" if all(own) else "PreTrainedTokenizerFast"

    def _model_to_json(self):
        return {
            "type": "WordPiece", "unk_token": self.model.unk_token,
            "continuing_subword_prefix": self.model.prefix,
            "max_input_chars_per_word": self.model.max_characters, "vocab": self._vocab,
        }

    def _options_to_json(self):
        if self._class_to_write() != "BertTokenizer":
            return {}
        return {"do_lower_case": self.normalizer.lowercase,
                "strip_accents": self.normalizer.strip_accents,
                "tokenize_chinese_chars": self.normalizer.handle_chinese_chars}

    # ---- ids to text

    def _join(self, ids):
        return self._text_of([self._token(id) for id in ids])

    def convert_tokens_to_string(self, tokens):
        """-> the text that a list of tokens spells"""
        return self._text_of([require_str("tokens", token) for token in tokens])

    def _text_of(self, tokens):
        """Join the pieces of each word, and put a space between words."""
        tokens = [token for token in tokens if token is not None]
        if self.decoder is None:
            return " ".join(tokens)
        prefix, text = self.decoder.get("prefix", "##"), []
        for index, token in enumerate(tokens):
            if index:
                token = token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
            text.append(_cleaned(token) if self.decoder.get("cleanup", True) else token)
        return "".join(text)


def _cleaned(token):
    for spaced, joined in CLEANUP:
        token = token.replace(spaced, joined)
    return token


# The fields of the section "model" of tokenizer.json for WordPiece.
MODEL = {
    "type": str,
    "vocab": dict,
    "unk_token": str | None,
    "continuing_subword_prefix": str | None,
    "max_input_chars_per_word": int | None,
}


def _read_wordpiece(path, files):
    """-> {argument of WordPiece: value}; ValueError unless the model and the decoder are its"""
    model = files.model
    if model.get("type") != "WordPiece":
        raise ValueError(f"{path}: model.type is {shown(model.get('type'))}, but for BERT it is "
                         "'WordPiece'")
    for name in model:
        if name not in MODEL:
            raise ValueError(f"{path}: model.{shown(name)[1:-1]} is not a field of a WordPiece "
                             "model")
    found = fields(path, model, {name: kind for name, kind in MODEL.items() if name != "vocab"},
                   where="model")
    if files.decoder is not None:
        kinds = {"type": str, "prefix": str, "cleanup": bool}
        fields(path, files.decoder, kinds, ("type",), "decoder")
        if files.decoder["type"] != "WordPiece":
            raise ValueError(f"{path}: decoder.type is {shown(files.decoder['type'])}, but for "
                             "BERT it is 'WordPiece'")
    names = {"unk_token": "unk_token", "continuing_subword_prefix": "prefix",
             "max_input_chars_per_word": "max_characters"}
    return {argument: found[name] for name, argument in names.items()
            if found.get(name) is not None}
