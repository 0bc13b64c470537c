"""The stages of `minillm prepare IN OUT`, in order. Each one leaves its result in the store.

    read        every file, every document: cleaned, masked, judged by itself (analysis.py)
    duplicates  the same text again, white space aside: the first one stays
    families    documents that are alike, by minhash.py. Of those that are nearly the same, the
                longest stays; the others of a family stay, but all on one side of the split
    split       by a hash of the family: which side it is on doesn't depend on other documents
    write       OUT/train.jsonl, valid.jsonl, test.jsonl, the reports, and last the manifest

The same files and settings give the same bytes, whatever the order of a listing, the number of
workers, or how often the work was killed. Until it is done, the work is in OUT/.work.
"""

import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from minillm.checks import shown
from minillm.files import atomic_write, expand
from minillm.json_files import write_json
from minillm.preparing import minhash, reports
from minillm.preparing.analysis import FILTERS, analyze
from minillm.preparing.decontamination import Forbidden
from minillm.preparing.reading import BadFile, Problem, read_documents, sources
from minillm.preparing.store import Store, unpacked
from minillm.preparing.union_find import UnionFind
from minillm.text.prepared import MANIFEST, SPLITS
from minillm.training.claim import lock_folder
from minillm.trust.masking import checked_kinds

BATCH = 64  # documents
VERSION = 1  # of the stages: another one can't go on with what this one began


