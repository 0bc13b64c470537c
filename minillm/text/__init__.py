"""Tokenizers, corpora, cleaning and batching."""
