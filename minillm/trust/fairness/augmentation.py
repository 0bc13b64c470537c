"""Counterfactual data augmentation: learn from each text, and from the same about the other group.

(Lu et al. 2018, "Gender bias in neural natural language processing", section 4; Zhao et al. 2018.)
In the augmented data each group occurs as often with everything: what a text says no longer tells
the group, and the group no longer tells the label. Swapping makes mistakes (swapping.py), and the
training takes more steps for the same number of passes: that is the price.
"""

import json

from minillm.files import atomic_write, expand
from minillm.json_files import parse_json
from minillm.text.corpus import read_text
from minillm.trust.fairness.swapping import swap


def augment(texts, kind="gender"):
    """-> list: each text, followed by its counterfactual if there is one; no text twice in a row"""
    return [each for text in texts for each in dict.fromkeys((text, swap(text, kind)))]


def augment_examples(examples, kind="gender", fields=("text",)):
    """-> list of dicts: each example, followed by one with its `fields` swapped, if that differs"""
    found = []
    for example in examples:
        other = {**example, **{name: swap(example[name], kind) for name in fields}}
        found += [example] if other == example else [example, other]
    return found


def augment_file(path, out, kind="gender", field="text", separator="<|endoftext|>"):
    """Write a file's texts and their counterfactuals -> (texts read, texts written)

    .jsonl: a line each, of which `field` is swapped;  .tsv: a line each, swapped as a whole;  any
    other: documents, parted by `separator` or, where there is none, by blank lines.
    """
    path, suffix = expand(path), expand(path).suffix.lower()
    text = read_text(path)
    if suffix == ".jsonl":
        rows = [parse_json(f"{path}, line {number}", line)
                for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        for number, row in enumerate(rows, 1):
            if not isinstance(row.get(field), str):
                raise ValueError(f"{path}, text {number}: has no text in the field {field!r}")
        texts = augment_examples(rows, kind, (field,))
        written = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in texts)
        n = len(rows)
    else:
        between = "\n" if suffix == ".tsv" else separator if separator in text else "\n\n"
        rows = [part.strip("\n") for part in text.split(between) if part.strip()]
        texts, n = augment(rows, kind), len(rows)
        written = between.join(texts) + "\n"
    if not n:
        raise ValueError(f"{path} holds no text")
    with atomic_write(expand(out), "w") as file:
        file.write(written)
    return n, len(texts)
