"""The result of a tokenizer: rows of ids and more, truncated and padded to one length.

A row is a dict of columns, lists of equal length: input_ids and any other requested columns. All
columns are sliced, joined and padded alike, so most of the code needn't know which ones there are.
Truncated text isn't lost: the rows of one text are a list of the part that fits and then the
overflow, each row overlapping the one before by `stride`.
"""

import numpy as np

from minillm.text.post_processors import template_of

# The value of padding in each column; for input_ids it is the pad token.
FILLING = {"token_type_ids": 0, "attention_mask": 0, "special_tokens_mask": 1,
           "offset_mapping": (0, 0), "word_ids": None, "sequence_ids": None, "tokens": None}
# The values of a template's special token in each column, beside its id and its type.
SPECIAL = {"attention_mask": 1, "special_tokens_mask": 1, "offset_mapping": (0, 0),
           "word_ids": None, "sequence_ids": None, "tokens": None}


def length_of(row):
    return len(row["input_ids"])


def truncate(row, length, stride, side):
    """-> list of rows of at most `length`: `row` truncated at `side`, then the overflow

    Neighbors share `stride` tokens. With side "right" the first row is the beginning of the text,
    with "left" its end, and the others continue from there.
    Raises ValueError if something has to be cut and `stride` is not less than `length`.
    """
    n = length_of(row)
    if length >= n:
        return [row]
    if length == 0:
        return [_slice(row, 0, 0), row]
    if stride >= length:
        raise ValueError(f"stride is {stride}, wanted less than the {length} tokens that "
                         "max_length leaves to the text")
    starts = range(0, n - stride, length - stride)
    if side == "right":
        return [_slice(row, start, start + length) for start in starts]
    return [_slice(row, max(n - start - length, 0), n - start) for start in starts]


def truncate_pair(first, second, room, strategy, stride, side):
    """-> lists of rows for both, which together have at most `room` tokens (second may be None)

    strategy: the text to truncate: "longest_first", "only_first" or "only_second"
    Raises ValueError if that text doesn't exist, or is too short.
    """
    n1, n2 = length_of(first), length_of(second) if second else 0
    excess = n1 + n2 - room
    if excess <= 0:
        return [first], second and [second]
    if room == 0:
        n1 = n2 = 0
    elif strategy == "only_second" and second is None:
        raise ValueError("truncation is 'only_second', but there is no second text")
    elif strategy != "longest_first":
        n = n1 if strategy == "only_first" else n2
        if n <= excess:
            raise ValueError(f"truncation is {strategy!r}, but that text has {n} tokens, and "
                             f"{excess} must go")
        n1, n2 = (n1 - excess, n2) if strategy == "only_first" else (n1, n2 - excess)
    elif second is None:
        n1 = room
    else:
        n1, n2 = _fair_lengths(n1, n2, room)
    return (truncate(first, n1, stride, side),
            second and truncate(second, n2, stride, side))


def _fair_lengths(n1, n2, room):
    """Truncate the longer text, to the shorter one's length at least; or else both to one half."""
    shorter, longer = sorted((n1, n2))
    longer = max(shorter, room - shorter) if shorter <= room else shorter
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (longer, shorter) if n1 > n2 else (shorter, longer)


def arrange(first, second, post_processor, add_special_tokens):
    """Put the rows of one text or two into the template -> list of rows, then the overflow

    first, second: lists of rows from `truncate`; second is None for one text. Each row of the
    overflow takes the place of the first row in the template, with each row of the other text.
    """
    template = template_of(post_processor, second is not None, add_special_tokens)
    if len(template) == 1 and len(first) == 1 and template[0].type_id == 0:
        return first  # the usual case: one text and nothing around it
    columns = first[0].keys()
    whole, overflow = {name: [] for name in columns}, []
    for part in template:
        rows = _rows_of(part, first if part.text == "A" else second, columns)
        overflow = ([_join(one, other) for one in overflow for other in rows]
                    + [_join(whole, other) for other in rows[1:]])
        whole = _join(whole, rows[0])
    return [whole, *overflow]


