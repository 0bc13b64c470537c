"""Tokenizers, corpora, cleaning and batching: from any text to arrays of ids.

In reading order: byte_level.py, bpe.py, added_tokens.py, batch_encoding.py, tokenizer_files.py,
gpt2_tokenizer.py; then corpus.py, cleaning.py, dataset.py.
"""
