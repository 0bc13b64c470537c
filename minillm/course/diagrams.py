"""The architectures of the course, drawn by code.

Each function returns a Diagram (see drawing.py). Data flow from top to bottom, as in the code; a
thick border marks what owns parameters; shapes are written beside the arrows.

    attention()                  Q, K, V, scores, mask, softmax, weighted sum
    multi_head_attention()       projections, heads, concatenation
    feed_forward()               two linear maps with a nonlinearity between them
    block(norm="pre")            attention and feed-forward in residual connections
    gpt2(config)                 embeddings, blocks, final norm, tied head
    encoder_decoder()            the transformer of 2017
    training_step()              the forward and, beside it, its backward
"""

from minillm.course.drawing import INK, Box, Diagram

__all__ = ["Diagram", "attention", "block", "encoder_decoder", "feed_forward", "gpt2",
           "multi_head_attention", "training_step"]


def attention(*, causal=False):
    """Scaled dot-product attention: P = softmax(Q Kᵀ / √d), out = P V."""
    d = Diagram()
    q = d.box("Q", 0, 0, shape="(T, d)")
    k = d.box("K", 120, 0, shape="(T, d)")
    v = d.box("V", 270, 0, shape="(T, d)")
    scores = d.box("Q K^{T}", 60, 88, "function", width=200)
    d.arrow(q, scores)
    d.arrow(k, scores)
    step = d.below(scores, "divide by √d", "function", label="scores (T, T)", width=200)
    if causal:
        step = d.below(step, "−∞ where key > query", "function", label="(T, T)", width=200)
    weights = d.below(step, "softmax over the keys", "function", label="(T, T)", width=200)
    mean = d.box("P V", 165, weights.bottom + 58, "function", width=290,
                 shape="a weighted mean of the values")
    d.arrow(weights, mean, "weights P (T, T)")
    d.arrow(v, mean)
    d.below(mean, "out", shape="(T, d)")
    return d


def multi_head_attention(*, causal=False, d_model="d_{model}", d_head="d_{head}"):
    """H heads, each with its own slice of the projections' columns. The widths are letters."""
    d = Diagram()
    x = d.box("x", 0, 0, width=270, shape=f"(T, {d_model})")
    head = Box(0, 262, 290, 48)
    for offset in (14, 7):  # the other heads, behind the first
        d.frame(Box(head.x + offset, head.y - offset, head.width, head.height), fill="#e9ecef",
                dotted=False)
    name = "causal attention" if causal else "attention"
    head = d.box(f"{name} in each head", head.x, head.y, "function", width=head.width,
                 shape=f"softmax(Q K^{{T}} / √{d_head}) V")
    for letter, at in (("Q", -95), ("K", 0), ("V", 95)):
        linear = d.box(f"W_{{{letter}}}", at, 90, "linear", width=64)
        d.arrow(x, linear)
        d.path([(at, linear.bottom), (at, 144)], head=False)
        d.path([(at, 194), (at, head.top - 14)])
        d.label(letter, at + 8, 128)
    d.label(f"(T, {d_model}), cut into H slices:\n(H, T, {d_head}),  {d_head} = {d_model} / H",
            0, 169, "middle")
    d.label("× H", head.right + 24, head.y - 7, size=14)
    joined = d.below(head, "concatenate the heads", "function", label=f"(H, T, {d_head})")
    out = d.below(joined, "W_{O}", "linear", label=f"(T, {d_model})", width=64)
    d.below(out, "y", shape=f"(T, {d_model})")
    return d


def feed_forward(*, activation="GELU", d_ff="4 d_{model}"):
    """The same small network at every position."""
    d = Diagram()
    x = d.box("x", 0, 0, shape="(T, d_{model})")
    wide = d.below(x, "x W_{1} + b_{1}", "linear", width=150)
    act = d.below(wide, activation, "function", label=f"(T, d_{{ff}}),  d_{{ff}} = {d_ff}",
                  width=190)
    narrow = d.below(act, "h W_{2} + b_{2}", "linear", label="(T, d_{ff})", width=150)
    d.below(narrow, "y", shape="(T, d_{model})")
    return d


def block(norm="pre", *, causal=True, shape="(T, d_{model})"):
    """A block: two sub-layers in residual connections. norm: "pre" (GPT-2) or "post" (2017)."""
    if norm not in ("pre", "post"):
        raise ValueError(f"norm is {norm!r}, wanted 'pre' or 'post'")
    d = Diagram()
    x = d.box("x", 0, 0, shape=shape)
    parts = _sublayers(d, x, norm, ["causal self-attention" if causal else "self-attention",
                                    "feed-forward"])
    d.below(parts[-1], "y", shape=shape)
    return d


