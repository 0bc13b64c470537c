"""Options of `from_pretrained` and `save_pretrained` in `transformers`.

Each is obeyed, or accepted because it has no effect here, or refused by name.
"""

import inspect

from minillm.checks import shown
from minillm.hub import find_pretrained

# name -> (values without an effect here, the reason why others are refused or what to do instead)
ACCEPTED = {
    "adapter_kwargs": ((None, {}), "minillm has no adapters"),
    "allow_all_kernels": ((None, False), "minillm has its own kernels"),
    "attn_implementation": ((None, "eager", "sdpa"), "wanted 'eager' or 'sdpa'"),
    "device_map": ((None,), "minillm computes on the CPU"),
    "device_mesh": ((None,), "minillm computes on the CPU"),
    "disable_mmap": ((None, True, False), ""),
    "distributed_config": ((None,), "minillm runs in one process"),
    "experts_implementation": ((None, "eager"), "minillm has no experts"),
    "from_flax": ((None, False), "minillm reads safetensors files"),
    "from_tf": ((None, False), "minillm reads safetensors files"),
    "fusion_config": ((None,), "minillm has its own kernels"),
    "gguf_file": ((None,), "minillm reads safetensors files"),
    "kernel_config": ((None,), "minillm has its own kernels"),
    "key_mapping": ((None, {}), "the weights must have their usual names"),
    "llm_int8_threshold": ((None,), 'dtype="int8" stores weights in one byte'),
    "load_in_4bit": ((None, False), 'dtype="int4" stores weights in 4 bits'),
    "load_in_8bit": ((None, False), 'dtype="int8" stores weights in one byte'),
    "low_cpu_mem_usage": ((None, True, False), ""),
    "max_memory": ((None,), "minillm computes on the CPU"),
    "mirror": ((None,), "set HF_ENDPOINT"),
    "offload_buffers": ((None, False), "minillm computes on the CPU"),
    "offload_folder": ((None,), "minillm computes on the CPU"),
    "offload_state_dict": ((None, True, False), ""),
    "output_loading_info": ((None, False), "weights that don't fit are an error"),
    "proxies": ((None, {}), "set HTTPS_PROXY"),
    "quantization_config": ((None,), 'dtype="int8" stores weights in one byte'),
    "resume_download": ((None, True, False), ""),
    "return_dict": ((None, True), "pass it to forward"),
    "state_dict": ((None,), "load_state_dict() loads one"),
    "torchscript": ((None, False), "minillm has no PyTorch"),
    "tp_plan": ((None,), "minillm runs in one process"),
    "tp_size": ((None,), "minillm runs in one process"),
    "trust_remote_code": ((None, False), "minillm runs no code from a checkpoint"),
    "use_kernels": ((None, False), "minillm has its own kernels"),
    "use_safetensors": ((None, True), "minillm reads safetensors files"),
    "weights_only": ((None, True), "minillm reads safetensors files"),
    "_fast_init": ((None, True, False), ""),
}
# The same for save_pretrained.
SAVING = {
    "distributed_checkpoint": ((None, False), "minillm runs in one process"),
    "is_main_process": ((None, True), "every process that calls save_pretrained saves"),
    "max_shard_size": (None, ""),  # any value: the weights are one file of any size
    "push_to_hub": ((None, False), "minillm uploads nothing"),
    "safe_serialization": ((None, True), "minillm writes safetensors files"),
    "save_original_format": ((None, True, False), ""),
    "save_peft_format": ((None, True, False), ""),
    "state_dict": ((None,), "the model saves its own weights"),
    "token": (None, ""),
    "variant": ((None, ""), "the file is called model.safetensors"),
}
# The options of find_pretrained.
PLACES = [name for name in inspect.signature(find_pretrained).parameters if name != "name_or_path"]
DTYPES = (None, "auto", "float32", "float16", "bfloat16", "int8", "int4")


def sort_options(options):
    """-> (options of find_pretrained, fields of the configuration)

    Raises ValueError, in one line, for an option of `transformers` that minillm can't follow.
    """
    places, changes = {}, {}
    for name, value in options.items():
        if name == "use_auth_token":  # the old name of `token`
            name = "token"
        if name in PLACES:
            places[name] = value
        elif name in ACCEPTED:
            _require_harmless(name, value, *ACCEPTED[name])
        else:
            changes[name] = value
    return places, changes


def check_saving_options(options):
    """Raise ValueError for an option of `transformers` that minillm can't follow, TypeError for an
    unknown one.
    """
    for name, value in options.items():
        if name not in SAVING:
            raise TypeError(f"save_pretrained has no option {name}")
        _require_harmless(name, value, *SAVING[name])


def _require_harmless(name, value, harmless, instead):
    if harmless is None or any(type(value) is type(one) and value == one for one in harmless):
        return
    raise ValueError(f"{name} is {shown(value)}, which minillm can't follow: {instead}")


def loading_dtype(dtype, torch_dtype):
    """-> one of DTYPES, from the option's two names; NumPy's and PyTorch's dtypes work, too"""
    dtype = torch_dtype if dtype is None else dtype
    name = getattr(dtype, "__name__", dtype)  # np.float32
    name = name if name is None else str(name).removeprefix("torch.")
    if name not in DTYPES:
        wanted = ", ".join(DTYPES[1:])
        raise ValueError(f"dtype is {shown(name)}, wanted one of {wanted}")
    return name
