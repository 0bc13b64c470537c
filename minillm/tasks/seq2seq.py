"""From text to text with an encoder-decoder: its tokenizer, batches to learn from, answers.

    the encoder reads      <zh> three hundred </s>
    the decoder reads      <s>  三  百
    and is to say          三   百  </s>              the labels

Teacher forcing (Williams and Zipser 1989): in training the decoder reads the true target, shifted
by one position, not what it would have said itself. So all positions are learned at once, in one
forward. The model does the shift (models/transformer.py, shift_right); -100 marks padding.
"""

from collections import Counter

import numpy as np
import regex

from minillm.tasks.base import SupervisedTask
from minillm.tasks.examples import ExampleBatches
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.pre_tokenizers import ByteLevel, Sequence, Split

PAD, START, END = "<pad>", "<s>", "</s>"
IGNORE = -100  # the label of padding
MAX_TAGS = 100  # tags that become tokens
POOL = 32  # batches of an epoch that are sorted by length together
LENGTH_STEP = 16  # characters of source and target together
_TAG = regex.compile(r"<[\p{L}\p{N}_-]{1,20}>")

# Words that no merge of BPE crosses. A Chinese character is one; a digit is one, for a model that
# counts places needs single digits. But the number in "3rd", "March 2026", 2026年3月 or 2026-03-03 is
# a name, whose digits have no meaning of their own: up to four digits beside a letter or a hyphen
# are a word, together with the Chinese unit or the hyphen behind them, so that a 3 of months and a
# 3 of days can be two tokens. The last line is GPT-2's pattern for the rest.
WORDS = (r"(?<!\p{N})\p{N}{1,4}(?:\p{Han}|-(?=\p{N}))"
         r"|(?<!\p{N})\p{N}{1,4}(?= ?[\p{L}-])"
         r"|(?<=[\p{L}-]|[\p{L}-] |, )\p{N}{1,4}(?!\p{N})"
         r"|\p{N}|\p{Han}"
         r"|'(?:[sdmt]|ll|ve|re)| ?(?:(?!\p{Han})\p{L})+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def train_tokenizer(sources, targets, vocab_size, report=None):
    """-> a byte-level BPE tokenizer for sources and targets of any language; texts end with </s>

    A tag at the start of several sources, such as <zh>, is one token (Johnson et al. 2017).
    vocab_size: at most this; at least the 256 bytes, the tags, and <pad>, <s>, </s>
    """
    counts = Counter(found[0] for source in sources if (found := _TAG.match(source)))
    tags = [tag for tag, count in counts.most_common(MAX_TAGS) if count > 1]
    pre_tokenizer = Sequence((
        Split({"Regex": WORDS}, "Isolated", False),
        ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
    ))
    return GPT2Tokenizer.train(
        [*sources, *targets], vocab_size, [PAD, START, END, *tags], pre_tokenizer=pre_tokenizer,
        pad_token=PAD, bos_token=START, eos_token=END, unk_token=None,
        additional_special_tokens=tags, add_eos_token=True, progress=report,
    )


def token_ids(tokenizer):
    """-> {field: id} of a new encoder-decoder's configuration for this tokenizer

    As in Marian, the decoder starts with <pad> if the tokenizer has no token to begin with.
    """
    start = tokenizer.bos_token_id
    return {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": start,
            "decoder_start_token_id": tokenizer.pad_token_id if start is None else start}


def encode_pairs(tokenizer, sources, targets=None, max_length=None):
    """-> {"input_ids", "attention_mask", "labels"}: int64 (B, S), (B, S), (B, T)

    sources, targets: lists of B texts; without targets there are no labels. Both are padded on the
    right, sources with attention_mask 0, labels with -100, and cut to `max_length` tokens.
    """
    cut = {} if max_length is None else {"truncation": True, "max_length": max_length}
    targets = None if targets is None else list(targets)
    encoded = tokenizer(list(sources), text_target=targets, **cut)
    inputs = {
        "input_ids": _padded(encoded["input_ids"], tokenizer.pad_token_id),
        "attention_mask": _padded([[1] * len(row) for row in encoded["input_ids"]], 0),
    }
    if targets is not None:
        inputs["labels"] = _padded(encoded["labels"], IGNORE)
    return inputs


def _padded(rows, filling):
    """rows: B lists of integers -> int64 (B, length of the longest)"""
    array = np.full((len(rows), max(map(len, rows))), filling, np.int64)
    for place, row in zip(array, rows):
        place[: len(row)] = row
    return array


class LengthBatches(ExampleBatches):
    """ExampleBatches whose batches hold examples of similar length, so that little is padding.

    length(example) -> int
    in_order: the first epoch takes the examples in their order, as a curriculum does

    In an epoch's order, pools of some batches are sorted by length and cut into batches, whose
    order is random. Everything else is as in ExampleBatches.
    """

    def __init__(self, examples, batch_size, rng, length, in_order=False):
        self.lengths = np.array([length(example) for example in examples])
        self.in_order = in_order
        super().__init__(examples, batch_size, rng)

    def skip(self):
        if self.position + self.batch_size > len(self.order):
            self.in_order = False
        super().skip()

    def _start_epoch(self):
        super()._start_epoch()
        B, order = self.batch_size, self.order
        if self.in_order:
            order.sort()
        whole = len(order) // B * B
        for start in range(0, whole, POOL * B):
            pool = order[start : min(start + POOL * B, whole)]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")].reshape(-1, B)
            self.rng.shuffle(pool)
            order[start : start + pool.size] = pool.ravel()

    def state_dict(self):
        return {**super().state_dict(), "in_order": self.in_order}

    def load_state_dict(self, state):
        self.in_order = isinstance(state, dict) and state.get("in_order") is True
        super().load_state_dict(state)


def answer(model, tokenizer, sources, *, max_length=None, **options):
    """-> list of str: what the model says to each source, by greedy search unless options say more

    sources: list of texts;  max_length: of the sources and of the answers, in tokens
    options: of `generate`, such as num_beams=4
    """
    inputs = encode_pairs(tokenizer, sources, max_length=max_length)
    longest = 4 * inputs["input_ids"].shape[1] + 20  # of an answer, if nothing else limits it
    limit = min(filter(None, (max_length, model.max_positions, longest)))
    ids = model.generate(**inputs, **{"do_sample": False, "num_beams": 1,
                                      "max_new_tokens": limit - 1, **options})
    return tokenizer.batch_decode(ids, skip_special_tokens=True)


class Seq2SeqTask(SupervisedTask):
    """A task from text to text, for any model with the head "seq2seq_lm"; predictions are texts.

    A subclass with other fields overrides `source`, `target` and `new_tokenizer`.
    """

    head = "seq2seq_lm"
    model_type = "transformer"
    fields = {"source": str, "target": str}
    question = ("source",)
    num_beams = 1  # of the answers; 1: greedy
    in_order = False  # whether generated examples are a curriculum: the first epoch in their order

    def source(self, example):
        """-> what the encoder reads"""
        return example["source"]

    def target(self, example):
        """-> what the decoder is to say"""
        return example["target"]

    @classmethod
    def new_tokenizer(cls, examples, vocab_size, report):
        return train_tokenizer([example["source"] for example in examples],
                               [example["target"] for example in examples], vocab_size, report)

    @classmethod
    def configure(cls, config, tokenizer, splits):
        return config.replace(**token_ids(tokenizer))

    def batches(self, settings):
        def length(example):  # roughly: with exact ones, a batch would hold one kind of texts
            return (len(self.source(example)) + len(self.target(example))) // LENGTH_STEP

        return LengthBatches(self.examples("train"), settings.batch_size, settings.seed, length,
                             in_order=self.in_order and settings.text is None)

    def encode(self, examples, config):
        return encode_pairs(self.tokenizer, [self.source(example) for example in examples],
                            [self.target(example) for example in examples], self.max_length)

    def predict_batch(self, model, examples):
        return answer(model, self.tokenizer, [self.source(example) for example in examples],
                      num_beams=self.num_beams, max_length=self.max_length)
