"""Rotary positions as checkpoints name them: the field `rope_parameters`, and the Rotary it means.

    {"rope_type": "default", "rope_theta": 10000.0}
    {"rope_type": "linear" or "dynamic", "rope_theta": …, "factor": 4.0}
    {"rope_type": "llama3", …, "factor", "low_freq_factor", "high_freq_factor",
     "original_max_position_embeddings"}
    {"rope_type": "yarn", …, "factor", "original_max_position_embeddings"; and optionally
     "beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim"}
    {"rope_type": "longrope", …, "short_factor": [a number for each pair], "long_factor": […],
     "original_max_position_embeddings"; and optionally "factor", "attention_factor"}

Older files have `rope_theta` and `rope_scaling`, whose type may be called "type". The formulas are
in minillm/ops/rotary_scaling.py.
"""

import warnings

import numpy as np

from minillm.checks import shown
from minillm.models.config import require_number, require_positive
from minillm.nn import Rotary
from minillm.ops.rotary import rotary_frequencies
from minillm.ops.rotary_scaling import (
    dynamic_base,
    linear_scaling,
    llama3_scaling,
    longrope_amplitude,
    yarn_amplitude,
    yarn_scaling,
)

DEFAULT_BASE = 10000.0
# The type -> its numbers, and whether they are required
NUMBERS = {
    "default": {},
    "linear": {"factor": True},
    "dynamic": {"factor": True},
    "llama3": {"factor": True, "low_freq_factor": True, "high_freq_factor": True},
    "yarn": {"factor": False, "beta_fast": False, "beta_slow": False, "attention_factor": False,
             "mscale": False, "mscale_all_dim": False},
    "longrope": {"factor": False, "attention_factor": False},
}
STRETCHES = ("short_factor", "long_factor")  # of longrope, for sequences up to N, and longer ones
HAS_TRAINED_LENGTH = ("llama3", "yarn", "longrope")
OLD_FIELDS = ("rope_theta", "rope_scaling", "original_max_position_embeddings")


def with_rope_parameters(content):
    """-> the fields of a config.json with the older OLD_FIELDS moved into rope_parameters"""
    old = {name: content[name] for name in OLD_FIELDS if content.get(name) is not None}
    content = {name: value for name, value in content.items() if name not in OLD_FIELDS}
    # As in `transformers`, rope_scaling replaces rope_parameters, which have their own rope_theta.
    given = old.get("rope_scaling") or content.get("rope_parameters") or {}
    if not isinstance(given, dict):
        name = "rope_scaling" if "rope_scaling" in old else "rope_parameters"
        raise ValueError(f"{name} is {shown(given)}, wanted an object")
    if old:
        content["rope_parameters"] = {"rope_theta": old.get("rope_theta", DEFAULT_BASE), **given}
        if "original_max_position_embeddings" in old and _type(given) in HAS_TRAINED_LENGTH:
            name = "original_max_position_embeddings"
            content["rope_parameters"][name] = old[name]
    return content


