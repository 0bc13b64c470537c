"""The task of a language model: predict each token of a text from those before it."""

from pathlib import Path

from minillm.json_files import write_json
from minillm.text.auto import AutoTokenizer
from minillm.text.canaries import plant, read_plan
from minillm.text.cleaning import prepare_corpus
from minillm.text.corpus import split_documents
from minillm.text.dataset import TokenDataset, random_batches, write_documents
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.prepared import MANIFEST, is_prepared, read_prepared
from minillm.training.architecture import new_config, pretrained_config
from minillm.training.dp_sgd import Examples
from minillm.training.evaluate import evaluate
from minillm.training.task import Prepared

SPLITS = ("train", "valid", "test")


class LanguageModeling:
    """Next-token prediction on the token files in a run folder: see minillm/training/task.py.

    A batch is (inputs, targets), int64 (B, T) each: targets[:, t] follows inputs[:, t].
    """

    name = "language_modeling"
    head = "causal_lm"
    unit = "tokens"
    tokenizer_class = GPT2Tokenizer  # of a new tokenizer
    separator = "eos_token"  # between documents
    tokenizer = None  # a subclass that needs it sets it
    headings = ("loss (nats/token)", "perplexity", "bits per byte", "tokens")

    def __init__(self, folder, settings):
        self.folder = Path(folder)
        self.block_size = settings.block_size
        self.splits = {split: TokenDataset(self.folder / "data" / f"{split}.bin")
                       for split in SPLITS}

    def batches(self, settings):
        return random_batches(self.splits["train"], settings.batch_size, settings.block_size,
                              settings.seed)

    def private_examples(self, settings):
        """-> Examples: blocks that don't overlap, so that each token is in one example only

        A block has block_size + 1 tokens: as inputs all but the last, as targets all but the first.
        What remains at the end of the text is left out.
        """
        dataset, length = self.splits["train"], settings.block_size + 1

        def batch(indices):
            window = dataset.windows((indices * length).tolist(), length)
            return window[:, :-1].copy(), window[:, 1:].copy()

        return Examples(f"one block of {length:,} consecutive tokens of the training text",
                        len(dataset) // length, batch)

    def loss(self, model, batch):
        inputs, targets = batch
        return model(inputs, shift_labels=targets, return_logits=False).loss

    def size(self, batch):
        return batch[0].size

    def cut(self, batch, rows, length):
        """-> the first `rows` windows of a batch, and their first `length` tokens"""
        return tuple(ids[:rows, :length].copy() for ids in batch)

    def evaluate(self, model):
        result = self.measure(model, "valid")
        if result is None:
            return {}
        return {"valid_loss": result.loss, "valid_perplexity": result.perplexity,
                "valid_bits_per_byte": result.bits_per_byte}

    def measure(self, model, split, report=None):
        """-> the result of `model` on "train", "valid" or "test"; None if the split is too short"""
        dataset = self.splits[split]
        if len(dataset) < self.least_tokens(self.block_size):
            return None
        return self.measure_text(model, dataset, self.block_size, self.tokenizer, report)

    @classmethod
    def least_tokens(cls, block_size):
        """-> the length of the shortest text that can be measured"""
        return 2

    @classmethod
    def measure_text(cls, model, dataset, block_size, tokenizer, report=None):
        """-> the result of `model` on any TokenDataset; the tokenizer is for subclasses"""
        return evaluate(model, dataset, block_size=block_size, report=report)

    @staticmethod
    def cells(result):
        return (f"{result.loss:.4f}", f"{result.perplexity:.2f}", f"{result.bits_per_byte:.3f}",
                f"{result.n_tokens:,}")

    @classmethod
    def prepare(cls, folder, settings, report):
        """Read the text, clean it, split it by document, load or train a tokenizer, insert canaries
        into the training text, write the tokens.

        Raises FileNotFoundError if the text doesn't exist, ValueError if it is empty or too short.
        """
        # Refuse what can be refused before reading the text.
        source = settings.model or settings.tokenizer
        tokenizer = AutoTokenizer.from_pretrained(source) if source else None
        if settings.model:
            config = pretrained_config(settings, tokenizer, cls.head)
        else:
            new_config(settings, cls.head, len(tokenizer) if tokenizer else settings.vocab_size)
        plan = [] if settings.canaries is None else read_plan(settings.canaries)

        report("reading the text")
        if is_prepared(settings.text):
            splits, manifest = read_prepared(settings.text)
            notes = ["the splits of the prepared corpus are used as they are"]
        else:
            corpus, manifest = prepare_corpus(settings.text), None
            notes = corpus.notes
            splits = split_documents(corpus.documents, settings.valid, settings.test, settings.seed)
        if tokenizer is None:
            report("training the tokenizer", 0)
            tokenizer = cls.tokenizer_class.train(
                [document.text for document in splits.train], settings.vocab_size,
                progress=lambda done, wanted: report("training the tokenizer", done / wanted),
            )
        if settings.model is None:
            config = new_config(settings, cls.head, len(tokenizer), tokenizer.eos_token_id)

        report("encoding the text")
        (folder / "data").mkdir()
        if plan:  # after the tokenizer, which must not learn a secret as a token
            documents, note = plant(splits.train, plan, settings.seed, folder)
            splits = splits._replace(train=documents)
            notes.append(note)
        data = {}
        for split, documents in zip(SPLITS, splits):
            path = folder / "data" / f"{split}.bin"
            write_documents(path, documents, tokenizer, cls.separator)
            dataset = TokenDataset(path)
            # Too little text shows here, before any training.
            if split == "train":
                dataset.require_context(settings.batch_size, settings.block_size)
            elif len(dataset):
                dataset.require_context(1, 1)
            data[split] = {"documents": len(documents), "tokens": len(dataset),
                           "bytes": dataset.n_bytes}
            if manifest:
                data[split]["sha256"] = manifest["sha256"][f"{split}.jsonl"]
        if manifest:  # what each text was made of, down to the hashes of the first files
            write_json(folder / "data" / MANIFEST, manifest, ensure_ascii=False)
        tokenizer.model_max_length = settings.block_size
        tokenizer.save_pretrained(folder / "model")
        return Prepared(config, data, notes)
