"""Hypothesis strategies that the tests of several folders share."""

import numpy as np
from hypothesis import strategies as st

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
sizes = st.integers(1, 6)
scales = st.sampled_from([0.1, 1.0, 4.0])

# Leading axes: none, a batch, a batch of sequences; sizes of 1 are likely.
leading_shapes = st.lists(st.integers(1, 4), min_size=0, max_size=2).map(tuple)
