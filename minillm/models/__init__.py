"""One file a paper. In reading order: gpt2.py, with what it returns in outputs.py; then
gpt2_config.py, and the files of pretrained models: pretrained.py, safetensors_file.py,
gpt2_checkpoint.py.
"""
