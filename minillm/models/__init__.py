"""One file a paper. In reading order: gpt2.py, with what it returns in outputs.py and how its inputs
are checked in input_checks.py; then gpt2_config.py. What all architectures share about files:
config.py, weight_table.py, safetensors_file.py, loading_options.py, pretrained.py; gpt2_files.py is
GPT-2's part of it. auto.py finds the classes for a checkpoint.
"""
