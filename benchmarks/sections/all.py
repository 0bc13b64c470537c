"""The sections in the order of the report."""

from benchmarks.sections.attention import attention, attention_lengths
from benchmarks.sections.decoding import decoding, precision, speculative
from benchmarks.sections.distance_bias import distance_bias
from benchmarks.sections.implementations import implementations
from benchmarks.sections.ladder import conflicts, ladder
from benchmarks.sections.layers import layers
from benchmarks.sections.limits import limits
from benchmarks.sections.matmul import matmul, matrix_vector, sizes
from benchmarks.sections.pools import pools
from benchmarks.sections.tokenizing import tokenizing
from benchmarks.sections.training import step_profiles, train_memory, train_steps

# The limits always come first: the other sections compare their numbers with them.
SECTIONS = {
    "limits": limits,
    "matmul": matmul,
    "vector": matrix_vector,
    "sizes": sizes,
    "ladder": ladder,
    "conflicts": conflicts,
    "implementations": implementations,
    "threads": pools,
    "attention": attention,
    "lengths": attention_lengths,
    "distance_bias": distance_bias,
    "layers": layers,
    "train": train_steps,
    "memory": train_memory,
    "profile": step_profiles,
    "decode": decoding,
    "speculative": speculative,
    "precision": precision,
    "bpe": tokenizing,
}
