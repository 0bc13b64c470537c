"""Phone numbers: a list of forms in which people write them, and rules for what isn't one.

A phone number has no check digit, so its form has to say that it is one. Each form below is what a
country (or the world, E.164) writes; digits without any form, such as 2065550100, count only behind
a word like "phone" or 电话. Not phone numbers: years, dates and times, decimals, versions, ISBNs,
and numbers whose length no country has.
"""

import re

from minillm.trust.checksums import is_isbn_10
from minillm.trust.detector import SEVEN_DIGITS, Detector, compiled

_LEFT = r"(?<![0-9A-Za-z_+])(?<![0-9][.\-/:])"
_RIGHT = r"(?![0-9A-Za-z_]|[.\-/:][0-9])"
_EXTENSION = (r"(?:[ ,;]{0,2}+(?i:ext\.?+|extension|x|#|转|轉|分机|内線)[ .:]{0,2}+[0-9]{1,6}+"
              r"(?![0-9A-Za-z_]))?+")



def _without_outer_parentheses(text, start, end):
    """-> (start, end) without a parenthesis around the number, or half of one"""
    opened, closed = text.count("(", start, end), text.count(")", start, end)
    is_around = text[start] == "(" and text.find(")", start, end) == end - 1
    if text[start] == "(" and (opened > closed or is_around):
        start += 1
    if text[end - 1] == ")" and (closed > opened or is_around):
        end -= 1
    return start, end


def _whole(text, match):
    return _without_outer_parentheses(text, *match.span())


# ---- international: + or 00, a country code, and as many digits as E.164 and the country allow

_ONE_DIGIT = "17"
_TWO_DIGITS = ("20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 "
               "61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98").split()
_FREE = ("210 214 215 217 219 259 280 281 282 283 284 285 286 287 288 289 292 293 294 295 296 384 "
         "386 388 422 424 425 426 427 428 429 693 694 695 696 697 698 699 801 802 803 804 805 806 "
         "807 809 830 831 832 833 834 835 836 837 838 839 851 854 857 858 859 871 872 873 874 875 "
         "876 877 879 884 885 887 889 969 978 990 991 997 999").split()
_FREE.remove("386")  # Slovenia
_FREE.remove("997")  # Kazakhstan, from 2024

# Digits behind the country code, for countries where that is narrow (ITU-T E.164, national plans)
_LENGTHS = {"1": (10, 10), "7": (10, 10), "31": (9, 9), "32": (8, 9), "33": (9, 9), "34": (9, 9),
            "39": (6, 11), "41": (9, 9), "44": (9, 10), "45": (8, 8), "46": (7, 10), "47": (8, 8),
            "48": (9, 9), "55": (10, 11), "61": (9, 9), "64": (8, 10), "65": (8, 8), "81": (9, 10),
            "82": (8, 10), "86": (9, 11), "91": (10, 10), "351": (9, 9), "352": (6, 11),
            "353": (7, 9), "420": (9, 9), "852": (8, 8), "853": (8, 8), "886": (8, 9)}
_OTHER = (6, 13)
MOST_DIGITS = 15  # E.164, country code included

_INTERNATIONAL = compiled(
    r"(?<![0-9A-Za-z_+])(?<![0-9][.\-/:])(?:\+[ ]?+|\(\+|(?<![0-9][ ])00[ ]?+(?=[1-9]))"
    r"\(?+[1-9][0-9]{0,14}+\)?+"
    r"(?:[ .\-/]{0,3}+\(?+[0-9]{1,14}+\)?+){0,7}+" + _EXTENSION)


def _country(digits):
    """-> the country code that digits begin with, or None: no code begins another"""
    for code in (digits[:1], digits[:2], digits[:3]):
        if code in _ONE_DIGIT or code in _TWO_DIGITS:
            return code
    is_three = len(digits) > 3 and digits[:1] in "234568 9" and code not in _FREE
    return code if is_three else None


