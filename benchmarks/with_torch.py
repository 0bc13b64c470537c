"""The work of the benchmark in PyTorch on the CPU."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import cases
from benchmarks.torch_reference import GPT2, Block, make_optimizer, make_step


def normal(*shape, seed=0):
    return torch.from_numpy(cases.normal(*shape, seed=seed))


def versions():
    return {"torch": torch.__version__, "mkl": torch.backends.mkl.is_available(),
            "threads": torch.get_num_threads()}


def matmul(M, N, K, transpose_A=False, transpose_B=False):
    A = normal(*cases.stored_shape(M, K, transpose_A))
    B = normal(*cases.stored_shape(K, N, transpose_B))
    A, B = A.T if transpose_A else A, B.T if transpose_B else B
    return lambda: A @ B


def matrix_vector(N, K):
    W, x = normal(N, K), normal(1, K)
    return lambda: F.linear(x, W)


def attention(B, H, T, D, backward=False):
    """Views of a fused projection (B, T, 3, H, D), as in a model."""
    qkv = normal(B, T, 3, H, D).requires_grad_(backward)

    def forward():
        Q, K, V = (part.transpose(1, 2) for part in qkv.unbind(2))
        return F.scaled_dot_product_attention(Q, K, V, is_causal=True)

    if not backward:
        Q, K, V = (part.transpose(1, 2) for part in qkv.unbind(2))
        return lambda: F.scaled_dot_product_attention(Q, K, V, is_causal=True)
    # Request dQ, dK and dV separately, so that PyTorch needn't combine them into one array.
    Q, K, V = (part.transpose(1, 2).detach().requires_grad_() for part in qkv.unbind(2))
    dout = normal(B, T, H, D, seed=1).transpose(1, 2)

    def run():
        out = F.scaled_dot_product_attention(Q, K, V, is_causal=True)
        torch.autograd.grad(out, (Q, K, V), dout)

    return run


def layer(kind, B, T, d, V=None, n_head=None):
    x, dy = normal(B, T, d), normal(B, T, d, seed=1)
    if kind == "cross_entropy":
        logits = normal(B * T, V).requires_grad_()
        targets = torch.from_numpy(cases.token_batch(B, T, V)[1]).flatten()
        return lambda: torch.autograd.grad(F.cross_entropy(logits, targets), logits)
    if kind == "embedding":
        module = nn.Embedding(V, d)
        x = torch.from_numpy(cases.token_batch(B, T, V)[0])
    elif kind == "linear":
        module = nn.Linear(d, 4 * d)
        dy = normal(B, T, 4 * d, seed=1)
    elif kind == "gelu":
        module = nn.GELU(approximate="tanh")
    elif kind == "layer_norm":
        module = nn.LayerNorm(d)
    else:
        module = Block(d, n_head)
    forward = module.attention if kind == "attention" else module
    if x.is_floating_point():
        x.requires_grad_()
    used = list(module.parameters())
    if kind == "attention":
        used = [*module.qkv.parameters(), *module.output.parameters()]
    wanted = used + ([x] if x.is_floating_point() else [])
    return lambda: torch.autograd.grad(forward(x), wanted, dy)


def adamw(size):
    parameter = nn.Parameter(normal(size))
    parameter.grad = normal(size, seed=1)
    return torch.optim.AdamW([parameter], lr=1e-4, fused=True).step


def train_step(n_layer, n_embd, n_head, B, T, V, compiled=False, checkpoint=False):
    torch.manual_seed(0)
    model = GPT2(n_layer, n_embd, n_head, V, n_positions=T)
    model.checkpoints = checkpoint
    inputs, targets = (torch.from_numpy(ids) for ids in cases.token_batch(B, T, V))
    return make_step(model, make_optimizer(model), inputs, targets, compiled)
