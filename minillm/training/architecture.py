"""From settings to a model of any architecture: its configuration, and the model itself."""

from minillm.checks import require_memory
from minillm.models.auto import AutoConfig, config_class, model_class
from minillm.training.random_state import reseed

# The names of dropout in the architectures' configurations. Attention weights have none: the
# streaming kernel never holds them.
DROPOUT = ("resid_pdrop", "embd_pdrop", "hidden_dropout_prob", "dropout")
ATTENTION_DROPOUT = ("attn_pdrop", "attention_probs_dropout_prob", "attention_dropout")


def new_config(settings, head, vocab_size, eos_token_id=None):
    """-> the configuration of a new model with the sizes of `settings`

    Raises ValueError for sizes that make no model, MemoryError for a model that can't be trained in
    this machine's memory.
    """
    cls = config_class(settings.model_type)
    config = cls.from_sizes(
        vocab_size=vocab_size, max_position_embeddings=settings.block_size,
        hidden_size=settings.n_embd, num_hidden_layers=settings.n_layer,
        num_attention_heads=settings.n_head, initializer_range=_initial_std(settings.n_embd),
        bos_token_id=eos_token_id, eos_token_id=eos_token_id,
    )
    config = config.replace(**_dropout(config, settings))
    # Each weight has a gradient and two moments of Adam, all of 4 bytes.
    require_memory("training this model", 4 * 4 * _n_parameters(config, head))
    return config


def pretrained_config(settings, tokenizer):
    """-> the configuration of the pretrained model settings.model as it will be trained

    Raises ValueError for a block_size beyond its positions, and for a tokenizer with more tokens
    than the model has rows, unless settings.resize_vocab.
    """
    config = AutoConfig.from_pretrained(settings.model)
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and settings.block_size > limit:
        raise ValueError(f"block_size is {settings.block_size}, wanted at most {limit}, the "
                         f"positions of {settings.model}")
    changes = _dropout(config, settings)
    if len(tokenizer) > config.vocab_size:
        if not settings.resize_vocab:
            raise ValueError(
                f"the tokenizer of {settings.model} has {len(tokenizer)} tokens, but the model has "
                f"{config.vocab_size} rows: minillm finetune --resize-vocab gives it one for each"
            )
        changes["vocab_size"] = len(tokenizer)
    return config.replace(**changes)


def new_model(settings, config, head):
    """-> the model as it is before the first step, in training mode"""
    cls = model_class(config.model_type, head)
    if settings.model is None:
        return cls(config, seed=settings.seed).train()
    # The task's configuration, but for the rows that the file has.
    stored = AutoConfig.from_pretrained(settings.model)
    model = cls.from_pretrained(settings.model, seed=settings.seed,
                                config=config.replace(vocab_size=stored.vocab_size))
    if model.config.vocab_size != config.vocab_size:
        model.resize_token_embeddings(config.vocab_size)
    reseed(model, settings.seed)
    return model.train()


def empty_model(config, head):
    """-> a model whose parameters and random states a checkpoint will fill, in training mode"""
    return model_class(config.model_type, head)(config, draw_weights=False).train()


def _dropout(config, settings):
    values = {**dict.fromkeys(DROPOUT, settings.dropout), **dict.fromkeys(ATTENTION_DROPOUT, 0.0)}
    return {name: value for name, value in values.items() if name in config.field_names()}


def _n_parameters(config, head):
    """-> how many numbers a model learns, counted without taking the memory for them

    All layers are alike, so L of them have a + b L numbers, and a model of one layer and one of two
    tell a and b. Their weights are zeros, which take no memory before they are written to.
    """
    cls = model_class(config.model_type, head)
    try:
        one, two = (cls(config.replace(num_hidden_layers=n), draw_weights=False).num_parameters()
                    for n in (1, 2))
    except (MemoryError, ValueError):  # the latter is NumPy's for what no address can reach
        raise MemoryError("training this model takes more memory than this machine has") from None
    return one + (config.num_hidden_layers - 1) * (two - one)


def _initial_std(d_model):
    """std² = 2 / (d_in + d_out), so that signals keep their size forward and backward (Glorot and
    Bengio 2010, eq. 16), with d_out = 3 d_model as in qkv for all.

    GPT-2's own 0.02 is about that for its widths, 768 and more. With d_model = 128 it is three
    times too small, and learning takes half as long again to come as far.
    """
    return (2 * d_model) ** -0.5
