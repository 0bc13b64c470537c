"""Architectures, one file per paper, and what they share.

In reading order: gpt2.py, with its sizes in gpt2_config.py; then bert.py and llama.py. What several
share: outputs.py, input_checks.py; for decoders the head in causal_lm.py, and decoder_run.py;
rope.py reads the rotary positions of checkpoints. Loading and saving, the same for all
architectures: config.py, weight_table.py, safetensors_file.py, loading_options.py, pretrained.py;
gpt2_files.py, bert_files.py and llama_files.py have the tables of weights. auto.py finds the
classes for a checkpoint.
"""
