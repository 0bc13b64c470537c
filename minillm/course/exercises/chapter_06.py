"""Exercises of chapter 6: tokens."""

import math
from itertools import pairwise

from minillm.course.checking import Exercise, Mistake

# ---- 6.1 utf8_bytes


def _utf8_bytes(code_point):
    return list(chr(code_point).encode("utf-8"))


def _utf8(code_point, limits=(0x80, 0x800, 0x10000), mask=0x3F, first=True, following=0x80, step=6,
          reverse=False):
    """UTF-8 with its parts to get wrong"""
    n = 1 + sum(code_point >= limit for limit in limits)
    if n == 1:
        return [code_point]
    parts = [code_point >> step * i & mask for i in reversed(range(n))]
    lead = (0xF00 >> n) & 0xFF if first else 0
    data = [lead | parts[0], *(following | part for part in parts[1:])]
    return data[::-1] if reverse else data


def _three_bytes(code_point):
    return [0xE0 | code_point >> 12, 0x80 | code_point >> 6 & 0x3F, 0x80 | code_point & 0x3F]


def _lead_pattern_everywhere(code_point):
    data = _utf8_bytes(code_point)
    return [data[0], *(byte | 0x40 for byte in data[1:])]


def _utf16(code_point):
    return list(chr(code_point).encode("utf-16-be"))


