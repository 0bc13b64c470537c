"""Byte-pair encoding: megabytes of text a second, one thread."""

import shutil

from benchmarks.peers import Side
from benchmarks.results import Section, from_timings


def tokenizing(context):
    section = Section("bpe", "BPE encoding, one thread", "MB/s", True)
    side = context.minillm(1)
    made = context.arena.call(side, "train_tokenizer", vocab_size=1000 if context.quick else 4096,
                              megabytes=0.1 if context.quick else 0.5)
    if made is None:
        return section
    sides = [side, Side("Hugging Face", "hugging_face", 1)]
    try:
        for name, cold in (("first time", True), ("words seen before", False)):
            arguments = {"folder": made["folder"], "file": made["file"], "cold": cold}
            timings = context.arena.measure("encode", arguments, sides)
            section.add(from_timings(name, timings, amount=made["bytes"], scale=1e-6,
                                     tokens=made["tokens"]))
    finally:
        shutil.rmtree(made["folder"])
    section.notes.append(f"{made['bytes'] / 1e6:.2f} MB of English, {made['tokens']} tokens, "
                         "document by document; both remember how words were "
                         "split, which 'first time' starts without")
    return section
