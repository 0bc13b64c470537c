"""The bindings of attention: the checks of its arguments, and its calls of the C library.

The decorator `kernel` (dispatch.py) takes `forward` and `backward` above the NumPy formulas in
minillm/ops/attention.py. `bias` is a tuple (causal, key_mask, distance_bias), an `AttentionBias`.
"""

import math

import numpy as np

from minillm.checks import require_flag, require_float, require_number
from minillm.kernels import c_library
from minillm.kernels.arguments import (
    are_apart,
    contiguous,
    require_apart,
    require_array,
    require_output,
    rows_contiguous,
)
from minillm.kernels.dispatch import current


class Forward:
    """fused_attention(Q, K, V, bias, scale=None, out=None) -> out, lse"""

    def check(self, Q, K, V, bias, scale=None, out=None):
        checked_bias, scale = check_scores(Q, K, bias, scale)
        check_values(V, K)
        if out is None:
            out = empty_heads(*Q.shape, Q.dtype)
        else:
            require_output("out", out, Q.shape, Q.dtype)
            for name, array in named(Q, K, V, bias):
                require_apart("out", out, name, array)
        Q, K, V = (rows_contiguous(array) for array in (Q, K, V))
        return {"Q": Q, "K": K, "V": V, "bias": checked_bias, "scale": scale, "out": out}

    def trivial(self, Q, out, **_):
        return (out, np.empty(Q.shape[:3], Q.dtype)) if Q.size == 0 else None

    def c(self, Q, K, V, bias, scale, out):
        lse = np.empty(Q.shape[:3], np.float32)
        wide_out = out
        if Q.shape[3] % _unit() and Q.shape[2] >= c_library.lib.MINILLM_FEW_QUERIES:
            Q, K, V, wide_out = _widened(Q), _widened(K), _widened(V), _wide_zeros(out)
        call = _call(Q, K, bias, scale, lse, V=V, out=wide_out)
        c_library.check(c_library.lib.minillm_attention(call))
        if wide_out is not out:
            out[...] = wide_out[..., : out.shape[3]]
        return out, lse


class Backward:
    """fused_attention_backward(dout, Q, K, V, out, lse, bias, scale=None, grads=None,
    with_dbias=True) -> dQ, dK, dV, ddistance_bias"""

    def check(self, dout, Q, K, V, out, lse, bias, scale=None, grads=None, with_dbias=True):
        checked_bias, scale = check_scores(Q, K, bias, scale)
        check_values(V, K)
        for name, array, shape in (
            ("dout", dout, Q.shape), ("out", out, Q.shape), ("lse", lse, Q.shape[:3])
        ):
            check_like(name, array, shape, Q.dtype)
        if grads is None:
            grads = tuple(empty_heads(*array.shape, Q.dtype) for array in (Q, K, V))
        else:
            inputs = [("dout", dout), ("out", out), ("lse", lse), *named(Q, K, V, bias)]
            grads = check_grads(grads, (Q, K, V), inputs)
        dout, Q, K, V, out = (rows_contiguous(array) for array in (dout, Q, K, V, out))
        return {"dout": dout, "Q": Q, "K": K, "V": V, "out": out, "lse": contiguous(lse),
                "bias": checked_bias, "scale": scale, "grads": grads,
                "with_dbias": require_flag("with_dbias", with_dbias)}

    def trivial(self, Q, bias, grads, with_dbias, **_):
        """Without queries the gradients of K, V and the bias are sums of no terms."""
        if Q.size:
            return None
        for grad in grads:
            grad[...] = 0
        return (*grads, np.zeros_like(bias[2]) if with_dbias and bias[2] is not None else None)

    def c(self, dout, Q, K, V, out, lse, bias, scale, grads, with_dbias):
        D = Q.shape[3]
        wide_grads = grads
        if D % _unit():
            dout, Q, K, V, out = (_widened(array) for array in (dout, Q, K, V, out))
            wide_grads = [_wide_zeros(grad) for grad in grads]
        dQ, dK, dV = wide_grads
        call = _call(Q, K, bias, scale, lse, V=V, out=out, dout=dout, dQ=dQ, dK=dK, dV=dV)
        of_each_sequence = None
        if with_dbias and bias[2] is not None:
            of_each_sequence = np.empty((len(Q), *bias[2].shape), np.float32)
            call.ddistance_bias = c_library.pointer(of_each_sequence)
        c_library.check(c_library.lib.minillm_attention_backward(call))
        if wide_grads is not grads:
            for grad, wide in zip(grads, wide_grads):
                grad[...] = wide[..., :D]
        return (*grads, None if of_each_sequence is None else of_each_sequence.sum(axis=0))


