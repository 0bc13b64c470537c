"""Files of many kinds and encodings, as a stream of documents.

    .txt .md .rst …   one document; a long one is cut at blank lines; <|endoftext|> separates
    .jsonl            a document a line: the field "text", or a string
    .csv .tsv         a document a row: the column "text"
    .html .htm        the main text of the page, by trafilatura
    .gz .zst          any of these, compressed

Nothing is held in memory but one document, so a file may be of any size.
"""

import codecs
import csv
import gzip
import io
import json
import os
import sys
from typing import NamedTuple

from minillm.checks import shown
from minillm.files import require_regular
from minillm.text.corpus import LONGEST_PIECE, SEPARATOR, TEXT_SUFFIXES, files_below

KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".html": "html",
         ".htm": "html", ".xhtml": "html"} | dict.fromkeys(TEXT_SUFFIXES, "text")
COMPRESSED = (".gz", ".zst")
SUFFIXES = tuple(KINDS) + tuple(kind + end for kind in KINDS for end in COMPRESSED)
LONGEST_PAGE = 50 * 2**20  # bytes of an HTML page
LONGEST_LINE = 2**26  # characters of a line of .jsonl
SAMPLE = 2**18  # bytes by which an encoding is recognized
SHORTEST_TAIL = 2000  # characters; a shorter last piece stays with the one before it


class Problem(NamedTuple):
    """What couldn't be read: a file, or a line of one."""

    place: str
    reason: str


class BadFile(Exception):
    """A file that can't be read; its documents don't count."""


def sources(path):
    """-> list of (name, Path) of the files to read, sorted by name; a name is always valid UTF-8"""
    try:
        found = files_below(path, SUFFIXES)
    except ValueError as error:
        if "no text files" not in str(error):
            raise
        raise ValueError(f"{path}: no files in it that can be read (wanted .txt, .md, .jsonl, .csv, "
                         ".tsv, .html or .rst, also as .gz or .zst)") from None
    return sorted((os.fsencode(name).decode("utf-8", "backslashreplace"), file)
                  for name, file in found)


def read_documents(name, path, field="text"):
    """Yield (name of the document, text), and Problem for what is skipped

    Raises BadFile, perhaps after some documents.
    """
    plain = str(path).lower()
    end = next((end for end in COMPRESSED if plain.endswith(end)), "")
    plain = plain.removesuffix(end)
    kind = next((kind for suffix, kind in KINDS.items() if plain.endswith(suffix)), "text")
    try:
        require_regular(path)  # it is read more than once; and a FIFO may never begin
        encoding = _encoding(path, end)
        with _opened(path, end) as file:
            if kind == "html":
                yield from _html(name, file)
                return
            with io.TextIOWrapper(file, encoding, newline="" if kind == "csv" else None) as text:
                reader = {"text": _text, "jsonl": _jsonl, "csv": _csv}[kind]
                delimiter = "\t" if plain.endswith(".tsv") else ","
                yield from reader(name, text, field, delimiter)
    except BadFile:
        raise
    except UnicodeDecodeError as error:
        raise BadFile(f"not {error.encoding} text ({error.reason})") from None
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise BadFile(" ".join(str(error).split()) or type(error).__name__) from None
    except Exception as error:  # a broken archive raises what its library likes (zlib, zstd)
        if type(error).__module__ in ("zlib", "zstd", "zstandard.backend_c", "compression.zstd"):
            raise BadFile(str(error)) from None
        raise


# ---- bytes

def _opened(path, end):
    if end == ".gz":
        return gzip.open(path, "rb")
    if end == ".zst":
        return _zstd(path)
    return open(path, "rb")


def _zstd(path):
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.open(path, "rb")
    try:
        import zstandard
    except ImportError:
        raise BadFile('.zst needs zstandard: pip install "minillm[prepare]"') from None
    return io.BufferedReader(_Zstd(path, zstandard.ZstdDecompressor()), 2**20)


class _Zstd(io.RawIOBase):
    """The bytes of a .zst file of any number of frames.

    zstandard's own reader takes a file that was cut off for one that has ended.
    """

    def __init__(self, path, decompressor):
        self.file = open(path, "rb")
        self.decompressor, self.frame, self.ready = decompressor, None, b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.ready:
            if self.frame is not None and self.frame.eof:
                compressed, self.frame = self.frame.unused_data, None
            else:
                compressed = b""
            compressed = compressed or self.file.read(2**16)
            if not compressed:
                if self.frame is not None:
                    raise EOFError("compressed file ended before the end of its last frame")
                return 0
            self.frame = self.frame or self.decompressor.decompressobj()
            self.ready = self.frame.decompress(compressed)
        part, self.ready = self.ready[: len(buffer)], self.ready[len(buffer):]
        buffer[: len(part)] = part
        return len(part)

    def close(self):
        self.file.close()
        super().close()


