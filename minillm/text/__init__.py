"""Tokenizers, corpora, cleaning and batching: from any text to arrays of ids.

In reading order: byte_level.py, bpe.py, added_tokens.py, vocabulary.py, tokenizer_files.py,
batch_encoding.py, gpt2_tokenizer.py; then corpus.py, cleaning.py, dataset.py.
"""
