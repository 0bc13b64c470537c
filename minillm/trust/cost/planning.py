"""How large a model, trained on how many tokens, makes the best of an amount of computing?

Hoffmann et al. 2022 ("Training Compute-Optimal Large Language Models", "Chinchilla"), approach 3,
fit the loss of their models of N parameters after D tokens by

    L(N, D) = E + A / N^α + B / D^β                                               (eq. 10)

E is the entropy of the text; the second term is what a model of N parameters can't express, the
third what it hasn't learned from D tokens. With C = 6 N D operations (Kaplan et al. 2020), L is
least where the derivative along N D = C / 6 is zero:

    dL/dN = -α A / N^(α+1) + β B / D^(β+1) · D / N = 0        since dD/dN = -D / N
    α A / N^α = β B / D^β                                     and D = (C / 6) / N
    N^(α+β) = (α A) / (β B) · (C / 6)^β
    N = G (C / 6)^a,  D = G⁻¹ (C / 6)^b,  G = (α A / (β B))^(1/(α+β)),  a = β/(α+β),  b = α/(α+β)

                                                                                   (eq. 4)
Besiroglu et al. 2024 ("Chinchilla Scaling: A replication attempt") recovered the data from a figure
and found that the published constants don't fit them, and that their intervals are too narrow for
the number of runs: theirs are the default here. With these, a model wants about 20 tokens for each
parameter, as Chinchilla had; with those of the paper, 90 at Chinchilla's own budget.
"""

from typing import NamedTuple

FLOPS_PER_PARAMETER_AND_TOKEN = 6


class Fit(NamedTuple):
    """The constants of L(N, D)."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    source: str


FITS = {
    "besiroglu": Fit(1.8172, 482.01, 2085.43, 0.3478, 0.3658, "Besiroglu 2024"),
    "hoffmann": Fit(1.69, 406.4, 410.7, 0.34, 0.28, "Hoffmann 2022"),
}
ASSUMPTIONS = (
    "The law was fitted to models of 70 million to 16 billion parameters, on web text with a "
    "vocabulary of 32,000 tokens, each text read once. A small model, another tokenizer, another "
    "text, or a text that is read several times has another loss: take the sizes as a starting "
    "point and the loss as an order, not as a promise. Operations are counted as 6 N D, which for "
    "small models leaves out much: see minillm cost.")


class ComputePlan(NamedTuple):
    """N parameters on D tokens, in 6 N D operations, and the loss that the law predicts."""

    parameters: float
    tokens: float
    flops: float
    loss: float  # nats a token


def loss(N, D, fit=FITS["besiroglu"]):
    """L(N, D), in nats a token"""
    return fit.E + fit.A / N**fit.alpha + fit.B / D**fit.beta


def plan_for_flops(flops, fit=FITS["besiroglu"]):
    """-> the ComputePlan with the least loss in this many operations"""
    _require_positive("flops", flops)
    product = flops / FLOPS_PER_PARAMETER_AND_TOKEN
    N = _G(fit) * product ** (fit.beta / (fit.alpha + fit.beta))
    D = product / N
    return ComputePlan(N, D, flops, loss(N, D, fit))


def plan_for_tokens(tokens, fit=FITS["besiroglu"]):
    """-> the ComputePlan for which `tokens` is the best D: C = 6 (G D)^(1/b), by eq. 4"""
    _require_positive("data", tokens)
    b = fit.alpha / (fit.alpha + fit.beta)
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * (tokens * _G(fit)) ** (1 / b)
    return plan_for_flops(flops, fit)


def _G(fit):
    return (fit.alpha * fit.A / (fit.beta * fit.B)) ** (1 / (fit.alpha + fit.beta))


def _require_positive(name, value):
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is {value}, wanted a number over 0")
