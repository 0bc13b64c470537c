"""`minillm tokenizer train` and `minillm tokenizer encode`."""

from minillm.cli.generation import read_stdin
from minillm.cli.terminal import progress_bar, say, table
from minillm.text.cleaning import clean_documents
from minillm.text.corpus import read_corpus
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.claim import claim_folder
from minillm.training.run import model_folder

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                   "vocab.json", "merges.txt", "added_tokens.json")


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
    tokenizer = GPT2Tokenizer.from_pretrained(model_folder(options.tokenizer))
    ids = tokenizer.encode(text)
    if options.ids:
        print(*ids)
    elif ids:
        rows = [(repr(tokenizer.decode([id]))[1:-1], token, id)
                for id, token in zip(ids, tokenizer.convert_ids_to_tokens(ids))]
        table(f"{len(ids)} tokens", rows, ("text", "as in vocab.json", "id"))
