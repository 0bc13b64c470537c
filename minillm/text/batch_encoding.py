"""What a tokenizer returns for a model: rows of ids, padded to one length, and their mask."""

import numpy as np


class BatchEncoding(dict):
    """A dict whose items are also attributes: encoding["input_ids"] is encoding.input_ids.

    input_ids: the ids; attention_mask: 1 for a real token, 0 for padding. As lists, or as int64
    arrays (B, T). `model(**encoding)` passes them by name.
    """

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchEncoding has no {name!r}, only {', '.join(self)}") from None

    def to(self, device):
        """Return self: all arrays of minillm live in the memory of the CPU."""
        return self


def pad_rows(rows, length, pad_id, side):
    """Fill up `rows`, lists of ids, to `length` (longer ones stay as they are).

    pad_id: int, or None, which raises ValueError if any row is too short
    side: "right" or "left", where the padding goes
    -> padded rows, masks (1 = token, 0 = padding): two lists of lists
    """
    if pad_id is None and any(len(row) < length for row in rows):
        raise ValueError(
            "padding texts of unequal length needs a pad token: set tokenizer.pad_token, "
            "for example tokenizer.pad_token = tokenizer.eos_token"
        )
    padded, masks = [], []
    for row in rows:
        missing = max(0, length - len(row))
        filling, gap, ones = [pad_id] * missing, [0] * missing, [1] * len(row)
        padded.append(row + filling if side == "right" else filling + row)
        masks.append(ones + gap if side == "right" else gap + ones)
    return padded, masks


def rows_to_array(rows):
    """-> int64 array (B, T) of `rows`; ValueError if their lengths differ."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ValueError(
            f"texts of {lengths[0]} to {lengths[-1]} tokens don't make one array: "
            "pass padding=True (and truncation=True), or leave out return_tensors"
        )
    return np.array(rows, np.int64).reshape(len(rows), lengths[0])
