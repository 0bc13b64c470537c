"""What was removed and why, for programs (report.json) and people (report.md, the data card)."""

import json

from minillm.preparing.store import unpacked

SAMPLES = 3  # documents shown of each reason
SHOWN = 200  # characters of a sample


def collect(store, options, splits):
    """-> dict of report.json"""
    [n, characters] = store.rows("SELECT COUNT(*), TOTAL(length) FROM documents").fetchone()
    removed = {reason: {"documents": count, "characters": int(length),
                        "samples": _samples(store, reason)}
               for reason, count, length in store.rows("""
                   SELECT reason, COUNT(*), TOTAL(length) FROM documents WHERE reason IS NOT NULL
                   GROUP BY reason ORDER BY COUNT(*) DESC, reason""").fetchall()}
    masked = {}
    for found, in store.rows("""SELECT masked FROM documents
                                WHERE reason IS NULL AND masked != '{}'"""):
        for kind, count in json.loads(found).items():
            masked[kind] = masked.get(kind, 0) + count
    return {
        "options": options,
        "read": {"files": store.rows("SELECT COUNT(*) FROM files WHERE sha256 IS NOT NULL")
                 .fetchone()[0], "documents": n, "characters": int(characters)},
        "skipped": dict(store.rows("SELECT place, reason FROM problems ORDER BY place")),
        "removed": removed,
        "masked": dict(sorted(masked.items())),
        "languages": dict(store.rows("""SELECT language, COUNT(*) FROM documents
            WHERE reason IS NULL GROUP BY language ORDER BY COUNT(*) DESC, language""")),
        "families": store.rows("SELECT COUNT(DISTINCT family) FROM documents "
                               "WHERE reason IS NULL").fetchone()[0],
        "splits": splits,
    }


def _samples(store, reason):
    rows = store.rows("""SELECT documents.name, documents.text, other.name FROM documents
        LEFT JOIN documents AS other ON other.id = documents.twin
        WHERE documents.reason = ? ORDER BY documents.id LIMIT ?""", reason, SAMPLES)
    return [{"name": name, "text": unpacked(text)[:SHOWN]} | ({"kept": twin} if twin else {})
            for name, text, twin in rows]


def page(report):
    """-> report.md"""
    read, splits = report["read"], report["splits"]
    lines = ["# What became of the texts", "",
             f"Read: {read['documents']:,} documents with {read['characters']:,} characters, from "
             f"{read['files']:,} files.", "",
             "| kept | documents | characters | bytes |", "| --- | ---: | ---: | ---: |",
             *(f"| {split} | {facts['documents']:,} | {facts['characters']:,} | "
               f"{facts['bytes']:,} |" for split, facts in splits.items()), "",
             "| removed because | documents | characters |", "| --- | ---: | ---: |",
             *(f"| {_cell(reason)} | {facts['documents']:,} | {facts['characters']:,} |"
               for reason, facts in report["removed"].items()), ""]
    if report["skipped"]:
        lines += ["| skipped | because |", "| --- | --- |",
                  *(f"| {_cell(place)} | {_cell(why)} |"
                    for place, why in report["skipped"].items()), ""]
    if report["masked"]:
        lines += ["| masked | places |", "| --- | ---: |",
                  *(f"| {kind} | {n:,} |" for kind, n in report["masked"].items()), ""]
    lines += ["| language | documents |", "| --- | ---: |",
              *(f"| {tag} | {n:,} |" for tag, n in report["languages"].items()), ""]
    for reason, facts in report["removed"].items():
        lines += [f"## Removed: {reason}", ""]
        for sample in facts["samples"]:
            twin = f" (kept: {_cell(sample['kept'])})" if "kept" in sample else ""
            lines += [f"**{_cell(sample['name'])}**{twin}", "",
                      *(f"    {line}" for line in sample["text"].split("\n")), ""]
    return "\n".join(lines)


def _cell(text):
    """Text for Markdown: names come from strangers"""
    text = "".join(c if c.isprintable() else " " for c in str(text))
    return "".join(f"\\{c}" if c in "\\|`*_<>[]#" else c for c in text)


def card(report):
    """-> DATA_CARD.md: what is known is filled in; what only a person knows is asked"""
    splits, options = report["splits"], report["options"]
    kept = sum(facts["documents"] for facts in splits.values())
    languages = ", ".join(f"{tag} ({n:,})" for tag, n in report["languages"].items()) or "none"
    masked = ", ".join(f"{kind} ({n:,})" for kind, n in report["masked"].items()) or "nothing"
    against = options["against"] or "none were given, so the texts may hold test questions"
    return f"""# Data card

Following Gebru et al. 2021 (Datasheets for Datasets). Lines with TODO are for a person to fill in.

- **Where the texts come from, who wrote them, and under which license:** TODO
- **Whether the people in them agreed:** TODO
- **What they are for, and what they must not be used for:** TODO
- **Size:** {kept:,} documents: {", ".join(
        f"{facts['documents']:,} {split}" for split, facts in splits.items())}.
- **Languages** (by letter n-grams, which err on short texts): {languages}.
- **Filters:** {", ".join(options["filters"]) or "none"}. Filters that were made for English web
  pages remove more of other kinds of text.
- **Duplicates:** of equal documents one was kept, and of documents with an estimated Jaccard
  similarity of {options["near"]} or more; from {options["related"]} on, documents are in one split.
- **Personal data masked:** {masked}. Patterns find what has a form. Names, and what people say
  about themselves in words, are still there.
- **Tests kept apart:** {against}.
- **Removed, and why:** report.md. **Hashes of all files:** manifest.json.
"""
