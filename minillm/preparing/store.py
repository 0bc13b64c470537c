"""What is known so far: an SQLite file that is whole after a kill at any moment.

Documents are numbered in the order of the sorted files. A batch of them and how far its file was
read are one transaction: after a kill, reading goes on behind the last batch.
"""

import json
import sqlite3
import zlib

import numpy as np

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, sha256 TEXT);
CREATE TABLE IF NOT EXISTS problems (place TEXT PRIMARY KEY, reason TEXT);
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, file TEXT, name TEXT, text BLOB, length INTEGER, language TEXT,
    masked TEXT, digest BLOB, signature BLOB, reason TEXT, twin INTEGER, family INTEGER);
CREATE INDEX IF NOT EXISTS digests ON documents (digest) WHERE reason IS NULL;
CREATE TABLE IF NOT EXISTS bands (band INTEGER, hash INTEGER, id INTEGER,
    PRIMARY KEY (band, hash, id)) WITHOUT ROWID;
"""


class Store:
    """path: of the SQLite file; a new one if it doesn't exist"""

    def __init__(self, path):
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = NORMAL")
        self.database.execute("PRAGMA cache_size = -16000")  # 16 MB
        self.database.executescript(_SCHEMA)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.database.close()

    def rows(self, query, *values):
        return self.database.execute(query, values)

    def fact(self, name, default=None):
        found = self.rows("SELECT value FROM facts WHERE name = ?", name).fetchone()
        return default if found is None else json.loads(found[0])

    def set_fact(self, name, value):
        self.rows("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, json.dumps(value))

    def transaction(self):
        """-> a context: all of what is written in it, or nothing"""
        return _Transaction(self.database)

    def add(self, id, file, name, analyzed):
        """Add a document (inside of a transaction)"""
        is_kept = analyzed.reason is None
        self.rows("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                  id, file, name, zlib.compress(analyzed.text.encode("utf-8", "replace"), 1),
                  len(analyzed.text), analyzed.language, json.dumps(analyzed.masked),
                  analyzed.digest, analyzed.signature.tobytes() if is_kept else None,
                  analyzed.reason)

    def add_bands(self, id, bands):
        self.database.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?, ?)",
            [(number, int.from_bytes(band[:4], "little") ^ zlib.crc32(band[4:]), id)
             for number, band in enumerate(bands)])

    def signature(self, id):
        [data] = self.rows("SELECT signature FROM documents WHERE id = ?", id).fetchone()
        return np.frombuffer(data, np.uint32)


class _Transaction:
    def __init__(self, database):
        self.database = database

    def __enter__(self):
        self.database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, error, traceback):
        self.database.execute("COMMIT" if kind is None else "ROLLBACK")


def unpacked(blob):
    return zlib.decompress(blob).decode("utf-8")