forward, backward = Forward(), Backward()


def forward_each(Q, parts, keys, values, scale):
    """fused_attention(Q[:, :, part], K, V, AttentionBias(causal=True), scale)[0] of each of B
    sequences, Q: (1, H, T, D) -> (1, H, T, D); None if the C kernel doesn't take them

    For few queries each, checks and set-up take ten times as long as the attention itself: do them
    once. The caller, a layer, has made the arrays, so their shapes match.
    """
    _, H, T, D = Q.shape
    is_step = len(parts) == T
    if (current() != "c" or Q.dtype != np.float32 or not Q.size or Q.strides[3] != 4 or
            (D % _unit() and not is_step) or
            any(K.dtype != np.float32 or V.dtype != np.float32 for K, V in zip(keys, values))):
        return None
    out, lse = empty_heads(1, H, T, D, Q.dtype), np.empty((H, T), np.float32)
    if is_step:
        call, its_keys = _call_for_all(Q, keys, values, scale, out, lse)
        c_library.check(c_library.lib.minillm_attention(call))
        return out
    call = _call(Q, keys[0], (True, None, None), _checked_scale(scale, D), lse)
    for part, K, V in zip(parts, keys, values):
        call.Tq, call.Tk = part.stop - part.start, K.shape[2]
        call.ahead = call.Tk - call.Tq
        call.Q, call.K, call.V = heads_of(Q[:, :, part]), heads_of(K), heads_of(V)
        call.out = heads_of(out[:, :, part])
        c_library.check(c_library.lib.minillm_attention(call))
    return out


def _call_for_all(Q, keys, values, scale, out, lse):
    """-> the struct for one query of each sequence, (1, H, B, D), and the array it points to, which
    the caller keeps alive"""
    call = _call(Q.transpose(2, 1, 0, 3), keys[0], (True, None, None),
                 _checked_scale(scale, Q.shape[3]), lse, V=values[0], out=out.transpose(2, 1, 0, 3))
    call.Tk = max(K.shape[2] for K in keys)
    call.each = each = c_library.ffi.new("minillm_keys[]", len(keys))
    for one, K, V in zip(each, keys, values):
        one.K, one.V, one.Tk = heads_of(K), heads_of(V), K.shape[2]
    return call, each


def empty_heads(B, H, T, D, dtype):
    """-> a new (B, H, T, D) array with the memory layout (B, T, H, D)

    Merging the heads, (B, H, T, D) -> (B, T, H * D), is then a reshape that copies nothing.
    """
    return np.empty((B, T, H, D), dtype).transpose(0, 2, 1, 3)


# -------------------------------------------------------------------- checks


def check_scores(Q, K, bias, scale):
    """Check the inputs of the scores -> bias, scale, with contiguous arrays and the default scale

    Raises TypeError and ValueError: one line that names the argument.
    """
    for name, array in (("Q", Q), ("K", K)):
        require_float(name, array)
        _require_dtype_of_Q(name, array, Q.dtype)
        if array.ndim != 4:
            raise ValueError(f"{name} has shape {array.shape}, wanted 4 axes: (B, H, T, D)")
    (B, H, Tq, D), (_, Hkv, Tk, _) = Q.shape, K.shape
    if D == 0:
        raise ValueError(f"Q has shape {Q.shape}, wanted at least one element in the last axis")
    if K.shape != (B, Hkv, Tk, D):
        raise ValueError(f"K has shape {K.shape}, wanted ({B}, Hkv, Tk, {D}) to match Q")
    if H % Hkv if Hkv else H:
        raise ValueError(f"K has shape {K.shape}: {Hkv} heads, wanted a divisor of Q's {H}")
    return _checked_bias(bias, B, H, Tq, Tk, Q.dtype), _checked_scale(scale, D)


def check_values(V, K):
    """Check that V has the shape and dtype of K, which has been checked."""
    require_float("V", V)
    _require_dtype_of_Q("V", V, K.dtype)
    if V.shape != K.shape:
        raise ValueError(f"V has shape {V.shape}, wanted {K.shape} as K has")