def _encoding(path, end):
    """-> the name of the encoding: by the byte-order mark, UTF-8 if it is that, else a guess"""
    with _opened(path, end) as file:
        first = file.read(SAMPLE)
        for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"),
                           (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
                           (codecs.BOM_UTF16_BE, "utf-16")):
            if first.startswith(mark):
                return name
        decoder, part = codecs.getincrementaldecoder("utf-8")(), first
        try:
            while part:
                decoder.decode(part)
                part, last = file.read(2**20), part
            decoder.decode(b"", final=True)
            return "utf-8"
        except UnicodeDecodeError:
            sample = first if part is first or not part else first[: SAMPLE // 2] + part[: SAMPLE]
    return _guessed(sample)


# The encodings of nearly all old texts, the most common first. Rare ones draw wrong guesses.
COMMON = ["cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "gb18030",
          "big5", "cp932", "euc_jp", "cp949"]


def _guessed(sample):
    zeros = [sample[start::2].count(0) / max(1, len(sample) // 2) for start in (0, 1)]
    if len(sample) > 16 and max(zeros) > 0.2 and min(zeros) < 0.02:  # UTF-16, no mark
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    if b"\x00" in sample:
        raise BadFile("binary data, wanted text")
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise BadFile("not UTF-8, and to recognize other encodings it needs charset-normalizer: "
                      'pip install "minillm[prepare]"') from None
    guesses = from_bytes(sample, cp_isolation=COMMON)
    if not guesses:
        raise BadFile("not text in any encoding that is known")
    # Of guesses that are equally good, the more common encoding.
    return min(guesses, key=lambda guess: (guess.chaos, -guess.coherence,
                                           COMMON.index(guess.encoding))).encoding


# ---- kinds of files

def _text(name, lines, field, delimiter):
    for number, part in enumerate(_parts(lines), 1):
        yield (name if number == 1 else f"{name}#{number}"), part


def _parts(lines):
    """Yield the texts between separators; long ones in pieces that end at a blank line"""
    held, piece, length = None, [], 0
    for line in _bounded(lines):
        separated = line.split(SEPARATOR)
        for index, part in enumerate(separated):
            piece.append(part)
            length += len(part)
            ends = index < len(separated) - 1
            is_long = length >= (2 if part.strip() else 1) * LONGEST_PIECE
            if ends or is_long:
                if held is not None:
                    yield held
                held = "".join(piece)
                piece, length = [], 0
                if ends:
                    yield held
                    held = None
    tail = "".join(piece)
    if held is not None and len(tail) >= SHORTEST_TAIL:
        yield held
        held = None
    yield (held or "") + tail


def _bounded(lines):
    """Lines, those without an end in parts"""
    while line := lines.readline(LONGEST_PIECE):
        yield line


def _jsonl(name, lines, field, delimiter):
    for number in _from_one():
        line = lines.readline(LONGEST_LINE)
        if not line:
            return
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        if len(line) == LONGEST_LINE:
            raise BadFile(f"line {number} is longer than {LONGEST_LINE:,} characters")
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            yield Problem(place, "not valid JSON")
            continue
        text = content.get(field) if isinstance(content, dict) else content
        if isinstance(text, str):
            yield f"{name}#{number}", text
        else:
            yield Problem(place, f"no string {shown(field)} in it")


def _from_one():
    number = 0
    while True:
        number += 1
        yield number


def _csv(name, lines, field, delimiter):
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(lines, delimiter=delimiter)
    heading = next(rows, None)
    if heading is None:
        return
    if field not in heading:
        raise BadFile(f"no column {shown(field)}, wanted one of {shown(heading)}: see --field")
    column = heading.index(field)
    for number, row in enumerate(rows, 2):
        if column < len(row):
            yield f"{name}#{number}", row[column]
        elif row:
            yield Problem(f"{name}, row {number}", f"no column {shown(field)} in it")


def _html(name, file):
    try:
        import trafilatura
    except ImportError:
        raise BadFile('HTML needs trafilatura: pip install "minillm[prepare]"') from None
    page = file.read(LONGEST_PAGE + 1)
    if len(page) > LONGEST_PAGE:
        raise BadFile(f"a page of more than {LONGEST_PAGE:,} bytes")
    text = trafilatura.extract(page, include_comments=False, deduplicate=False)
    if not text:
        yield Problem(name, "no main text on the page")
    else:
        yield name, text
