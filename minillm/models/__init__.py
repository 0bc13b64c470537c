"""Architectures, one file per paper, and what they share.

In reading order: gpt2.py, with its outputs in outputs.py, the checks of its inputs in
input_checks.py and its sizes in gpt2_config.py; then bert.py. Loading and saving, the same for all
architectures: config.py, weight_table.py, safetensors_file.py, loading_options.py, pretrained.py;
gpt2_files.py and bert_files.py have the tables of weights. auto.py finds the classes for a
checkpoint.
"""