def _fixed_length(code_point):
    n = max(1, -(-code_point.bit_length() // 8))
    return list(code_point.to_bytes(n, "big"))


def _lead_of_one_less(code_point):
    data = _utf8_bytes(code_point)
    n = len(data)
    return data if n == 1 else [(0xF00 >> n - 1) & 0xFF | code_point >> 6 * (n - 1), *data[1:]]


UTF8 = Exercise(
    "6.1", "utf8_bytes", _utf8_bytes,
    cases=lambda rng: [(ord(character),) for character in "苹aéя😀ह\x7f\x80\u07ff\u0800\uffff\U00010000"],
    mistakes=[
        Mistake("The right bytes, but the exercise asks for a list of integers: wrap the result in "
                "list(…).",
                when=lambda got, want, code: isinstance(got, (bytes, bytearray))
                and list(got) == want),
        Mistake("The numbers are right, but they are strings. Return integers: format them only "
                "for printing.",
                when=lambda got, want, code: all(isinstance(one, str) for one in got)),
        Mistake("The bytes are right, but in the wrong order: the first byte holds the highest "
                "bits of the code point.", wrong=lambda code: _utf8(code, reverse=True)),
        Mistake("That is the code point itself, and from U+0100 on it doesn't fit into a byte. Cut it "
                "into groups of 6 bits, from the right.", wrong=lambda code: [code]),
        Mistake("Those are single bits. Return whole bytes, integers from 0 to 255.",
                when=lambda got, want, code: set(got) <= {0, 1} and len(got) > 4),
        Mistake("You always write three bytes. The table has one row for each number of bytes; which "
                "one applies depends on the code point.", wrong=_three_bytes),
        Mistake("The bytes after the first begin with the bits 11 instead of 10: add 0b10000000, not "
                "0b11000000.", wrong=_lead_pattern_everywhere),
        Mistake("There are numbers above 255, which are no bytes: after a shift, mask with 0b111111, so "
                "that only the six bits of this byte stay.",
                when=lambda got, want, code: len(got) == len(want) and max(got) > 255),
        Mistake("The bytes after the first lack their pattern: each must begin with the bits 10.",
                wrong=lambda code: _utf8(code, following=0)),
        Mistake("The first byte lacks its pattern: as many ones as there are bytes, then a zero.",
                wrong=lambda code: _utf8(code, first=False)),
        Mistake("The first byte announces one byte too few. A character of n bytes begins with n "
                "ones and a zero.", wrong=_lead_of_one_less),
        Mistake("You shift by 8 bits from one byte to the next. A byte after the first has only 6 "
                "free bits.", wrong=lambda code: _utf8(code, step=8)),
        Mistake("You mask with 7 bits, 0b1111111, so a bit of the next part gets into the byte. "
                "A byte after the first has 6 free bits.", wrong=lambda code: _utf8(code, mask=0x7F)),
        Mistake("You mask with 5 bits, 0b11111, and lose one. A byte after the first has 6 free "
                "bits.", wrong=lambda code: _utf8(code, mask=0x1F)),
        Mistake("The boundaries are off by one: U+0080, U+0800 and U+10000 are the *first* code "
                "points that need one byte more.",
                wrong=lambda code: _utf8(code, limits=(0x81, 0x801, 0x10001))),
        Mistake("The boundary of one byte is wrong: only 7 bits are free there, so U+0080 to "
                "U+00FF take two bytes.", wrong=lambda code: _utf8(code, limits=(0x100, 0x800,
                                                                                 0x10000))),
        Mistake("Right up to U+FFFF. Code points from U+10000 on, such as emoji, take four bytes.",
                wrong=lambda code: _utf8(code, limits=(0x80, 0x800))),
        Mistake("That is UTF-16, two bytes for most characters. UTF-8 cuts the code point into "
                "groups of 6 bits, from the right.", wrong=_utf16),
        Mistake("Those are the bytes of the code point itself. UTF-8 has fewer free bits in a byte: "
                "see the table.", wrong=_fixed_length),
    ],
)


# ---- 6.2 merge_pair (a planted bug)


def _merge_pair(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == tuple(pair)
        out.append(new if found else ids[i])
        i += 2 if found else 1
    return out


def _as_given(ids, pair, new):
    starts = [i for i, neighbors in enumerate(pairwise(ids)) if neighbors == tuple(pair)]
    out = list(ids)
    for i in reversed(starts):
        out[i : i + 2] = [new]
    return out


def _overlaps_forwards(ids, pair, new):
    out = []
    for i, id in enumerate(ids):
        if tuple(ids[i : i + 2]) == tuple(pair):
            out.append(new)
        elif i == 0 or tuple(ids[i - 1 : i + 1]) != tuple(pair):
            out.append(id)
    return out


def _from_the_right(ids, pair, new):
    return _merge_pair(ids[::-1], tuple(pair)[::-1], new)[::-1]


def _keeps_the_second(ids, pair, new):
    return [new if tuple(ids[i : i + 2]) == tuple(pair) else id for i, id in enumerate(ids)]


def _loses_the_last(ids, pair, new):
    out, i = [], 0
    while i < len(ids) - 1:
        found = tuple(ids[i : i + 2]) == tuple(pair)
        out.append(new if found else ids[i])
        i += 2 if found else 1
    return out


def _first_only(ids, pair, new):
    for i, neighbors in enumerate(pairwise(ids)):
        if neighbors == tuple(pair):
            return [*ids[:i], new, *ids[i + 2 :]]
    return list(ids)


def _either_order(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        out.append(new if found else ids[i])
        i += 2 if found else 1
    return out


def _even_places(ids, pair, new):
    out = []
    for i in range(0, len(ids), 2):
        two = ids[i : i + 2]
        out += [new] if tuple(two) == tuple(pair) else two
    return out


def _skips_after_a_merge(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == tuple(pair)
        out.append(new if found else ids[i])
        i += 3 if found else 1
    return out


def _not_after_each_other(ids, pair, new):
    starts = [i for i, neighbors in enumerate(pairwise(ids)) if neighbors == tuple(pair)]
    kept = [i for i in starts if i - 1 not in starts]
    out = list(ids)
    for i in reversed(kept):
        out[i : i + 2] = [new]
    return out


def _places_move(ids, pair, new):
    out = list(ids)
    for i, neighbors in enumerate(pairwise(ids)):
        if neighbors == tuple(pair):
            out[i : i + 2] = [new]
    return out


def _index_error(ids, pair, new):
    out = list(ids)
    for i in range(len(ids)):
        if (out[i], out[i + 1]) == tuple(pair):
            out[i : i + 2] = [new]
    return out


def _last_twice(ids, pair, new):
    return _loses_the_last(ids, pair, new) + list(ids[-1:])


MERGE = Exercise(
    "6.2", "merge_pair", _merge_pair,
    cases=lambda rng: [
        ([1, 2, 3, 1, 2], (1, 2), 300),
        ([7, 7, 7], (7, 7), 300),
        ([7, 7, 7, 7, 8, 7, 7, 7, 7, 7], (7, 7), 301),
        ([5, 1, 2, 2, 1, 2, 1, 9, 1, 2, 4], (1, 2), 302),
        (rng.integers(0, 3, 60).tolist(), (0, 1), 303),
        (rng.integers(0, 2, 60).tolist(), (1, 1), 304),
        ([4], (4, 4), 305),
    ],
    mistakes=[
        Mistake("The function still has its bug: it loses symbols. Try it on [7, 7, 7] with the "
                "pair (7, 7), and write down which places it merges.", wrong=_as_given),
        Mistake("Symbols are merged twice: in 7 7 7 the pair (7, 7) stands at two places that "
                "overlap. Once the first is merged, its second 7 is used up.",
                wrong=_overlaps_forwards),
        Mistake("You merge the rightmost pair first, so 7 7 7 becomes 7 and a new symbol. The rule "
                "is from left to right.", wrong=_from_the_right),
        Mistake("The right half of the pair stays in the list behind the new symbol. After a merge, "
                "go on two places further.", wrong=_keeps_the_second),
        Mistake("The last symbol is missing when it isn't part of a pair. Does your loop reach it?",
                wrong=_loses_the_last),
        Mistake("Only the first occurrence is merged. Go on after it.", wrong=_first_only),
        Mistake("You also merge (b, a) when the pair is (a, b). A pair has an order.",
                wrong=_either_order),
        Mistake("You look at even places only. A pair may begin anywhere, so go on by one place "
                "where nothing was merged.", wrong=_even_places),
        Mistake("A symbol is lost behind each merge: you go on three places further instead of two.",
                wrong=_skips_after_a_merge),
        Mistake("Your function replaces nothing. Where the pair stands, the new symbol must stand.",
                wrong=lambda ids, pair, new: list(ids)),
        Mistake("You replace every symbol that is in the pair, wherever it stands. Both must stand side "
                "by side, in this order.",
                wrong=lambda ids, pair, new: [new if id in pair else id for id in ids]),
        Mistake("You go through the places from left to right while the list shrinks: after the first "
                "merge, all later places are one too large.", wrong=_places_move),
        Mistake("An index leaves the list: either the list has become shorter than the range that you go "
                "through, or the last symbol has no right neighbor. (The slice ids[i : i + 2] never "
                "leaves it.)", wrong=_index_error),
        Mistake("The last symbol comes twice when it was merged already.", wrong=_last_twice),
        Mistake("Of a long run such as 7 7 7 7 you merge only the first pair. Only *overlapping* "
                "pairs exclude each other: there are two that don't overlap.",
                wrong=_not_after_each_other),
    ],
)


# ---- 6.3 tokens_left (a prediction)

PREDICTION = Exercise(
    "6.3", "tokens_left", 6,
    mistakes=[
        Mistake("Those are the bytes before any merge. Each merge takes away as many tokens as its "
                "pair has occurrences.", wrong=14),
        Mistake("Those are the letters. Count the space, too: it is a byte of the word ` bandana`.",
                wrong=13),
        Mistake("You took away one token for each merge. A merge replaces *every* occurrence of its "
                "pair.", wrong=11),
        Mistake("The pair `a`, `n` occurs twice in each word, four times in all: the first merge alone "
                "leaves ten.", wrong=12),
        Mistake("Those would be the two words. After three merges neither is a single token.", wrong=2),
        Mistake("Count again what each merge replaces: the first pair occurs four times, the second and "
                "the third twice each.", wrong=9),
        Mistake("That is right after the first merge, `a` + `n`, which occurs four times. Two more "
                "follow.", wrong=10),
        Mistake("That is right after two merges. In the third, look at the pairs that the new "
                "tokens form.", wrong=8),
        Mistake("Did you forget the space? It stays a token of its own: no pair with it occurs "
                "twice.", wrong=5),
        Mistake("After three merges `banana` is two tokens, but ` bandana` is not: its `d` and its "
                "space are still alone.", wrong=4),
        Mistake("That is the size of the vocabulary, 256 bytes and three merges. The question is "
                "how many tokens the text has.", wrong=259),
        Mistake("That is the number of merges. The question is how many tokens the text has.",
                wrong=3),
        Mistake("One occurrence of a pair is left unmerged. Write down both words after each merge; "
                "each pair of the second and third merge occurs once in each word.", wrong=7),
    ],
)


# ---- 6.4 count_spellings


def _count_spellings(word, tokens):
    return _ways(word, tokens)


def _ways(word, tokens, first=1, longest=None, step=lambda ways: ways):
    """The number of spellings, with its parts to get wrong"""
    longest = len(word) if longest is None else longest
    ways = [first] + [0] * len(word)
    for end in range(1, len(word) + 1):
        ways[end] = sum(step(ways[start]) for start in range(max(0, end - longest), end)
                        if word[start:end] in tokens)
    return ways[-1]


def _spellings(word, tokens):
    if not word:
        return [()]
    return [(word[:n], *rest) for n in range(1, len(word) + 1) if word[:n] in tokens
            for rest in _spellings(word[n:], tokens)]


def _substrings(word, tokens):
    return sum(word[start:end] in tokens for end in range(1, len(word) + 1) for start in range(end))


def _shortest(word, tokens):
    return min((len(spelling) for spelling in _spellings(word, tokens)), default=0)


def _two_pieces(word, tokens):
    return sum(word[:n] in tokens and word[n:] in tokens for n in range(1, len(word)))


def _bags(word, tokens):
    return len({tuple(sorted(spelling)) for spelling in _spellings(word, tokens)})


def _no_whole_word(word, tokens):
    return _ways(word, tokens) - (bool(word) and word in tokens)


def _tokens_inside(word, tokens):
    return sum(token in word for token in tokens)


def _all_tokens_of_all_spellings(word, tokens):
    return sum(len(spelling) for spelling in _spellings(word, tokens))


def _greedy_count(word, tokens):
    n = 0
    while word:
        size = next((size for size in range(len(word), 0, -1) if word[:size] in tokens), 0)
        if not size:
            return 0
        word, n = word[size:], n + 1
    return n


def _stops_at_a_token(word, tokens):
    if word in tokens:
        return 1
    return sum(_stops_at_a_token(word[n:], tokens) for n in range(1, len(word))
               if word[:n] in tokens)


def _one_character_short(word, tokens):
    ways = [1]
    for end in range(len(word)):
        ways.append(sum(ways[start] for start in range(end) if word[start:end] in tokens))
    return ways[-1]


def _first_letters(word, tokens):
    return sum(word[:n] in tokens for n in range(1, len(word) + 1))


_ABC = {"b", "a", "n", "an", "ana", "na", "ban", "nan"}
_RUNS = {"a", "aa", "aaa"}

SPELLINGS = Exercise(
    "6.4", "count_spellings", _count_spellings,
    cases=lambda rng: [
        ("the", {"t", "h", "e", "th", "he", "the"}), ("banana", set(_ABC)), ("bandana", set(_ABC)),
        ("nanan", set(_ABC)), ("", set(_ABC)), ("aaaa", set(_RUNS)), ("a" * 14, set(_RUNS)),
        ("ab", {"ab"}), ("abcab", {"ab", "c", "abc", "bca", "a", "b"}),
        ("abcde", {"abc", "ab", "cde", "a", "b", "c", "d", "e"}),
        ("whole", {"whole", "w", "h", "o", "l", "e", "ho", "ole"}),
    ],
    mistakes=[
        Mistake("Return how many spellings there are, a number; this is a collection.",
                when=lambda got, want, word, tokens: isinstance(got, (list, tuple, set))),
        Mistake("The beginning is missing: the empty word has one spelling, that of no tokens. Every "
                "other count is built on this 1.",
                wrong=lambda word, tokens: _ways(word, tokens, first=0)),
        Mistake("Right, except for the empty word: it has one spelling, that of no tokens.",
                wrong=lambda word, tokens: _ways(word, tokens) if word else 0),
        Mistake("You count all ways to cut the word, 2 to the power of the number of gaps. Each piece "
                "must be a token.", wrong=lambda word, tokens: 2 ** max(len(word) - 1, 0)),
        Mistake("You count all ways to cut the word, 2 to the power of the number of gaps. Each piece "
                "must be a token.", wrong=lambda word, tokens: 2 ** (len(word) - 1)),
        Mistake("You stop as soon as the rest of the word is a token: it may also be spelled by several "
                "tokens.", wrong=_stops_at_a_token),
        Mistake("Your loop ends one character early, so that the last character is never in a token.",
                wrong=_one_character_short),
        Mistake("You return the length of the word: that is the length of one spelling, in single "
                "characters. Count the spellings.", wrong=lambda word, tokens: len(word)),
        Mistake("You return the number of tokens. Count the sequences of them that join to the word.",
                wrong=lambda word, tokens: len(tokens)),
        Mistake("You count how often the tokens occur in the word. Count sequences that cover the whole "
                "word.", wrong=lambda word, tokens: sum(word.count(token) for token in tokens)),
        Mistake("You count the places where a token stands in the word. Count sequences that cover the "
                "whole word.", wrong=_substrings),
        Mistake("You count the tokens that occur in the word. Count sequences of them that spell it.",
                wrong=_tokens_inside),
        Mistake("You count the tokens in the shortest spelling. Count the spellings.",
                wrong=_shortest),
        Mistake("You count the tokens of one spelling, that of the longest matches. Count all "
                "spellings.", wrong=_greedy_count),
        Mistake("You only count whether there is a spelling. Add up the possibilities.",
                wrong=lambda word, tokens: int(_ways(word, tokens) > 0)),
        Mistake("You count the spellings of exactly two tokens. There may be any number of them.",
                wrong=_two_pieces),
        Mistake("You count the tokens with which the word can begin. For each of them, count the "
                "spellings of the rest.", wrong=_first_letters),
        Mistake("You count which tokens are used, not in which order: \"a\" + \"aa\" and \"aa\" + \"a\" are two "
                "spellings.", wrong=_bags),
        Mistake("The word itself may be a token, and then it is one of its spellings.",
                wrong=_no_whole_word),
        Mistake("You look at tokens of one or two characters only. A token may be as long as the word.",
                wrong=lambda word, tokens: _ways(word, tokens, longest=2)),
        Mistake("You look at tokens of one, two or three characters only. A token may be as long as the "
                "word.", wrong=lambda word, tokens: _ways(word, tokens, longest=3)),
        Mistake("You add one for each last token. A last token adds as many spellings as the part before "
                "it has.", wrong=lambda word, tokens: _ways(word, tokens, step=lambda ways: ways + 1)),
        Mistake("You count the tokens of all spellings together. Count the spellings.",
                wrong=_all_tokens_of_all_spellings),
    ],
)


# ---- 6.5 bits_per_byte


def _bits_per_byte(loss, n_tokens, n_bytes):
    return loss / math.log(2) * n_tokens / n_bytes


BITS = Exercise(
    "6.5", "bits_per_byte", _bits_per_byte,
    cases=lambda rng: [(4.2894, 9_000, 31_000), (5.206, 37, 160), (math.log(256), 10, 10),
                       (1.0, 3, 7)],
    mistakes=[
        Mistake("That is nats per byte. A bit is ln 2 nats, so divide by ln 2.",
                wrong=lambda loss, n, b: loss * n / b),
        Mistake("You multiply by ln 2. A bit is smaller than a nat (0.69 of it), so there are more "
                "of them: divide.", wrong=lambda loss, n, b: loss * math.log(2) * n / b),
        Mistake("The ratio is upside down: bits per byte are the bits of the whole text, loss · "
                "tokens / ln 2, divided by its bytes.",
                wrong=lambda loss, n, b: loss / math.log(2) * b / n),
        Mistake("That is bits per *token*. Multiply by the tokens, divide by the bytes.",
                wrong=lambda loss, n, b: loss / math.log(2)),
        Mistake("That is the information in the whole text, in bits. Divide it by the number of "
                "bytes.", wrong=lambda loss, n, b: loss / math.log(2) * n),
        Mistake("You divide the loss by the bytes, but the loss is a mean over tokens already: "
                "multiply by the number of tokens first.",
                wrong=lambda loss, n, b: loss / math.log(2) / b),
        Mistake("You took the logarithm of the loss. The loss is a logarithm already; changing its "
                "base to 2 is a division by ln 2.",
                wrong=lambda loss, n, b: math.log2(loss) * n / b),
        Mistake("You converted the perplexity. e^loss counts choices among tokens; the information "
                "is the loss itself.",
                wrong=lambda loss, n, b: math.exp(loss) / math.log(2) * n / b),
        Mistake("You used e^loss, the perplexity. The information is the loss itself.",
                wrong=lambda loss, n, b: math.exp(loss) * n / b),
        Mistake("You raised 2 to the power of the loss. The loss is the information already, in nats: "
                "divide by ln 2.", wrong=lambda loss, n, b: 2**loss * n / b),
        Mistake("The loss is positive already (minus the mean of the logarithms); no sign is needed.",
                wrong=lambda loss, n, b: -loss / math.log(2) * n / b),
        Mistake("You divide the loss by the bytes, but it is a mean over tokens: multiply by their number "
                "first. And a bit is ln 2 nats.", wrong=lambda loss, n, b: loss / b),
        Mistake("The loss is in nats, not in bits of a byte: divide by ln 2, not by 8.",
                wrong=lambda loss, n, b: loss * n / b / 8),
        Mistake("Each token has another number of bytes, not 8 bits: multiply by tokens / bytes, and "
                "divide by ln 2.", wrong=lambda loss, n, b: loss / 8),
        Mistake("You divide by 8. That gives bytes per byte, the ratio of compression; the exercise "
                "asks for bits.", wrong=lambda loss, n, b: loss / math.log(2) * n / b / 8),
        Mistake("You divide by log10(2). The loss is in nats, natural logarithms.",
                wrong=lambda loss, n, b: loss / math.log10(2) * n / b),
        Mistake("Integer division loses the fraction of tokens / bytes.",
                wrong=lambda loss, n, b: loss / math.log(2) * (n // b)),
    ],
)


# ---- 6.6 whole_characters


def _whole_characters(data):
    for held in range(4):
        try:
            end = len(data) - held
            return data[:end].decode("utf-8"), data[end:]
        except UnicodeDecodeError:
            continue
    raise ValueError("data is not UTF-8 cut off at its end")


def _hold_last_character(data):
    """Also holds back a last character that is complete."""
    start = len(data) - 1
    while start >= 0 and data[start] & 0xC0 == 0x80:
        start -= 1
    start = max(start, 0)
    if not data or data[start] < 0x80:
        return data.decode(), b""
    return data[:start].decode(), data[start:]


def _hold_continuations(data):
    """Only bytes 10xxxxxx are held back, and the first byte isn't."""
    end = len(data)
    try:
        return data.decode(), b""
    except UnicodeDecodeError:
        while end and data[end - 1] & 0xC0 == 0x80:
            end -= 1
        return data[:end].decode("utf-8", "ignore"), data[end:]


def _hold_n(n):
    def hold(data):
        end = max(len(data) - n, 0)
        return data[:end].decode("utf-8", "ignore"), data[end:]
    return hold


def _all_or_nothing(data):
    try:
        return data.decode(), b""
    except UnicodeDecodeError:
        return "", data


def _ascii_prefix(data):
    end = next((i for i, byte in enumerate(data) if byte >= 0x80), len(data))
    return data[:end].decode(), data[end:]


def _cut_at_characters(data):
    text = data.decode("utf-8", "ignore")
    return text, data[len(text) :]


def _hold_beyond_ascii(data):
    end = len(data)
    while end and data[end - 1] >= 0x80:
        end -= 1
    return data[:end].decode(), data[end:]


def _multiples_of_three(data):
    end = len(data) // 3 * 3
    return data[:end].decode("utf-8", "ignore"), data[end:]


def _is_pair(got):
    return isinstance(got, (tuple, list)) and len(got) == 2


STREAMING = Exercise(
    "6.6", "whole_characters", _whole_characters,
    cases=lambda rng: [(text.encode()[: len(text.encode()) - cut],) for text, cut in (
        ("我喜欢苹果", 1), ("apple", 0), ("I like 苹", 2), ("苹果", 0), ("naïve", 0), ("é", 1), ("😀😀", 1),
        ("😀😀", 2), ("😀😀", 3), ("", 0), ("ab苹", 1), ("苹果a", 0))],
    mistakes=[
        Mistake("Return two things: the text of the whole characters, and the bytes that are left.",
                when=lambda got, want, data: not _is_pair(got)),
        Mistake("The two results are in the wrong order: first the text, then the bytes.",
                when=lambda got, want, data: _is_pair(got) and tuple(got) == want[::-1]),
        Mistake("The first result must be text (str): decode the bytes.",
                when=lambda got, want, data: _is_pair(got) and isinstance(got[0], (bytes, bytearray))),
        Mistake("The rest must stay bytes: it isn't a whole character yet, so it can't be text.",
                when=lambda got, want, data: _is_pair(got) and isinstance(got[1], str)),
        Mistake("Unfinished bytes became U+FFFD, the replacement character, and can never become "
                "the right one any more. Give them back as the rest.",
                when=lambda got, want, data: _is_pair(got) and "\ufffd" in got[0]),
        Mistake("The text is right, but the unfinished bytes are lost: errors=\"ignore\" drops them. "
                "Return them, the next token completes them.",
                wrong=lambda data: (data.decode("utf-8", "ignore"), b"")),
        Mistake("The end may be in the middle of a character, and then decoding everything fails. Find "
                "out how many bytes have to wait, and decode the others.",
                wrong=lambda data: (data.decode(), b"")),
        Mistake("If nothing has to wait, the rest is b\"\", empty bytes.",
                when=lambda got, want, data: _is_pair(got) and got[1] is None),
        Mistake("You cut the data at the number of *characters* of the text. The rest begins after its "
                "bytes.", wrong=_cut_at_characters),
        Mistake("You hold back all bytes outside ASCII at the end, whole characters, too.",
                wrong=_hold_beyond_ascii),
        Mistake("You show and hold back multiples of three bytes. A character takes one to four.",
                wrong=_multiples_of_three),
        Mistake("You hold back a last character that is complete. Count: the first byte says how "
                "many belong to it.", wrong=_hold_last_character),
        Mistake("You hold back the bytes 10xxxxxx at the end, but drop or decode the first byte of "
                "that character, which is unfinished, too.", wrong=_hold_continuations),
        Mistake("You always hold back one byte. How many are unfinished depends on the character: "
                "0 to 3.", wrong=_hold_n(1)),
        Mistake("You always hold back three bytes. How many are unfinished depends on the "
                "character: 0 to 3.", wrong=_hold_n(3)),
        Mistake("If the last character is unfinished, you hold back everything. The characters "
                "before it are whole: show them.", wrong=_all_or_nothing),
        Mistake("Text and rest together aren't the data any more: bytes are lost. The first byte of an "
                "unfinished character has to wait, too.",
                when=lambda got, want, data: _is_pair(got) and got[0].encode() + got[1] != data),
        Mistake("You stop at the first byte outside ASCII. A character of several bytes is whole, "
                "too, if all of them are there.", wrong=_ascii_prefix),
    ],
)

EXERCISES = [UTF8, MERGE, PREDICTION, SPELLINGS, BITS, STREAMING]