def check_like(name, array, shape, dtype):
    """Raise unless `array` is a NumPy array of this shape and dtype."""
    require_array(name, array, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, wanted {shape}")


def check_grads(grads, arrays, inputs):
    """Check `grads`, the arrays that take the gradients of `arrays` -> grads as a tuple

    inputs: (name, array) of everything that the kernel reads while it writes `grads`
    """
    if not isinstance(grads, (tuple, list)):
        raise TypeError(f"grads is a {type(grads).__name__}, wanted a tuple (dQ, dK, dV)")
    if len(grads) != 3:
        raise ValueError(f"grads has {len(grads)} arrays, wanted three: dQ, dK, dV")
    for index, (grad, array) in enumerate(zip(grads, arrays)):
        require_output(f"grads[{index}]", grad, array.shape, array.dtype)
    inputs = [(name, array) for name, array in inputs if array is not None]
    if are_apart(grads, [array for _, array in inputs]):
        inputs = []  # the usual case: three views of one new array
    for index, grad in enumerate(grads):
        others = [(f"grads[{later}]", grads[later]) for later in range(index + 1, 3)]
        for other_name, other in (*inputs, *others):
            require_apart(f"grads[{index}]", grad, other_name, other)
    return tuple(grads)


def _require_dtype_of_Q(name, array, dtype):
    if array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, wanted {dtype} as Q has")


def _checked_bias(bias, B, H, Tq, Tk, dtype):
    """-> bias with contiguous arrays"""
    if not isinstance(bias, tuple) or len(bias) != 3:
        raise TypeError(f"bias is a {type(bias).__name__}, wanted an AttentionBias")
    causal, key_mask, distance_bias = bias
    causal = require_flag("causal", causal)
    if key_mask is not None:
        require_array("key_mask", key_mask, np.bool_)
        if key_mask.shape != (B, Tk):
            raise ValueError(f"key_mask has shape {key_mask.shape}, wanted {(B, Tk)}: (B, Tk)")
        key_mask = contiguous(key_mask)
    if distance_bias is not None:
        require_array("distance_bias", distance_bias, dtype)
        wanted = (H, max(0, Tq + Tk - 1))
        if distance_bias.shape != wanted:
            raise ValueError(f"distance_bias has shape {distance_bias.shape}, wanted {wanted}: "
                             "(H, Tq + Tk - 1)")
        distance_bias = contiguous(distance_bias)
    checked = (causal, key_mask, distance_bias)
    return bias._make(checked) if hasattr(bias, "_make") else checked


def _checked_scale(scale, D):
    """-> scale, by default 1/√D: scores have variance 1 if the elements of Q and K have
    (Vaswani et al. 2017, sec. 3.2.1)"""
    if scale is None:
        return 1.0 / math.sqrt(D)
    scale = require_number("scale", scale)
    if not math.isfinite(scale):
        raise ValueError(f"scale is {scale}, wanted a finite number")
    return scale


def named(Q, K, V, bias):
    """Everything that the kernels read, for the checks of overlap: as the caller gave it, because a
    copy that was made contiguous would hide that the caller's own array is written to."""
    _, key_mask, distance_bias = bias
    return [("Q", Q), ("K", K), ("V", V), ("key_mask", key_mask), ("distance_bias", distance_bias)]


# -------------------------------------------------------------------- the call of the C library


def _unit():
    """-> the C kernel's unit: the width of a head must be a multiple of it"""
    return c_library.lib.MINILLM_HEAD_UNIT


def _widened(array):
    """-> a copy with heads padded with zeros to whole units, which changes no product"""
    wide = _wide_zeros(array)
    wide[..., : array.shape[3]] = array
    return wide


def _wide_zeros(array):
    """-> zeros of the shape of `array`, with heads padded to whole units"""
    B, H, T, D = array.shape
    return np.zeros((B, H, T, -(-D // _unit()) * _unit()), np.float32)


def _call(Q, K, bias, scale, lse, **arrays):
    """-> minillm.h's struct of the arguments of attention; arrays: (B, H, T, D) float32

    The struct points to the arrays and doesn't keep them alive.
    """
    causal, key_mask, distance_bias = bias
    B, H, Tq, D = Q.shape
    Hkv, Tk = K.shape[1:3]
    call = c_library.ffi.new("minillm_attention_call *")
    call.B, call.H, call.Hkv, call.Tq, call.Tk, call.D = B, H, Hkv, Tq, Tk, D
    call.ahead = Tk - Tq if causal else Tk
    call.Q, call.K = heads_of(Q), heads_of(K)
    for name, array in arrays.items():
        setattr(call, name, heads_of(array))
    call.lse, call.scale = c_library.pointer(lse), scale
    if key_mask is not None:
        call.key_mask = c_library.ffi.from_buffer("unsigned char[]", key_mask)
    if distance_bias is not None:
        call.distance_bias = c_library.pointer(distance_bias)
    return call


def heads_of(array):
    """(B, H, T, D) float32 array -> minillm.h's minillm_heads: address, strides in floats"""
    batch, head, row, _ = array.strides
    first_row = array[0, 0, 0] if array.size else array  # contiguous: a quick way to an address
    return c_library.pointer(first_row), batch // 4, head // 4, row // 4
