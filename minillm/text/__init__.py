"""Tokenizers, corpora, cleaning and batching: from any text to arrays of ids.

In reading order: byte_level.py and bpe.py, which are GPT-2's algorithm; what stands around it in
every tokenizer, traced_text.py, added_tokens.py, normalizers.py, pre_tokenizers.py,
post_processors.py, encoding.py, vocabulary.py, tokenizer.py; gpt2_tokenizer.py puts them together.
The files: components.py, patterns.py, tokenizer_files.py; auto.py finds the class for them. Then
corpus.py, cleaning.py, dataset.py.
"""
