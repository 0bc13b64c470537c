"""Architectures, one file per paper, and what they share.

In reading order: transformer.py (2017), with its sizes in transformer_config.py, and marian.py;
gpt2.py (2019) and gpt2_config.py; then bert.py and llama.py; family.py, the decoders of all
years as one. What several share: outputs.py, input_checks.py; positions.py, the positions of all;
for decoders the head in causal_lm.py, decoder_run.py, and whole_step.py, a token in one call of C;
rope.py reads the rotary positions of checkpoints. Loading and saving, the same for all
architectures: config.py, weight_table.py, safetensors_file.py, loading_options.py, pretrained.py;
transformer_files.py, gpt2_files.py, bert_files.py and llama_files.py have the tables of weights.
auto.py finds the classes for a checkpoint. To fine-tune a part of a model: layer_order.py; lora.py,
with its files in lora_files.py and lora_extract.py, and under peft's names in peft_model.py.
"""
