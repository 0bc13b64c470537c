"""A sentence encoder: Reimers and Gurevych 2019, "Sentence-BERT: Sentence Embeddings using Siamese
BERT-Networks".

    texts ── tokenizer ── ids (B, T) ── model ── x (B, T, d) ── pooling ── y (B, d)
                                                 [ ── dense … ] ── normalize ── embeddings (B, d)

Texts that mean the same get vectors with a cosine near 1. The same encoder, with the same weights,
runs for both texts of a pair; nn/contrastive_loss.py trains it. The files are those of the library
sentence-transformers: sentence_files.py.
"""

import numpy as np

from minillm.files import expand
from minillm.hub import find_pretrained
from minillm.models.auto import AutoModel
from minillm.models.config import read_config
from minillm.models.safetensors_file import WeightFiles
from minillm.models.sentence_files import (
    DenseFiles,
    SentenceFiles,
    read_sentence_files,
    write_sentence_files,
)
from minillm.nn import Activation, L2Normalize, Linear, Module, Pooling
from minillm.nn.module import inference
from minillm.ops.cosine_search import cosine_similarity
from minillm.text.auto import AutoTokenizer


class SentenceDense(Module):
    """y = f(x W + b) after the pooling, with f = tanh or nothing (module "Dense" in files)"""

    def __init__(self, weight, bias, activation=None):
        self.linear = Linear(*weight.shape, bias=bias is not None, rng=None, std=0.0)
        self.linear.weight.data = weight
        if bias is not None:
            self.linear.bias.data = bias
        self.activation = None if activation is None else Activation(activation)

    def forward(self, x):
        """x: (B, d_in) -> y: (B, d_out)"""
        y = self.linear(x)
        return y if self.activation is None else self.activation(y)

    def backward(self, dy):
        """dy: (B, d_out) -> dx: (B, d_in)"""
        return self.linear.backward(dy if self.activation is None else self.activation.backward(dy))


