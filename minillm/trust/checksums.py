"""Check digits: a mistyped digit breaks them, so does almost every number that isn't one of these.

    Luhn (ISO/IEC 7812-1)     cards: from the right, every second digit doubled (18 becomes 1 + 8),
                              the sum of all digits is a multiple of 10
    ISO 7064 MOD 97-10        IBAN (ISO 13616): the first four characters moved to the end, letters
                              as A = 10 … Z = 35, the number is 1 modulo 97
    ISO 7064 MOD 11-2         resident IDs (GB 11643): Σ aᵢ · 2^(17 - i) = 1 modulo 11, where the
                              last digit may be X = 10
    ISBN-10                   Σ (10 - i) · aᵢ = 0 modulo 11

All four find each single wrong digit: each digit has a weight that shares no factor with the
modulus (Luhn's doubling is a permutation of 0 … 9).
"""

import datetime


def luhn(digits):
    """digits: a str of 0-9 -> whether the check digit is right"""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def mod_97(code):
    """code: a str of 0-9, A-Z, such as an IBAN with its first four at the end -> 0 … 96"""
    return int("".join(str(int(character, 36)) for character in code)) % 97


# How long an IBAN of each country is: the registry of ISO 13616 (SWIFT), experimental ones too.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}


def is_iban(code):
    """code: a str of 0-9, A-Z without spaces -> whether its length and check digits are right"""
    return (len(code) == IBAN_LENGTHS.get(code[:2]) and code[2:4].isdigit()
            and mod_97(code[4:] + code[:4]) == 1)


_PROVINCES = {*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55),
              *range(61, 66), 71, 81, 82, 83, 91}


def mod_11_2(code):
    """code: a str of digits, the last may be X -> Σ aᵢ · 2^(n - 1 - i) modulo 11"""
    digits = [10 if character in "Xx" else int(character) for character in code]
    return sum(digit << place for place, digit in enumerate(reversed(digits))) % 11


def is_resident_id(code):
    """code: a str of 17 digits and a digit or X -> whether place, birthday and check are right"""
    return (len(code) == 18 and int(code[:2]) in _PROVINCES and _is_birthday(code[6:14])
            and mod_11_2(code) == 1)


def _is_birthday(digits):
    try:
        born = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return 1850 <= born.year < 2100


def is_isbn_10(code):
    """code: a str of 9 digits and a digit or X"""
    digits = [10 if character in "Xx" else int(character) for character in code]
    return sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits)) % 11 == 0
