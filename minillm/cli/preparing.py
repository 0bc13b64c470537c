"""`minillm prepare`: from folders of files to a corpus that `minillm train` takes as it is."""

import shlex

from minillm.cli.terminal import progress_bar, say, table
from minillm.preparing.pipeline import Options, prepare


def prepare_texts(options):
    given = {name: getattr(options, name) for name in
             ("field", "valid", "test", "seed", "near", "related", "against")}
    settings = Options(**given, filters=_chosen(options.filters, ()),
                       mask=() if options.no_mask else _chosen(options.mask, None),
                       languages=_chosen(options.languages, None))
    with progress_bar("preparing", 100) as advance:
        result = prepare(options.source, options.out, settings, options.strict, options.workers,
                         lambda message, done, total: advance(100 * done // total, message))
        advance(100, "done")
    rows = [(f"kept: {split}", f"{facts['documents']:,}", f"{facts['characters']:,}")
            for split, facts in result["splits"].items()]
    rows += [(f"removed: {reason}", f"{facts['documents']:,}", f"{facts['characters']:,}")
             for reason, facts in result["removed"].items()]
    table(f"{result['read']['documents']:,} documents from {result['read']['files']:,} files", rows,
          ("", "documents", "characters"))
    if result["masked"]:
        say("masked: " + ", ".join(f"{n:,} {kind}" for kind, n in result["masked"].items()))
    for place, reason in list(result["skipped"].items())[:10]:
        say(f"skipped: {place}: {reason}")
    if len(result["skipped"]) > 10:
        say(f"skipped: {len(result['skipped']) - 10:,} more, all in report.json")
    for split in ("valid", "test"):
        if getattr(options, split) and not result["splits"][split]["documents"]:
            say(f"no document fell to the {split} split: use more documents, or a larger --{split}")
    say(f"\nIn {options.out}:\n"
        "  train.jsonl, valid.jsonl, test.jsonl   the documents\n"
        "  report.md, report.json                 what was removed and why, with samples\n"
        "  DATA_CARD.md                           to be completed by you\n"
        "  manifest.json                          the hash of every file\n"
        f"Try it:  minillm train --text {shlex.quote(str(options.out))}")


def _chosen(values, default):
    """-> tuple; `default` where the option isn't given, and () for "none" """
    if values is None:
        return default
    return () if values == ["none"] else tuple(values)