def complete_rope_parameters(given, max_position_embeddings, head_dim):
    """-> all rope_parameters of a configuration, with their defaults

    Warns of fields that are unknown for the type; `transformers` doesn't read them either. Raises
    ValueError that names a field that is missing or wrong, or a type that isn't implemented.
    """
    given = given or {}
    kind = _type(given)
    if not isinstance(kind, str) or kind not in NUMBERS:
        raise ValueError(f"rope_type is {shown(kind)}, but only {', '.join(NUMBERS)} are "
                         "implemented")
    rope = {"rope_theta": DEFAULT_BASE, **given, "rope_type": kind}
    rope.pop("type", None)
    require_number("rope_theta", rope["rope_theta"], 0)
    if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise ValueError(f"partial_rotary_factor is {shown(rope['partial_rotary_factor'])}, but "
                         "only 1.0 is implemented")
    for name, is_required in NUMBERS[kind].items():
        if rope.get(name) is not None:
            require_number(f"rope_parameters.{name}", rope[name], 0)
        elif is_required:
            raise ValueError(f"rope_parameters has no {name}, which rope_type {kind!r} needs")
    if kind in HAS_TRAINED_LENGTH:
        name = "original_max_position_embeddings"
        rope.setdefault(name, max_position_embeddings)
        require_positive(name, rope[name])
    if kind == "longrope":
        _require_stretches(rope, head_dim)
    known = {"rope_type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings",
             *NUMBERS[kind], *(STRETCHES if kind == "longrope" else ()),
             *(("truncate",) if kind == "yarn" else ())}
    for name in rope.keys() - known:
        warnings.warn(f"rope_parameters.{name} is not known for rope_type {kind!r} and has no "
                      "effect", stacklevel=4)
    if kind == "yarn" and not isinstance(rope.get("truncate", True), bool):
        raise ValueError(f"rope_parameters.truncate is {shown(rope['truncate'])}, wanted true or "
                         "false")
    if kind == "llama3" and rope["high_freq_factor"] <= rope["low_freq_factor"]:
        raise ValueError(f"high_freq_factor is {rope['high_freq_factor']}, wanted more than "
                         f"low_freq_factor = {rope['low_freq_factor']}")
    return rope


def _require_stretches(rope, head_dim):
    for name in STRETCHES:
        given = rope.get(name)
        if not isinstance(given, (list, tuple)) or len(given) != head_dim // 2:
            raise ValueError(f"rope_parameters.{name} is {shown(given)}, wanted head_dim / 2 = "
                             f"{head_dim // 2} numbers")
        for pair, number in enumerate(given):
            require_number(f"rope_parameters.{name}[{pair}]", number, 0)


def rotary_positions(rope, head_dim, max_position_embeddings):
    """-> the Rotary that complete `rope` parameters describe, for heads of head_dim numbers"""
    base, factor = rope["rope_theta"], rope.get("factor")
    theta, amplitude = _frequencies(head_dim, base), 1.0
    trained_length = rope.get("original_max_position_embeddings", max_position_embeddings)
    match rope["rope_type"]:
        case "linear":
            theta = linear_scaling(theta, factor)
        case "dynamic":
            def theta(length):
                N = max_position_embeddings
                return _frequencies(head_dim, dynamic_base(base, head_dim, factor, N, length))
        case "llama3":
            theta = llama3_scaling(theta, factor, rope["low_freq_factor"],
                                   rope["high_freq_factor"], trained_length)
        case "yarn":
            factor = factor or max_position_embeddings / trained_length
            theta = yarn_scaling(theta, base, factor, trained_length, rope.get("beta_fast") or 32,
                                 rope.get("beta_slow") or 1, rope.get("truncate", True))
            theta = theta.astype(np.float32)
            amplitude = _yarn_amplitude(rope, factor)
        case "longrope":
            short, long = (
                rotary_frequencies(head_dim, base, np.float32,
                                   stretch=np.array(rope[name], np.float32)) for name in STRETCHES)

            def theta(length):
                return long if length > trained_length else short

            amplitude = rope.get("attention_factor")
            if amplitude is None:
                factor = factor or max_position_embeddings / trained_length
                amplitude = longrope_amplitude(factor, trained_length)
    return Rotary(head_dim, frequencies=theta, amplitude=amplitude)


def _frequencies(head_dim, base):
    return rotary_frequencies(head_dim, base, np.float32)


def _yarn_amplitude(rope, factor):
    if rope.get("attention_factor") is not None:
        return rope["attention_factor"]
    mscale, mscale_all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
    if mscale and mscale_all_dim:
        return yarn_amplitude(factor, mscale) / yarn_amplitude(factor, mscale_all_dim)
    return yarn_amplitude(factor)


def _type(rope):
    return rope.get("rope_type", rope.get("type", "default"))
