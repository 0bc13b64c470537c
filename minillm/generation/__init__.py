"""Decoding: logits processors, sampling, beam search and the key-value cache."""