def gpt2(config=None):
    """GPT-2, with the sizes of a GPT2Config (or of a model), else with letters."""
    config = getattr(config, "config", config)
    if config is None:
        V, d_model, L, H, d_ff, positions = "V", "d_{model}", "L", "H", "d_{ff}", "n_{positions}"
    else:
        V, d_model, L, H, d_ff, positions = (
            f"{n:,}" for n in (config.vocab_size, config.n_embd, config.n_layer, config.n_head,
                               config.d_ff, config.n_positions))
    tied = config is None or config.tie_word_embeddings
    stream = f"(B, T, {d_model})"
    d = Diagram()
    ids = d.box("token ids", -85, 0, shape="(B, T)")
    places = d.box("positions", 85, 0, shape="0 … T − 1")
    wte = d.below(ids, "token table wte", "embedding", shape=f"({V}, {d_model})")
    wpe = d.below(places, "position table wpe", "embedding", shape=f"({positions}, {d_model})")
    total = d.plus(0, wte.bottom + 36)
    for table in (wte, wpe):
        side = total.left if table.x < total.x else total.right
        d.path([(table.x, table.bottom), (table.x, total.y), (side, total.y)])
    parts = _sublayers(d, total, "pre", [("causal self-attention", f"{H} heads"),
                                         ("feed-forward", f"{d_model} → {d_ff} → {d_model}")],
                       first_gap=56)
    d.group(parts, f"× {L}", margin=(30, 24))
    d.label(stream, 9, total.bottom + 16)
    norm = d.below(parts[-1], "LayerNorm ln_f", "norm", gap=60)
    d.label(stream, 9, norm.top - 16)
    head = d.below(norm, "output head", "linear", label=stream,
                   shape=f"wte^{{T}}  ({d_model}, {V})" if tied else f"({d_model}, {V})")
    logits = d.below(head, "logits", shape=f"(B, T, {V})")
    if tied:
        x = min(wte.left, min(part.left for part in parts) - 30) - 16
        d.path([(wte.left, wte.y), (x, wte.y), (x, head.y), (head.left, head.y)], dashed=True)
        d.label("the same table", x + 8, head.y - 12)
    return d


def encoder_decoder(*, norm="post", layers="N"):
    """The transformer of Vaswani et al. 2017: an encoder, and a decoder that attends to it."""
    d = Diagram()
    source = d.box("source ids", 0, 0, shape="(B, S)")
    target = d.box("target so far", 236, 0, shape="(B, T)")
    sides = []
    for ids, names in ((source, ["self-attention", "feed-forward"]),
                       (target, ["causal attention", "cross-attention", "feed-forward"])):
        x = d.below(ids, "embedding +\npositions", "embedding", gap=24)
        sides.append(_sublayers(d, x, norm, names, width=150, first_gap=54,
                                side="left" if ids is source else "right"))
    encoder, decoder = sides
    left, right = d.group(encoder), d.group(decoder)
    memory = encoder[-1]
    if norm == "pre":
        memory = d.below(memory, "LayerNorm", "norm", gap=44, width=150)
    cross = next(box for box in decoder if box.name == "cross-attention")
    turn = (left.right + right.left) / 2
    d.path([(0, memory.bottom), (0, memory.bottom + 44), (turn, memory.bottom + 44),
            (turn, cross.y), (cross.left, cross.y)])
    d.label("memory (B, S, d_{model}):\nthe source of K and V", 0, memory.bottom + 66, "middle")
    d.label(f"encoder × {layers}", left.left, left.top - 12, size=13, color=INK)
    d.label(f"decoder × {layers}", right.right, right.top - 12, "end", size=13, color=INK)
    x = decoder[-1]
    if norm == "pre":
        x = d.below(x, "LayerNorm", "norm", gap=44, width=150)
    head = d.below(x, "output head", "linear", gap=60, width=150)
    d.label("(B, T, d_{model})", x.x + 9, head.top - 16)
    d.below(head, "logits", shape="(B, T, V)")
    return d


def training_step(*, layers="L"):
    """The forward and, beside it, the backward: the same layers in reverse order."""
    d = Diagram()
    update = d.box("optimizer", 115, 0, "function", width=330,
                   shape="every parameter W moves against its gradient dW")
    forward = d.box("ids, labels", 0, 88, shape="(B, T)")
    d.arrow(update, forward, "next batch")
    last = f"{layers} − 1" if isinstance(layers, str) else layers - 1
    after = None
    for name, kind, flow, gradients in [
            ("embeddings", "embedding", "", "adds to dwte, dwpe"),
            ("block 0", "feed_forward", "x", "adds to each dW"),
            (f"block {last}", "feed_forward", "…", "adds to each dW"),
            ("layer norm", "norm", "x", "adds to dw, db"),
            ("output head", "linear", "x", "adds to dwte"),
            ("cross-entropy", "loss", "logits", "(p − y) / N")]:
        forward = d.below(forward, name, kind, gap=44, label=flow, width=130)
        backward = d.box(f"{name} backward", 230, forward.y, kind, width=190, shape=gradients)
        d.across(forward, backward, "" if after else "cache", dashed=True)
        if after:
            d.arrow(backward, after, "…" if flow == "…" else f"d{flow}")
        else:
            d.arrow(backward, update, "all dW")
        after = backward
    loss = d.below(forward, "loss", gap=38)
    d.path([(loss.right, loss.y), (230, loss.y), (230, after.bottom)])
    d.label("dloss = 1", 150, loss.y - 10, "middle")
    return d


def _sublayers(d, x, norm, names, *, width=170, first_gap=40, side="left"):
    """Draw residual connections below x -> the boxes; the last one is the plus, or the norm."""
    drawn, gap = [], first_gap
    for name in names:
        name, shape = name if isinstance(name, tuple) else (name, "")
        kind = "attention" if "attention" in name else "feed_forward"
        start = x
        if norm == "pre":
            x = d.below(x, "LayerNorm", "norm", gap=gap, width=width)
            drawn.append(x)
            gap = 24
        layer = d.below(x, name, kind, gap=gap, width=width, shape=shape)
        total = x = d.plus(x.x, layer.bottom + 34)
        d.arrow(layer, total)
        d.around(start, total, side=side)
        drawn += [layer, total]
        if norm == "post":
            x = d.below(total, "LayerNorm", "norm", gap=20, width=width)
            drawn.append(x)
        gap = 40
    return drawn
