"""`minillm mask`: replace personal data in texts, report it, or bring it back."""

import json
import sys
from pathlib import Path

from minillm.cli.terminal import for_stream, say
from minillm.files import atomic_write, expand
from minillm.text.corpus import text_files
from minillm.trust.masking import checked_kinds, mask
from minillm.trust.pseudonyms import Pseudonyms, open_key, read_map, write_map


def mask_texts(options):
    """-> exit status: with --check, 1 if there is personal data"""
    _check(options)
    if options.restore:
        return _write_all(options, _restored(options))
    found, worked = {}, _worker(options)

    def masked(name, text):
        text, spans = worked(text)
        found[name] = spans
        return text

    if options.check or options.report:
        for name, text in _texts(options):
            masked(name, text)
            if options.check and not options.report:
                for line in _places(name, text, found[name]):
                    print(for_stream(line))
        if options.report:
            print(json.dumps(_report(found), indent=2, ensure_ascii=False))
    else:
        _write_all(options, masked)
    counts = _counts(found.values())
    say("found " + (", ".join(f"{n:,} {kind}" for kind, n in counts.items()) or "nothing"))
    return 1 if options.check and counts else 0


def _check(options):
    if options.kinds is not None:
        checked_kinds(options.kinds)
    if options.model and not options.names:
        raise ValueError("--model is for --names, wanted both")
    if options.names and not options.model:
        raise ValueError("--names needs a model, wanted --model RUN of `minillm train-task "
                         "entities`")
    if options.restore and not (options.map or options.key):
        raise ValueError("--restore needs the map, wanted --map FILE or --key FILE")
    if options.map and not (options.key or options.restore):
        raise ValueError("--map is for pseudonyms, wanted --key FILE with it")
    if options.restore and (options.check or options.report):
        raise ValueError("--restore writes texts, wanted no --check and no --report with it")
    many = len(options.paths) > 1 or any(expand(path).is_dir() for path in options.paths)
    if many and not (options.out or options.check or options.report):
        raise ValueError("several files need a folder to write, wanted --out DIR")


def _worker(options):
    """-> a function text -> (masked text, spans)"""
    names = _names(options)
    if not options.key:
        return lambda text: mask(text, options.kinds, names)
    if options.check or options.report:
        pseudonyms = Pseudonyms(b"")  # nothing is written, the key included
    else:
        pseudonyms = Pseudonyms(open_key(options.key), read_map(_map(options)))

    def work(text):
        n_known = len(pseudonyms.values)
        masked = pseudonyms.mask(text, options.kinds, names)
        if not (options.check or options.report):
            # Before the text is written: a label without its value couldn't be restored.
            if len(pseudonyms.values) > n_known:
                write_map(_map(options), pseudonyms.values)
        return masked

    return work


def _names(options):
    if not options.names:
        return None
    from minillm.trust.names import NameFinder, missed  # opens models: slow to import

    share = missed(options.model)
    say(f"names: this model missed {share} of the entities of its own test split, and more where "
        "the text is of another kind" if share else
        f"names: {options.model} has no results.json, so nobody knows how many it misses")
    return NameFinder(options.model)


def _restored(options):
    path = expand(_map(options))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no map of pseudonyms")
    pseudonyms = Pseudonyms(b"", read_map(path))
    return lambda name, text: pseudonyms.restore(text)


def _map(options):
    return options.map or f"{options.key}.map.json"


def _texts(options):
    """Yield (name, text) of standard input, or of the files; bytes outside of the spans stay"""
    if not options.paths:
        yield "standard input", _decoded(sys.stdin.buffer.read(), "standard input")
    for path in options.paths:
        for name, file in text_files(expand(path)):
            yield (name if expand(path).is_dir() else str(path)), _decoded(file.read_bytes(), file)


def _decoded(data, name):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not UTF-8 text (byte 0x{data[error.start]:02x} at position "
                         f"{error.start}: {error.reason})") from None


def _write_all(options, work):
    """Write work(name, text) of each text to --out, or to standard output"""
    folders = any(expand(path).is_dir() for path in options.paths)
    written = set()
    for name, text in _texts(options):
        data = work(name, text).encode("utf-8")
        if not options.out:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
            continue
        path = expand(options.out)
        if folders or len(options.paths) > 1:
            path = path / (name if folders and not Path(name).is_absolute() else Path(name).name)
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.resolve() in written:
            raise ValueError(f"{name}: two texts have this name, wanted one --out for each")
        written.add(path.resolve())
        with atomic_write(path) as file:
            file.write(data)
    return 0


def _counts(all_spans):
    counts = {}
    for spans in all_spans:
        for span in spans:
            counts[span.kind] = counts.get(span.kind, 0) + 1
    return dict(sorted(counts.items()))


def _report(found):
    """Places and kinds. The values themselves are not in it: a report is passed on."""
    return {"counts": _counts(found.values()),
            "files": [{"name": name, "counts": _counts([spans]),
                       "spans": [span._asdict() for span in spans]}
                      for name, spans in found.items()]}


def _places(name, text, spans):
    """-> "FILE:line:column: KIND" for each span"""
    lines, line, begin = [], 1, 0
    for start, _, kind in spans:
        while (end := text.find("\n", begin)) != -1 and end < start:
            line, begin = line + 1, end + 1
        lines.append(f"{name}:{line}:{start - begin + 1}: {kind}")
    return lines
