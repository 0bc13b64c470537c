"""Files of tagged words: a word and its tag in a line, an empty line after each text.

    John    B-PER
    lives   O
    in      O
    Oslo    B-LOC

This is the format of CoNLL-2003, whose lines may have more columns: the first is the word, the last
the tag. Columns are separated by a tab, or without one by spaces. The tags are BIO, where an I- may
begin an entity; see span_f1.py.
"""

from minillm.checks import shown
from minillm.files import expand
from minillm.tasks.span_f1 import bio_entities
from minillm.text.corpus import read_text

SUFFIXES = (".tsv", ".bio", ".conll")


def read_bio(path):
    """-> list of {"text", "spans"}: the words with a space between them, the spans in characters

    Raises the errors of `read_tagged`, and ValueError with the number of the line for a tag that
    isn't BIO's.
    """
    return [example_of(words, tags) for words, tags in read_tagged(path, _check_tag)]


def read_tagged(path, check=lambda where, tag: None):
    """-> list of (words, tags), two lists of strings for each text; tags of any kind

    check(where, tag): raises ValueError for a tag that isn't wanted

    Lines that begin with -DOCSTART- are skipped. Raises FileNotFoundError if there is no file,
    ValueError with the number of the line for one without a tag, and for a file without words.
    """
    path = expand(path)
    texts, words, tags = [], [], []
    for number, line in enumerate([*read_text(path).split("\n"), ""], 1):
        cells = [cell for cell in (line.split("\t") if "\t" in line else line.split())
                 if cell.strip()]
        if cells and cells[0] == "-DOCSTART-":
            continue
        if cells:
            if len(cells) < 2:
                raise ValueError(f"{path}, line {number}: is {shown(line)}, wanted a word and a "
                                 "tag, or an empty line")
            words.append(cells[0].strip())
            tags.append(cells[-1].strip())
            check(f"{path}, line {number}", tags[-1])
        elif words:
            texts.append((words, tags))
            words, tags = [], []
    if not texts:
        raise ValueError(f"{path}: no example in it")
    return texts


def example_of(words, tags):
    """-> {"text": …, "spans": [[start, end, label], …]} of tagged words"""
    starts, length = [], 0
    for word in words:
        starts.append(length)
        length += len(word) + 1
    return {"text": " ".join(words),
            "spans": [[starts[first], starts[end - 1] + len(words[end - 1]), label]
                      for first, end, label in bio_entities(tags)]}


def _check_tag(where, tag):
    try:
        bio_entities([tag])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
