"""`minillm tokenizer train` and `minillm tokenizer encode`."""

import sys

from minillm.cli.generation import read_stdin
from minillm.cli.terminal import progress_bar, say, table
from minillm.text.auto import AutoTokenizer
from minillm.text.cleaning import clean_documents
from minillm.text.corpus import read_corpus
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.claim import claim_folder
from minillm.training.run import model_folder

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                   "vocab.json", "merges.txt", "added_tokens.json")

ROWS_OF_A_TABLE = 500  # longer texts are written line by line: drawing a table is slow
HEADINGS = ("text", "as in vocab.json", "id")


def train(options):
    with claim_folder(options.out, TOKENIZER_FILES) as out:
        texts = [document.text for document in clean_documents(read_corpus(options.text))]
        with progress_bar("training the tokenizer", options.vocab_size) as advance:
            tokenizer = GPT2Tokenizer.train(
                texts, options.vocab_size, progress=lambda done, wanted: advance(done)
            )
        tokenizer.save_pretrained(out)
    n_bytes = sum(len(text.encode()) for text in texts)
    n_tokens = sum(len(tokenizer.encode(text)) for text in texts)
    say(f"{len(tokenizer)} tokens in {out}; {n_bytes / n_tokens:.2f} bytes a token on this text")


def encode(options):
    text = options.text if options.text is not None else read_stdin("text")
    tokenizer = AutoTokenizer.from_pretrained(model_folder(options.tokenizer))
    ids = tokenizer.encode(text.removeprefix("\ufeff"))  # the byte-order mark of a file is no text
    if options.ids:
        print(*ids)
        return
    title, rows = f"{len(ids)} tokens", {id: _row(tokenizer, id) for id in set(ids)}
    if 0 < len(ids) <= ROWS_OF_A_TABLE:
        table(title, [rows[id] for id in ids], HEADINGS)
        return
    print(title)
    if ids:
        lines = {id: "\t".join(row) + "\n" for id, row in rows.items()}
        print(*HEADINGS, sep="\t")
        sys.stdout.writelines(lines[id] for id in ids)


def _row(tokenizer, id):
    if hasattr(tokenizer, "token_bytes"):
        text = shown_bytes(tokenizer.token_bytes(id))
    else:
        text = shown_text(tokenizer.decode([id]))
    return text, shown_text(tokenizer.convert_ids_to_tokens(id)), str(id)


def shown_bytes(data):
    """-> the text of a token's bytes on one line, with bytes that aren't UTF-8 as <E4>

    >>> shown_bytes("ä\\n".encode() + b"\\xe4")
    'ä\\\\n<E4>'
    """
    try:
        return shown_text(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        broken = "".join(f"<{byte:02X}>" for byte in data[error.start : error.end])
        before = shown_text(data[: error.start].decode("utf-8"))
        return before + broken + shown_bytes(data[error.end :])


def shown_text(text):
    """-> `text` on one line, with each invisible character as an escape such as \\n"""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
