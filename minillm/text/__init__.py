"""Tokenizers, corpora, cleaning and batching: from any text to arrays of ids.

In reading order: byte_level.py and bpe.py, the algorithm of GPT-2; then the steps around it that
every tokenizer has, traced_text.py, added_tokens.py, normalizers.py, pre_tokenizers.py,
post_processors.py, encoding.py, vocabulary.py, tokenizer.py; gpt2_tokenizer.py puts them together;
wordpiece.py and bert_tokenizer.py do the same for BERT, with the classes of characters in
unicode_of_tokenizers.py. replay.py shows the steps of any of them, for one text. chat_template.py
writes conversations. Reading and writing files: components.py, patterns.py, tokenizer_files.py;
auto.py finds the class of a checkpoint's tokenizer. From texts to batches: corpus.py, cleaning.py,
dataset.py.
"""
