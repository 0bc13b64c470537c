"""Card numbers, IBANs and Chinese resident IDs: numbers with check digits (checksums.py)."""

import re

from minillm.trust.checksums import IBAN_LENGTHS, is_iban, is_resident_id, luhn
from minillm.trust.detector import SEVEN_DIGITS, Detector, compiled

# ---- cards

# (first digits from, to, lengths): the issuers' ranges (ISO/IEC 7812; Wikipedia, "Payment card
# number"). Luhn lets one number in ten pass; with a known beginning, few others remain.
ISSUERS = (
    ("4", "4", (13, 16, 19)),                                        # Visa
    ("51", "55", (16,)), ("2221", "2720", (16,)),                    # Mastercard
    ("34", "34", (15,)), ("37", "37", (15,)),                        # American Express
    ("6011", "6011", (16, 19)), ("644", "659", (16, 19)),            # Discover
    ("62", "62", (16, 17, 18, 19)), ("81", "81", (16, 17, 18, 19)),  # UnionPay
    ("300", "305", (14, 16)), ("3095", "3095", (14, 16)), ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),                                          # Diners Club
    ("35", "35", (16, 17, 18, 19)), ("1800", "1800", (15,)), ("2131", "2131", (15,)),  # JCB
    ("50", "50", (16, 17, 18, 19)), ("56", "69", (16, 17, 18, 19)),  # Maestro
    ("2200", "2204", (16, 19)),                                      # Mir
    ("82", "82", (16,)),                                             # RuPay
)

# One kind of separator, and groups of three or more digits: not "4 1 1 1 …".
_CARD = compiled(r"(?<![0-9A-Za-z_])(?<![0-9][.,\-])[0-9]{3,19}+"
                 r"(?:[ \-][0-9]{3,7}+(?![0-9])){0,5}+")
_GOES_ON = compiled(r"[0-9A-Za-z_]|\.[0-9]")


def _check_card(text, match):
    """The longest beginning of whole groups that some issuer has, if its check digit is right"""
    start, end = match.span()
    while end > start:
        separators = set(text[start:end]) - set("0123456789")
        digits = text[start:end].replace("".join(separators)[:1], "")
        # Nobody writes a Visa of 19 digits in groups: the last three are the code on its back.
        is_visa_and_code = separators and len(digits) == 19 and digits[0] == "4"
        if (len(separators) <= 1 and has_issuer(digits) and not is_visa_and_code
                and not _GOES_ON.match(text, end)):
            return (start, end) if is_card(digits) else None
        end = max(text.rfind(separator, start, end) for separator in " -")
    return None


def is_card(digits):
    """digits: a str of 0-9 -> whether an issuer has such numbers, and the check digit is right"""
    return has_issuer(digits) and len(set(digits)) > 1 and luhn(digits)


def has_issuer(digits):
    return any(len(digits) in lengths and first <= digits[: len(first)] <= last
               for first, last, lengths in ISSUERS)


# ---- IBAN

_IBAN = compiled(r"(?<![0-9A-Za-z_])[A-Za-z]{2}[ ]?+[0-9]{2}"
                 r"(?:[ \-]?+[0-9A-Za-z]){11,29}+")


def _check_iban(text, match):
    """The country says how long it is; what follows must be something else."""
    code, end = "", match.start()
    while len(code) < IBAN_LENGTHS.get(match[0][:2].upper(), 99):
        if end == match.end():
            return None
        code += text[end].upper().strip(" -")
        end += 1
    if text[end : end + 1].isascii() and text[end : end + 1].isalnum():
        return None
    return (match.start(), end) if is_iban(code) else None


# ---- Chinese resident IDs: 6 digits of a place, 8 of the birthday, 3 and the check

_RESIDENT_ID = compiled(r"(?<![0-9A-Za-z_])(?<![0-9]\.)[1-9][0-9]{5}([ \-]?+)[0-9]{8}"
                        r"\1[0-9]{3}[0-9Xx]"
                        r"(?![0-9A-Za-z_]|\.[0-9])")


def _check_resident_id(text, match):
    return match.span() if is_resident_id(match[0].replace(" ", "").replace("-", "")) else None


DETECTORS = (
    Detector("IBAN", _IBAN, _check_iban, re.compile(r"[A-Za-z][ ]?[0-9]{2}"), 1, 70),
    Detector("RESIDENT_ID", _RESIDENT_ID, _check_resident_id, SEVEN_DIGITS, 0, 20),
    Detector("CARD", _CARD, _check_card, SEVEN_DIGITS, 0, 60),
)