@dataclass(frozen=True)
class Options:
    """What decides the bytes of the result."""

    filters: tuple = ("gopher",)
    mask: tuple | None = None          # kinds of personal data; None: all, (): none
    languages: tuple | None = None     # None: all
    field: str = "text"
    valid: float = 0.05
    test: float = 0.05
    seed: int = 0
    near: float = 0.8                  # from this similarity on, only one document stays
    related: float = 0.5               # from this one on, documents are on one side
    against: str | None = None         # the tests that no document may overlap

    def __post_init__(self):
        for name in self.filters:
            if name not in FILTERS:
                raise ValueError(f"filter is {shown(name)}, wanted one of {', '.join(FILTERS)}")
        checked_kinds(self.mask)
        if not (0 <= self.valid < 1 and 0 <= self.test < 1 and self.valid + self.test < 1):
            raise ValueError(f"valid is {self.valid} and test is {self.test}, wanted shares of at "
                             "least 0 that leave something to train on")
        for name in ("near", "related"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted more than 0, at most 1")


def prepare(source, out, options=Options(), strict=False, workers=1,
            report=lambda message, done, total: None):
    """Prepare the texts at `source` (a file or a folder) in the folder `out` -> dict of report.json

    strict: a file or line that can't be read is an error, not skipped
    workers: processes that analyze documents
    report(message, done, total): called often

    Raises FileNotFoundError, ValueError (nothing to read, strict), FileExistsError if `out` holds
    something else, FolderInUse.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, wanted at least 1")
    source, out = expand(source), expand(out)
    files = sources(source)
    _claim(out)
    with lock_folder(out):
        work = out / ".work"
        fingerprint = _fingerprint(files, options, strict)
        with _store(work, fingerprint) as store:
            _read(store, files, options, strict, workers, report)
            _stage(store, "duplicates", _mark_duplicates, report)
            _stage(store, "families", lambda store: _mark_families(store, options), report)
            report("writing", 0, 1)
            result = _write(store, out, options)
        shutil.rmtree(work)
    return result


def _claim(out):
    """Make the folder, or accept one that is empty or that a stopped call has begun"""
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST).exists() and not (out / ".work").exists():
        raise FileExistsError(f"{out} holds a prepared corpus already, wanted a new folder")
    others = [path.name for path in out.iterdir() if path.name != ".lock"]
    if others and ".work" not in others:
        raise FileExistsError(f"{out} is not empty, wanted a new folder")


def _store(work, fingerprint):
    """-> the Store of a stopped call, or a new one if that had other texts or settings"""
    work.mkdir(exist_ok=True)
    store = Store(work / "store.sqlite")
    if store.fact("fingerprint") not in (None, fingerprint):
        store.database.close()
        shutil.rmtree(work)
        work.mkdir()
        store = Store(work / "store.sqlite")
    store.set_fact("fingerprint", fingerprint)
    return store


def _fingerprint(files, options, strict):
    facts = [VERSION, asdict(options), strict, _states(files)]
    if options.against:
        facts.append(_states(sources(expand(options.against))))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _states(files):
    """-> (name, size, time of the last change) of each file; (name,) if it can't be reached"""
    states = []
    for name, path in files:
        try:
            facts = path.stat()
        except OSError:  # a dangling link: reading names it
            states.append((name,))
        else:
            states.append((name, facts.st_size, facts.st_mtime_ns))
    return states


def _stage(store, name, work, report):
    """Run a stage, unless it was done before the kill"""
    if not store.fact(f"done: {name}"):
        report(name, 0, 1)
        with store.transaction():
            work(store)
            store.set_fact(f"done: {name}", True)


# ---- read

def _read(store, files, options, strict, workers, report):
    if store.fact("done: read"):
        return
    tests = None
    if options.against:
        tests = Forbidden(text for name, path in sources(expand(options.against))
                      for _, text in _documents(name, path, options.field, "--against "))
    done = {name for name, in store.rows("SELECT name FROM files")}
    with _analyzer(options, tests, workers) as analyze_all:
        for number, (name, path) in enumerate(files):
            report(f"reading {name}", number, len(files))
            if name not in done:
                _read_file(store, name, path, options, strict, analyze_all,
                           lambda: report(f"reading {name}", number, len(files)))
    if not store.rows("SELECT COUNT(*) FROM documents").fetchone()[0] and files:
        problem = store.rows("SELECT place || ': ' || reason FROM problems LIMIT 1").fetchone()
        raise ValueError(f"nothing could be read: {problem[0] if problem else 'no text in it'}")
    store.set_fact("done: read", True)


def _documents(name, path, field, what=""):
    try:
        for item in read_documents(name, path, field):
            if not isinstance(item, Problem):
                yield item
    except BadFile as error:
        raise ValueError(f"{what}{path}: {error}") from None


def _read_file(store, name, path, options, strict, analyze_all, tick):
    """Add the documents of a file, from where a stopped call was. Bad ones leave none behind."""
    [first] = store.rows("SELECT COALESCE(MAX(id), -1) + 1 FROM documents").fetchone()
    [n_known] = store.rows("SELECT COUNT(*) FROM documents WHERE file = ?", name).fetchone()
    try:
        batch, skipped = [], 0
        for item in read_documents(name, path, options.field):
            if isinstance(item, Problem):
                if strict:
                    raise ValueError(f"{item.place}: {item.reason}")
                store.rows("INSERT OR REPLACE INTO problems VALUES (?, ?)", *item)
                continue
            if skipped < n_known:
                skipped += 1
                continue
            batch.append(item)
            if len(batch) == BATCH:
                first = _add(store, name, batch, first, analyze_all)
                batch = []
                tick()
        _add(store, name, batch, first, analyze_all)
    except BadFile as error:
        if strict:
            raise ValueError(f"{name}: {error}") from None
        with store.transaction():
            store.rows("DELETE FROM bands WHERE id IN (SELECT id FROM documents WHERE file = ?)",
                       name)
            store.rows("DELETE FROM documents WHERE file = ?", name)
            store.rows("INSERT OR REPLACE INTO problems VALUES (?, ?)", name, str(error))
            store.rows("INSERT INTO files VALUES (?, NULL)", name)
        return
    with store.transaction():
        store.rows("INSERT INTO files VALUES (?, ?)", name, file_hash(path))


def _add(store, file, batch, first, analyze_all):
    """Analyze a batch and add it in one transaction -> the number of the next document"""
    analyzed = analyze_all([text for _, text in batch])
    with store.transaction():
        for id, ((name, _), result) in enumerate(zip(batch, analyzed), first):
            store.add(id, file, name, result)
            if result.reason is None:
                store.add_bands(id, minhash.bands(result.signature))
    return first + len(batch)


def file_hash(path):
    """-> the SHA-256 of a file, in hexadecimal"""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


_job = {}  # of a worker: the arguments of `analyze`


@contextmanager
def _analyzer(options, tests, workers):
    """A context of a function: list of texts -> list of Analyzed, in their order"""
    arguments = {"filters": options.filters, "kinds": options.mask,
                 "languages": options.languages, "tests": tests}
    if workers == 1:
        yield lambda texts: [analyze(text, **arguments) for text in texts]
        return
    with get_context("spawn").Pool(workers, _job.update, (arguments,)) as pool:
        yield lambda texts: pool.map(_analyze, texts, chunksize=max(1, len(texts) // workers // 2))


def _analyze(text):
    return analyze(text, **_job)


# ---- duplicates and families

def _mark_duplicates(store):
    store.rows("""
        UPDATE documents SET reason = 'exact duplicate', twin = first.id
        FROM (SELECT digest, MIN(id) AS id FROM documents WHERE reason IS NULL GROUP BY digest)
             AS first
        WHERE documents.digest = first.digest AND documents.reason IS NULL
              AND documents.id > first.id""")


def _mark_families(store, options):
    """Compare the documents that share a band; those with the same number stand together"""
    same, related = UnionFind(), UnionFind()
    previous, first = None, None
    for band, hash, id in store.rows("""
            SELECT band, hash, bands.id FROM bands JOIN documents ON documents.id = bands.id
            WHERE reason IS NULL ORDER BY band, hash, bands.id"""):
        if (band, hash) != previous:
            previous, first, signature = (band, hash), id, None
            continue
        # With the first of them only: a bucket of n documents costs n comparisons, not n²/2.
        if related.find(first) == related.find(id) and same.find(first) == same.find(id):
            continue
        if signature is None:
            signature = store.signature(first)
        s = minhash.estimated_jaccard(signature, store.signature(id))
        if s >= options.near:
            same.join(first, id)
        if s >= options.related or s >= options.near:
            related.join(first, id)
    for members in same.groups().values():
        lengths = {id: store.rows("SELECT length FROM documents WHERE id = ?", id).fetchone()[0]
                   for id in members}
        kept = max(members, key=lambda id: (lengths[id], -id))
        for id in set(members) - {kept}:
            store.rows("UPDATE documents SET reason = 'near duplicate', twin = ? WHERE id = ?",
                       kept, id)
    for name, members in related.groups().items():
        store.database.executemany("UPDATE documents SET family = ? WHERE id = ?",
                                   [(name, id) for id in members])


# ---- split and write

def side_of(digest, options):
    """digest: bytes of a family's first document -> "train", "valid" or "test" """
    number = hashlib.sha256(options.seed.to_bytes(8, "little", signed=True) + digest).digest()
    u = int.from_bytes(number[:8], "big") / 2**64
    return ("valid" if u < options.valid else "test" if u < options.valid + options.test
            else "train")


def _write(store, out, options):
    """Write the splits, the reports, and last the manifest -> the report"""
    counts = {split: {"documents": 0, "characters": 0, "bytes": 0} for split in SPLITS}
    writers = {split: atomic_write(out / f"{split}.jsonl", "w") for split in SPLITS}
    with writers["train"] as train, writers["valid"] as valid, writers["test"] as test:
        files = {"train": train, "valid": valid, "test": test}
        for name, text, length, language, digest in store.rows("""
                SELECT name, text, length, language, COALESCE(
                    (SELECT digest FROM documents AS first WHERE first.id = documents.family),
                    digest)
                FROM documents WHERE reason IS NULL ORDER BY id"""):
            split, text = side_of(digest, options), unpacked(text)
            line = {"name": name, "language": language, "text": text}
            files[split].write(json.dumps(line, ensure_ascii=False) + "\n")
            for fact, n in (("documents", 1), ("characters", length),
                            ("bytes", len(text.encode("utf-8")))):
                counts[split][fact] += n
    result = reports.collect(store, asdict(options), counts)
    write_json(out / "report.json", result, ensure_ascii=False)
    for name, text in (("report.md", reports.page(result)), ("DATA_CARD.md", reports.card(result))):
        with atomic_write(out / name, "w") as file:
            file.write(text)
    written = [*(f"{split}.jsonl" for split in SPLITS), "report.json", "report.md", "DATA_CARD.md"]
    inputs = dict(store.rows("""SELECT name, sha256 FROM files WHERE sha256 IS NOT NULL
                                ORDER BY name"""))
    write_json(out / MANIFEST, {
        "format": "minillm prepared corpus 1", "options": asdict(options), "splits": counts,
        "sha256": {name: file_hash(out / name) for name in written}, "inputs": inputs,
    }, ensure_ascii=False)
    return result