def _check_international(text, match):
    """The longest beginning of whole groups with a length that the country allows"""
    start, end = match.span()
    if text[end:end + 1].isascii() and (text[end:end + 1].isalnum() or text[end:end + 1] == "_"):
        return None
    whole = text[start:end]
    main = _EXTENDED.sub("", whole)
    has_plus = "+" in main[:2]
    if len(main) == len(whole) or not _is_international(main, has_plus):
        end = start + len(main)
        while not _is_international(text[start:end], has_plus):
            shorter = text[start:end].rstrip(")").rstrip("0123456789")
            if len(shorter) <= 2:
                return None
            end = start + len(shorter.rstrip(" .-/("))
    return _without_outer_parentheses(text, start, end)


_EXTENDED = compiled(r"[ ,;]{0,2}+(?i:ext|x|#|转|轉|分机|内線).{0,20}+$")


def _is_international(number, has_plus):
    digits = _digits(number.replace("(0)", ""))
    digits = digits if has_plus else digits[2:]
    code = _country(digits)
    if code is None or len(digits) > MOST_DIGITS:
        return False
    least, most = _LENGTHS.get(code, _OTHER)
    national = digits[len(code):]  # the trunk 0 is often left in, wrongly
    groups = _groups(number)
    is_decimal = len(groups) == 2 and "." in number and len(groups[0]) == 1
    least = max(least, 0 if has_plus else 7)
    return not is_decimal and any(least <= len(n) <= most
                                  for n in (national, national.removeprefix("0")))


def _digits(text):
    return "".join(character for character in text if character.isdigit())


def _groups(text):
    return "".join(c if c.isdigit() else " " for c in text).split()


# ---- forms of countries

_AREA = r"(?:10|2[0-9]|[3-9][0-9]{2})"
_FORMS = {
    "mainland mobile": r"(?<![0-9A-Za-z_+])(?<![0-9]\.)(?:\(?+(?:86|0086)\)?+[ \-]?+)?+1[3-9][0-9]"
                       r"(?:[0-9]{8}|([ \-])[0-9]{4}\1[0-9]{4})(?![0-9A-Za-z_]|\.[0-9])",
    "mainland landline": _LEFT + rf"(?:\(0{_AREA}\)[ \-]?+|(?:86[ \-]0?+|0){_AREA}[ \-])[2-9]"
                         r"(?:[0-9]{6,7}+|[0-9]{2,3}+[ \-][0-9]{4})(?:\-[0-9]{1,6}+)?+"
                         + _EXTENSION + _RIGHT,
    "hotline": _LEFT + r"400([ \-])(?:[0-9]{3}\1[0-9]{4}|[0-9]{4}\1[0-9]{3})" + _RIGHT,
    "North America": _LEFT + r"(?:1[ .\-])?+(?:\([0-9]{3}\)[ \-]?+[0-9]{3}[ .\-]"
                     r"|[0-9]{3}([.\-])[0-9]{3}\1|[2-9][0-9]{2}(?<![0-9] [0-9]{3})[ ][2-9]"
                     r"[0-9]{2}[ ](?=[0-9]{4}(?! [0-9])))[0-9]{4}" + _EXTENSION + _RIGHT,
    "Brazil": _LEFT + r"(?:\([1-9][0-9]\)[ ]?+9?+|[1-9][0-9][ ]9)[0-9]{4}\-[0-9]{4}" + _RIGHT,
    "Russia": _LEFT + r"8[ \-]?+\(?+[0-9]{3,5}+\)?+[ \-]?+[0-9]{1,3}+[ \-][0-9]{2}[ \-]?+[0-9]{2}"
              + _RIGHT,
}

