"""The GPT-2 that a PyTorch user would write: the peer of minillm's training step.

Like nanoGPT (Karpathy): one fused projection for Q, K and V, PyTorch's fused attention,
tied head. Dropout is 0 on both sides, the GELU is GPT-2's (tanh), and the optimizer is PyTorch's
fused AdamW with decay on matrices only, after clipping of the global norm.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, d, n_head):
        super().__init__()
        self.n_head = n_head
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.output = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.contract(F.gelu(self.expand(self.norm2(x)), approximate="tanh"))

    def attention(self, x):
        B, T, d = x.shape
        Q, K, V = (part.view(B, T, self.n_head, d // self.n_head).transpose(1, 2)
                   for part in self.qkv(x).split(d, dim=2))
        heads = F.scaled_dot_product_attention(Q, K, V, is_causal=True)
        return self.output(heads.transpose(1, 2).reshape(B, T, d))


class GPT2(nn.Module):
    """ids (B, T) -> logits (B, T, V), or the mean loss if targets (B, T) are given

    checkpoints: True lets blocks keep their inputs alone, and compute the rest again
    """

    checkpoints = False

    def __init__(self, n_layer, n_embd, n_head, V, n_positions):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, n_embd), nn.Embedding(n_positions, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets=None):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.h:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpoints else block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def load_minillm(self, state):
        """Load a minillm GPT2LMHeadModel's `state_dict()`. Its matrices are (d_in, d_out)."""
        renamed = {}
        for name, array in state.items():
            name = name.removeprefix("transformer.").replace("attention.", "")
            name = name.replace("feed_forward.", "").replace("gain", "weight")
            tensor = torch.from_numpy(array.copy())
            is_linear = tensor.ndim == 2 and not name.startswith("w")
            renamed[name] = tensor.T if is_linear else tensor
        self.load_state_dict(renamed)


def make_optimizer(model, lr=1e-4, weight_decay=0.1):
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def make_step(model, optimizer, inputs, targets, compiled=False):
    """-> step(): zero_grad, forward, backward, clip, AdamW"""
    forward = torch.compile(model) if compiled else model
    parameters = list(model.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss

    return step
