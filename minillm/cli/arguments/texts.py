"""Commands that make texts ready for training: tokenizer, prepare."""

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import DEFAULT_MODEL, add_text
from minillm.cli.arguments.values import path


def tokenizer(commands):
    parser = commands.add_parser("tokenizer", help="train a tokenizer, or show its tokens")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    train = command(
        actions, "train", "tokenizer:train", "train a byte-level BPE tokenizer",
        ["minillm tokenizer train --text my_book.txt --vocab-size 4096 --out my_tokenizer"],
    )
    add_text(train)
    train.add_argument("--vocab-size", type=int, default=2048,
                       help="tokens, bytes included (default: %(default)s)")
    train.add_argument("--out", type=path, required=True, help="the folder to write")
    encode = command(
        actions, "encode", "tokenizer:encode", "show the tokens of a text",
        ['minillm tokenizer encode "Attention is all you need"',
         "minillm tokenizer encode --ids --tokenizer my_tokenizer < my_book.txt"],
    )
    encode.add_argument("text", nargs="?", help="the text (default: read stdin)")
    encode.add_argument("--tokenizer", type=path, default=DEFAULT_MODEL,
                        help="a directory, a run folder or a name (default: %(default)s)")
    encode.add_argument("--ids", action="store_true",
                        help="print only the ids, separated by spaces")


def prepare(commands):
    parser = command(
        commands, "prepare", "preparing:prepare_texts",
        "make a corpus of files: clean, filter, deduplicate, mask, split",
        ["minillm prepare texts/ corpus",
         "minillm train --text corpus",
         "minillm prepare wiki.jsonl.zst corpus --filters gopher c4 --languages en de",
         "minillm prepare texts/ corpus --against test_questions.jsonl   # decontaminate",
         "minillm prepare poems/ corpus --filters none --no-mask",
         "minillm prepare texts/ corpus --workers 8                      # the same bytes, sooner"],
        "\n" + paragraph(
            "Reads .txt, .md, .rst, .jsonl, .csv, .tsv, .html, and these as .gz or .zst. A file "
            "that can't be read is named and skipped. Of equal and nearly equal documents one "
            "stays; alike ones are on one side of the split. Personal data is masked (see: minillm "
            "mask --help). After Ctrl-C or a kill, the same command goes on where it was. HTML, "
            '.zst and other encodings than UTF-8 need: pip install "minillm[prepare]"'),
    )
    parser.add_argument("source", metavar="IN", type=path, help="a file, or a folder of files")
    parser.add_argument("out", metavar="OUT", type=path, help="the new folder to write")
    parser.add_argument("--filters", nargs="+", default=["gopher"], metavar="FILTER",
                        help="rules for quality: gopher, c4, or none (default: gopher)")
    parser.add_argument("--languages", nargs="+", metavar="TAG",
                        help="keep only these, such as en zh (default: all)")
    parser.add_argument("--mask", nargs="+", metavar="KIND", type=str.upper,
                        help="kinds of personal data to mask (default: all)")
    parser.add_argument("--no-mask", action="store_true", help="leave personal data in")
    parser.add_argument("--against", metavar="TEST", type=path,
                        help="drop documents that share 13 words in a row with this file or folder")
    parser.add_argument("--near", type=float, default=0.8, metavar="S",
                        help="the Jaccard similarity from which on documents are nearly the same "
                             "(default: %(default)s)")
    parser.add_argument("--related", type=float, default=0.5, metavar="S",
                        help="the one from which on they are in one split (default: %(default)s)")
    parser.add_argument("--valid", type=float, default=0.05,
                        help="share of the documents to validate on (default: %(default)s)")
    parser.add_argument("--test", type=float, default=0.05,
                        help="share of the documents to test on (default: %(default)s)")
    parser.add_argument("--field", default="text",
                        help="the field of .jsonl and column of .csv (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--strict", action="store_true",
                        help="end with an error at the first file or line that can't be read")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
