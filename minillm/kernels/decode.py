"""The arguments of csrc/decode.c: a whole decoder as one struct of addresses.

minillm/models/whole_step.py fills it from the layers of a model.
"""

import numpy as np

from minillm.kernels import c_library
from minillm.kernels.attention import heads_of
from minillm.kernels.matmul import C_TYPES, FLOAT32, GROUP, INT4

# The activation of a feed-forward network -> its name in minillm.h; "gate" times SiLU is SwiGLU.
ACTIVATIONS = {"gelu_tanh": "MINILLM_GELU_TANH", "gelu": "MINILLM_GELU",
               "relu2": "MINILLM_RELU2", "silu": "MINILLM_SWIGLU"}


def activation_number(name):
    return getattr(c_library.lib, ACTIVATIONS[name])


def is_built():
    """-> whether the loaded C library has this function; one built from older files has not"""
    return hasattr(c_library.lib, "minillm_decode")


class NotForC(Exception):
    """A part of the decoder that csrc/decode.c doesn't know."""


class Decoder:
    """minillm.h's minillm_decoder, and all arrays that it points to."""

    def __init__(self, n_blocks):
        self._arrays = []  # they must live as long as the struct
        ffi = c_library.ffi
        self.blocks = ffi.new("minillm_block[]", n_blocks)
        self.call = ffi.new("minillm_decoder *")
        self.call.blocks, self.call.n_blocks = self.blocks, n_blocks

    def set_norm(self, target, weight, bias, eps):
        target.weight, target.eps = self._floats(weight), eps
        if bias is not None:
            target.bias = self._floats(bias)

    def set_linear(self, target, W, bias, transposed):
        """W: a float32 array, (K, N), or (N, K) if `transposed`"""
        target.w = self._floats(W)
        target.type, target.transposed, target.ldw = 0, transposed, W.shape[1]
        target.N, target.K = W.shape if transposed else W.shape[::-1]
        if bias is not None:
            target.bias = self._floats(bias)

    def set_stored_linear(self, target, values, scale, n_inputs, bias):
        """values, scale: as in `quantized_matmul`"""
        target.w = self._address(values, values.dtype)
        target.type = getattr(c_library.lib, C_TYPES[values.dtype])
        target.transposed, target.N, target.K = True, len(values), n_inputs
        target.ldw = GROUP * scale.shape[1] if values.dtype == INT4 else n_inputs
        if scale is not None:
            target.scale = self._address(scale, scale.dtype)
        if bias is not None:
            target.bias = self._floats(bias)

    def set_rotation(self, cos, sin):
        """cos, sin: the tables of B tokens, or of one for all; their last axis is `pairs`"""
        call = self.call
        call.pairs = cos.shape[-1]
        shape = (-1, 1, 1, cos.shape[-1])
        self._rotation = cos, sin = cos.reshape(shape), sin.reshape(shape)
        for name, table in (("cos", cos), ("sin", sin)):
            address, batch, _, _ = heads_of(table)
            setattr(call, name, (address, batch * (len(table) > 1), 0, 0))

    def run(self, x, sequences):
        """x: float32 (rows, d), overwritten; sequences: an address for each row, see Sequences
        -> logits (rows, V)

        Writes the new keys and values behind those of each sequence.
        """
        call = self.call
        logits = np.empty((len(x), call.head.N), FLOAT32)
        addresses = c_library.ffi.new("minillm_sequence *[]", sequences)
        call.B, call.sequences = len(x), addresses
        call.x, call.logits = _floats(x), _floats(logits)
        c_library.check(c_library.lib.minillm_decode(call))
        return logits

    def _floats(self, array):
        return self._address(array, FLOAT32)

    def _address(self, array, dtype):
        flags = array.flags  # an unpickled array has another dtype object, so is_plain refuses it
        if array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
            raise NotForC
        self._arrays.append(array)
        return c_library.ffi.from_buffer(
            c_library.FLOATS if dtype is FLOAT32 else "unsigned char[]", array)


class Sequences:
    """minillm.h's minillm_sequence for n more tokens of each row of a cache, and the arrays that
    they point to. Token i of a sequence sees a sequence that is i tokens longer.

    layers: the LayerCaches; their K and V are (B, n_kv_heads, capacity, D)
    """

    def __init__(self, layers, n):
        ffi = c_library.ffi
        self._arrays = [(layer.K, layer.V) for layer in layers]
        self._pointers = []  # they must live as long as the structs
        B, _, capacity, _ = layers[0].K.shape
        self._structs = ffi.new("minillm_sequence[]", B * n)
        self._of_each = []  # for each sequence, the addresses of n structs
        for b in range(B):
            K, V = ([_floats(buffer[b]) for buffer in buffers] for buffers in zip(*self._arrays))
            self._pointers += ffi.new("float *[]", K), ffi.new("float *[]", V)
            self._of_each.append([self._structs + b * n + i for i in range(n)])
            for struct in self._of_each[b]:
                struct.K, struct.V = self._pointers[-2:]
                struct.capacity = capacity

    def are_of(self, layers, n):
        """-> whether the layers still have the same buffers, and each row has n structs"""
        return (n <= len(self._of_each[0]) and
                all([layer.K is K and layer.V is V for layer, (K, V) in zip(layers, self._arrays)]))

    def at(self, length, n, key_mask):
        """The addresses for tokens number `length` to `length + n - 1` of each sequence, in a list

        key_mask: bool (B, length + n) or None
        """
        ffi, self._mask = c_library.ffi, None  # C reads the mask: it must live as long
        if key_mask is not None:
            self._mask = np.ascontiguousarray(key_mask)
        addresses, mask = [], ffi.NULL
        for b, structs in enumerate(self._of_each):
            if self._mask is not None:
                mask = ffi.from_buffer("unsigned char[]", self._mask[b])
            for i, struct in enumerate(structs[:n]):
                struct.length, struct.key_mask = length + i, mask
                addresses.append(struct)
        return addresses


def _floats(array):
    return c_library.ffi.from_buffer(c_library.FLOATS, array)
