"""One ASCII character for each character of a text, so that a pattern needs to know ASCII only.

Full-width forms (１３８, ＠, ．), the digits of all scripts (٣, ३), and the various dashes and spaces
become their ASCII counterparts. The folded text has the length of the text, so a span of one is a
span of the other.
"""

import sys
import unicodedata

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000"


def _table():
    folded = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width ! to ~
    folded |= {ord(dash): "-" for dash in _DASHES} | {ord(space): " " for space in _SPACES}
    for code in range(128, sys.maxunicode + 1):
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            folded[code] = str(digit)
    return folded


_FOLDED = _table()


def fold(text):
    """-> str of the same length"""
    return text if text.isascii() else text.translate(_FOLDED)