def _rows_of(part, rows, columns):
    if not part.text:
        n = len(part.ids)
        row = {"input_ids": list(part.ids), "token_type_ids": [part.type_id] * n,
               **{name: [value] * n for name, value in SPECIAL.items()}}
        return [{name: row[name] for name in columns}]
    if "token_type_ids" not in columns:
        return rows
    n_changed = len(rows) if part.overflow_too else 1
    return [{**row, "token_type_ids": [part.type_id] * length_of(row)}
            for row in rows[:n_changed]] + rows[n_changed:]


def _slice(row, start, end):
    return {name: column[start:end] for name, column in row.items()}


def _join(one, other):
    return {name: column + other[name] for name, column in one.items()}


def pad(row, length, pad_id, side):
    """-> `row` padded to `length` at `side`; a longer one is unchanged

    Raises ValueError if padding is needed and `pad_id` is None.
    """
    missing = length - length_of(row)
    if missing <= 0:
        return row
    if pad_id is None:
        raise ValueError(
            "padding texts of unequal length needs a pad token: set tokenizer.pad_token, "
            "for example tokenizer.pad_token = tokenizer.eos_token"
        )
    padded = {}
    for name, column in row.items():
        filling = [pad_id if name == "input_ids" else FILLING[name]] * missing
        padded[name] = column + filling if side == "right" else filling + column
    return padded


def to_array(name, column):
    """-> int64 array of `column`: (B, T), or (B, T, 2) for offsets; ValueError if lengths differ"""
    if column and isinstance(column[0], list):
        lengths = sorted({len(row) for row in column})
        if len(lengths) > 1:
            raise ValueError(
                f"texts of {lengths[0]} to {lengths[-1]} tokens don't make one array: "
                "pass padding=True (and truncation=True), or leave out return_tensors"
            )
        shape = (len(column), lengths[0]) + ((2,) if name == "offset_mapping" else ())
        return np.array(column, np.int64).reshape(shape)
    return np.array(column, np.int64)


class BatchEncoding(dict):
    """A dict whose items are also attributes: encoding["input_ids"] is encoding.input_ids.

    input_ids: the ids;  attention_mask: 1 for a real token, 0 for padding; and any other requested
    columns, as lists or as int64 arrays (B, T). `model(**encoding)` passes them by name.

    The methods below say where the tokens of row `batch_index` come from. Their data is computed
    when the first of them is called.
    """

    __slots__ = ("_trace", "_rows")

    def __init__(self, *items, trace=None, **named):
        """trace: function without arguments -> (rows with all columns, index of each one's text)"""
        super().__init__(*items, **named)
        self._trace, self._rows = trace, None

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchEncoding has no {name!r}, only {', '.join(self)}") from None

    def to(self, device, **options):
        """Return self: minillm computes on the CPU only."""
        return self

    def _row(self, batch_index):
        if self._rows is None:
            if self._trace is None:
                raise ValueError("this BatchEncoding was not made from texts")
            self._rows, _ = self._trace()
        return self._rows[batch_index]

    def tokens(self, batch_index=0):
        """-> list of the tokens, as spelled in the vocabulary"""
        return self._row(batch_index)["tokens"]

    def word_ids(self, batch_index=0):
        """-> for each token the index of its word in its text; None for special tokens

        Words are the caller's with is_split_into_words=True, else those of the pre-tokenizer.
        """
        return self._row(batch_index)["word_ids"]

    def sequence_ids(self, batch_index=0):
        """-> for each token the text of the pair that it is from, 0 or 1; None for special ones"""
        return self._row(batch_index)["sequence_ids"]

    def token_to_chars(self, batch_or_token_index, token_index=None):
        """-> (start, end) of the token in its text; None for a special token

        Pass the index of the token, or those of the row and the token.
        """
        row, token = _row_and_index(batch_or_token_index, token_index)
        row = self._row(row)
        return None if row["sequence_ids"][token] is None else row["offset_mapping"][token]

    def char_to_token(self, batch_or_char_index, char_index=None, sequence_index=0):
        """-> index of the token that contains this character of its text; None if there is none"""
        row, place = _row_and_index(batch_or_char_index, char_index)
        row = self._row(row)
        for token, ((start, end), sequence) in enumerate(
                zip(row["offset_mapping"], row["sequence_ids"])):
            if sequence == sequence_index and start <= place < end:
                return token
        return None


def _row_and_index(first, second):
    return (0, first) if second is None else (first, second)