class SentenceEncoder(Module):
    """Texts to vectors, around any model of this library that has no separate decoder.

    model: a model; of one with a head, its `base_model` is taken;  tokenizer: its tokenizer
    pooling: "mean" of the tokens; "cls", the first token; "last", the last one, which in a decoder
        is the only one that has seen the whole text
    normalize: whether embeddings have length 1
    max_length: longer texts are truncated to this many tokens; default: what the model can take
    dense: SentenceDense layers between pooling and normalization
    lower_case: lower the case of texts first, whatever the tokenizer does
    prompt: is put in front of every text

        encoder = SentenceEncoder.from_pretrained("all-MiniLM-L6-v2")
        encoder.similarity(["Where is my parcel?"], ["Track an order", "Opening hours"])

    `forward` takes what `tokens` returns. Raises ValueError for arguments out of range.
    """

    def __init__(self, model, tokenizer, pooling="mean", normalize=True, max_length=None, *,
                 dense=(), lower_case=False, prompt=""):
        model = getattr(model, "base_model", model)
        if getattr(model.config, "is_encoder_decoder", False):
            raise ValueError(f"model is a {type(model).__name__}, an encoder-decoder; wanted an "
                             "encoder or a decoder alone")
        self.model, self.tokenizer = model, tokenizer
        self.pooling = Pooling(pooling)
        self.dense = list(dense)
        self.normalize = L2Normalize() if normalize else None
        limits = (max_length, model.config.position_limit, tokenizer.model_max_length)
        self.max_length = min(limit for limit in limits if limit is not None)
        fewest = 1 + tokenizer.num_special_tokens_to_add()
        if self.max_length < fewest:
            raise ValueError(f"max_length is {self.max_length}, wanted at least {fewest}")
        self.lower_case, self.prompt = lower_case, prompt
        self.training = model.training

    @property
    def width(self):
        """The size of an embedding."""
        if self.dense:
            return self.dense[-1].linear.weight.shape[1]
        return self.model.config.hidden_size

    # ---- the formula

    def forward(self, input_ids, attention_mask):
        """input_ids, attention_mask: (B, T) -> embeddings: (B, width)"""
        x = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        return self.vector_of(x, attention_mask)

    def vector_of(self, x, attention_mask):
        """x: (B, T, d), the model's vectors of the tokens -> embeddings: (B, width)"""
        y = self.pooling(x, attention_mask)
        for dense in self.dense:
            y = dense(y)
        return y if self.normalize is None else self.normalize(y)

    def backward(self, dy):
        """dy: (B, width) -> None: ids have no gradient"""
        self.model.backward(self.vector_backward(dy))

    def vector_backward(self, dy):
        """dy: (B, width) -> dx: (B, T, d)"""
        if self.normalize is not None:
            dy = self.normalize.backward(dy)
        for dense in reversed(self.dense):
            dy = dense.backward(dy)
        return self.pooling.backward(dy)

    # ---- texts

    def tokens(self, texts):
        """-> {"input_ids": int64 (B, T), "attention_mask": (B, T)} of a list of texts"""
        texts = [self.prepared(text) for text in texts]
        rows = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        lengths = np.array([len(row) for row in rows])
        T = max(1, lengths.max())  # a decoder's tokenizer makes no tokens of an empty text
        ids = np.full((len(rows), T), self.tokenizer.pad_token_id or 0)
        for row, tokens in zip(ids, rows):
            row[: len(tokens)] = tokens
        return {"input_ids": ids, "attention_mask": np.arange(T) < lengths[:, None]}

    def prepared(self, text):
        """-> the text as the tokenizer gets it"""
        text = self.prompt + text.strip()
        return text.lower() if self.lower_case else text

    def encode(self, texts, batch_size=32, report=None):
        """-> embeddings, float32 (n, width); (width,) for one text

        report(done, n): called after each batch. The weights stay as they are, dropout is off.
        Raises TypeError for anything but a text or several.
        """
        if isinstance(texts, str):
            return self.encode([texts], batch_size)[0]
        texts = list(texts)
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"texts contains a {type(text).__name__}, wanted str")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, wanted at least 1")
        embeddings = np.empty((len(texts), self.width), np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")  # little padding
        for start in range(0, len(texts), batch_size):
            batch = order[start : start + batch_size]
            with inference(self):
                embeddings[batch] = self(**self.tokens([texts[i] for i in batch]))
            if report is not None:
                report(start + len(batch), len(texts))
        return embeddings

    def similarity(self, one, other):
        """-> (n, m): the cosine of each of `one` and each of `other`

        one, other: texts (a list, or one str), or embeddings (n, width) and (m, width)
        """
        return cosine_similarity(*(self._embeddings(side) for side in (one, other)))

    def _embeddings(self, given):
        if isinstance(given, np.ndarray) and given.dtype.kind == "f":
            return np.atleast_2d(given)
        return self.encode([given] if isinstance(given, str) else given)

    # ---- files

    @classmethod
    def from_pretrained(cls, name_or_path, *, pooling=None, normalize=None, max_length=None,
                        **options):
        """Open a folder of sentence-transformers, or any model in Hugging Face's format, in eval
        mode.

        A folder without modules.json gets the mean over the tokens, normalized. pooling, normalize,
        max_length: replace what the files say;  options: those of PreTrainedModel.from_pretrained

        Raises the errors of `from_pretrained` of models and tokenizers, and ValueError, in one
        line, for parts of sentence-transformers that minillm doesn't have.
        """
        folder = find_pretrained(name_or_path)
        files = read_sentence_files(folder)
        model = AutoModel.from_pretrained(files.transformer, **_parts(files.transformer), **options)
        tokenizer = AutoTokenizer.from_pretrained(files.transformer)
        files.require_width(model.config.hidden_size)
        return cls(model, tokenizer, pooling or files.pooling,
                   files.normalize if normalize is None else normalize,
                   max_length or files.max_length, lower_case=files.lower_case,
                   prompt=files.prompt,
                   dense=[SentenceDense(*dense) for dense in files.dense]).eval()

    def save_pretrained(self, folder):
        """Write the model, the tokenizer and the files that sentence-transformers opens."""
        folder = expand(folder)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        write_sentence_files(folder, self.files(folder), self.model.config.hidden_size)

    def files(self, folder):
        """-> SentenceFiles, what files say beside those of the model and the tokenizer"""
        dense = [DenseFiles(each.linear.weight.data,
                            each.linear.bias and each.linear.bias.data,
                            each.activation and each.activation.name) for each in self.dense]
        return SentenceFiles(folder, self.pooling.how, self.normalize is not None, self.max_length,
                             self.lower_case, self.prompt, dense)

    def train(self, mode=True):
        """Switch dropout on (`mode` True) or off; return self. ValueError for a quantized model."""
        self.model.train(mode)  # refuses what it can't train
        return super().train(mode)


def _parts(folder):
    """-> options for the model: BERT without the pooler, which nothing here needs, if its file has
    none
    """
    if read_config(folder).get("model_type") != "bert":
        return {}
    return {"add_pooling_layer": any("pooler." in name for name in WeightFiles(folder).tensors)}