# A trunk 0: 030 123456, 06 12 34 56 78, (0171) 2345678, 03-1234-5678, 08001234567
_TRUNK = compiled(_LEFT + r"(?<![0-9][ ])\(?+0[1-9][0-9]{0,10}+\)?+"
                  r"(?:(?:[ ][/\-][ ]|[ ./\-]?+)[0-9]{2,8}+){0,5}+" + _EXTENSION)


def _check_trunk(text, match):
    """The longest beginning of whole groups that is a number, if another one or none follows it"""
    start, end = match.span()
    is_row_of_pairs = [len(group) for group in _groups(match[0])] == [2] * 6
    if is_row_of_pairs or _GOES_ON.match(text, end):
        return None
    next_group = "0"
    while not (next_group == "0" and _is_trunk(text[start:end])):
        shorter = text[start:end].rstrip(")").rstrip("0123456789")
        next_group = text[start + len(shorter) : start + len(shorter) + 1]
        end = start + len(shorter.rstrip(" ./-"))
        if end - start < 9:
            return None
    return _without_outer_parentheses(text, start, end)


_GOES_ON = compiled(r"[0-9A-Za-z_]|[.\-/:][0-9]")


def _is_trunk(number):
    number = _EXTENDED.sub("", number)
    groups, separators = _groups(number), {c for c in number[2:] if c in ".-/"}
    n = sum(map(len, groups))
    sizes = [len(group) for group in groups]
    if not 9 <= n <= 12 or len(separators) > 1:
        return False
    if len(groups) == 1:
        return n in (10, 11) and not is_isbn_10(groups[0])
    is_pairs = set(sizes) == {2}
    is_date = sizes[:3] in ([2, 2, 4], [2, 2, 2]) and not is_pairs
    return not (is_date or is_pairs and n != 10 or "." in separators and len(groups) < 3)


# ---- behind a word that says so, any 7 to 15 digits

_WORDS = (r"tel|tél|phone|téléphone|telephone|telefon|telefono|teléfono|telefone|handy|mobile|"
          r"mobil|móvil|cell|celular|cellulare|portable|fax|call|whatsapp|sms|rufnummer|numéro|"
          r"тел|телефон|мобильный")
_CHINESE_WORDS = r"电话|電話|手机|手機|号码|號碼|联系方式|传真|热线|拨打|致电|携帯|番号"
_BEHIND_WORD = compiled(
    rf"(?:(?<![\w\[])(?i:{_WORDS})(?:[ ](?i:number|no|nr|at|me|us|is)){{0,2}}+|{_CHINESE_WORDS})"
    r"[:.=#是为は ]{0,4}+"
    r"(\(?+[0-9]{1,15}+(?:[ ./\-()]{1,2}+[0-9]{1,12}+){0,7}+" + _EXTENSION
    + r")(?![0-9A-Za-z_]|[.,:][0-9])")


def _check_behind_word(text, match):
    groups = _groups(_EXTENDED.sub("", match[1]))
    sizes = [len(group) for group in groups]
    is_date = sizes[:3] in ([4, 2, 2], [2, 2, 4]) or sizes[:2] == [4, 4] and "-" in match[1]
    is_decimal = len(groups) == 2 and "." in match[1]
    is_thousands = len(groups) > 1 and sizes[0] <= 2 and set(sizes[1:]) == {3}
    if is_date or is_decimal or is_thousands or not 7 <= sum(sizes) <= MOST_DIGITS:
        return None
    return _without_outer_parentheses(text, *match.span(1))


DETECTORS = (
    Detector("PHONE", _INTERNATIONAL, _check_international,
             re.compile(r"\+[ (]{0,2}[1-9]|00"), 1, 200),
    *(Detector("PHONE", compiled(form), _whole, SEVEN_DIGITS, 4, 60) for form in _FORMS.values()),
    Detector("PHONE", _TRUNK, _check_trunk, SEVEN_DIGITS, 1, 100),
    Detector("PHONE", _BEHIND_WORD, _check_behind_word, SEVEN_DIGITS, 40, 150),
)
