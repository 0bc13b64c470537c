"""Pseudonyms: the same value gets the same label everywhere, and a map brings the values back.

    label = [KIND:letters],  letters = HMAC-SHA256(key, KIND 0x00 value), its first 48 bits

What this protects from: whoever has the text alone can't compute a value from its label, not even
by trying all phone numbers, because that takes the key, 256 random bits.

What it doesn't: whoever has the map reads everything, so keep it apart from the text. Equal values
have equal labels, so one sees how often somebody is named, and beside what; with enough of that, a
person can be recognized. In the words of the GDPR (article 4), this is pseudonymization, not
anonymization.

The map is a file of its own that only its user may read (permissions 0600). It is not encrypted:
Python's standard library has no cipher, and one made at home would only look like protection.
"""

import hmac
import secrets

import regex

from minillm.files import atomic_write, expand
from minillm.json_files import fields, read_json, write_json
from minillm.trust.masking import find_personal_data, replaced
from minillm.trust.detector import Span

KEY_BYTES = 32
SHORTEST = 12  # letters of a label, 4 bits each
_LABEL = regex.compile(r"\[[A-Z_]{2,20}:[a-p]{12,64}\]")
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # no digit: nothing finds labels


class Pseudonyms:
    """key: bytes;  values: {label: value}, what is known so far"""

    def __init__(self, key, values=None):
        self.key = key
        self.values = dict(values or {})

    def label(self, kind, value):
        """-> the label of a value; with more letters if another value has the same ones"""
        message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        letters = hmac.digest(self.key, message, "sha256").hex().translate(_LETTERS)
        for length in range(SHORTEST, len(letters) + 1):
            label = f"[{kind}:{letters[:length]}]"
            if self.values.setdefault(label, value) == value:
                return label
        raise ValueError("two values have the same HMAC-SHA256")

    def mask(self, text, kinds=None, names=None):
        """-> (text with labels, list of Span)

        What looks like a label in the text gets one as well, so that `restore` is exact for every
        text. A text that is masked twice has to be restored twice.
        """
        spans = find_personal_data(text, kinds, names)
        known = [Span(*match.span(), "LABEL") for match in _LABEL.finditer(text)
                 if not any(span.start < match.end() and match.start() < span.end
                            for span in spans)]
        return replaced(text, sorted([*spans, *known]), self.label), spans

    def restore(self, text):
        """-> the text with the values in place of their labels"""
        return _LABEL.sub(lambda match: self.values.get(match[0], match[0]), text)


def open_key(path):
    """-> the key in the file; a new one, of 256 random bits, if the file doesn't exist"""
    path = expand(path)
    if not path.exists():
        with atomic_write(path, "w", private=True) as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} is no key, wanted {2 * KEY_BYTES} hexadecimal digits")
    return key


def read_map(path):
    """-> {label: value}; {} if the file doesn't exist"""
    path = expand(path)
    if not path.exists():
        return {}
    return fields(path, read_json(path), {"values": dict[str, str]}, ["values"])["values"]


def write_map(path, values):
    write_json(expand(path), {"values": values}, private=True, ensure_ascii=True)
