"""The example that runs through the course: three words, each a vector of ten numbers."""

import numpy as np

WORDS = ["I", "like", "apple"]
CHINESE_WORDS = ["我", "喜欢", "苹果"]

# One row per word: 0.1 … 1.0, 0.5 … 1.4, 0.9 … 1.8. Rounded, so that 3 * 0.1 is 0.3.
X = np.round([[0.1 * (start + i) for i in range(10)] for start in (1, 5, 9)], 1)  # (3, 10)
