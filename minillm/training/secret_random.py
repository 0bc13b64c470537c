"""Randomness that nobody can guess, and that a resumed run continues bit for bit.

Who knows the noise of DP-SGD subtracts it. So it comes from a secret key, which is no setting, and
a checkpoint, which must hold a key, holds only that of the steps to come. The key is a ratchet:

    generator of step t = Philox(SHA-256("step" ‖ key_t))        (Salmon et al. 2011)
    key_{t+1}           = SHA-256("next" ‖ key_t)

SHA-256 can't be inverted, so from key_t follow all later steps, but no earlier one.
"""

import hashlib
import secrets

import numpy as np


class SecretRandom:
    """A generator for each step, from a secret key.

    seed: an integer for tests and demonstrations, from which anybody can compute all of the
        randomness: the result is not private. None: 256 bits from the operating system.
    """

    def __init__(self, seed=None):
        if seed is None:
            self._key = secrets.token_bytes(32)
        else:
            self._key = hashlib.sha256(b"not private: %d" % seed).digest()

    def next_step(self):
        """-> the numpy Generator of this step; the key becomes that of the next one"""
        key = np.frombuffer(hashlib.sha256(b"step" + self._key).digest()[:16], np.uint64)
        self._key = hashlib.sha256(b"next" + self._key).digest()
        return np.random.Generator(np.random.Philox(key=key))

    def state_dict(self):
        """-> {"key": …}, which JSON can represent: a secret"""
        return {"key": self._key.hex()}

    def load_state_dict(self, state):
        """Restore the result of `state_dict()`; ValueError if it doesn't fit."""
        try:
            key = bytes.fromhex(state["key"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"state is not that of secret randomness ({error!r})") from None
        if len(key) != 32:
            raise ValueError(f"state has a key of {len(key)} bytes, wanted 32")
        self._key = key
