"""From settings to a model of any architecture: its configuration, and the model itself."""

from minillm.checks import require_memory, shown
from minillm.models.auto import AutoConfig, config_class, heads_of, model_class, with_head
from minillm.models.layer_order import freeze_lowest
from minillm.models.lora import LoraConfig, heads_in_files, inject
from minillm.models.lora_files import TASK_TYPES
from minillm.models.positions import POSITION_EMBEDDINGS
from minillm.training.random_state import reseed

# The names of dropout in the architectures' configurations. Attention weights have none: the
# streaming kernel never holds them.
DROPOUT = ("resid_pdrop", "embd_pdrop", "hidden_dropout_prob", "dropout")
ATTENTION_DROPOUT = ("attn_pdrop", "attention_probs_dropout_prob", "attention_dropout")


def new_config(settings, head, vocab_size, eos_token_id=None):
    """-> the configuration of a new model with the sizes of `settings`

    Raises ValueError for sizes out of range, MemoryError for a model that is too large to train in
    this machine's memory.
    """
    cls = config_class(settings.model_type)
    _require_head(f"arch is {shown(settings.model_type)}", settings.model_type, head)
    chosen = {}
    if settings.n_kv_head is not None:
        if "num_key_value_heads" not in cls.field_names():
            raise ValueError(f"n_kv_head is {settings.n_kv_head}, but {settings.model_type} has one "
                             "key head for each query head")
        chosen["num_key_value_heads"] = settings.n_kv_head
    if settings.position_embedding is not None:
        chosen["position_embedding"] = kind = settings.position_embedding
        if "position_embedding" not in cls.field_names():
            raise ValueError(f"positions is {shown(kind)}, but those of {settings.model_type} "
                             "can't be exchanged")
        if kind not in POSITION_EMBEDDINGS:
            raise ValueError(f"positions is {shown(kind)}, wanted one of "
                             f"{', '.join(POSITION_EMBEDDINGS)}")
    try:
        config = cls.from_sizes(
            vocab_size=vocab_size, max_position_embeddings=settings.block_size,
            hidden_size=settings.n_embd, num_hidden_layers=settings.n_layer,
            num_attention_heads=settings.n_head, initializer_range=_initial_std(settings.n_embd),
            bos_token_id=eos_token_id, eos_token_id=eos_token_id, **chosen,
        )
    except ValueError as error:
        raise ValueError(f"n_embd is {settings.n_embd} and n_head is {settings.n_head}: "
                         + str(error).removeprefix("config.json: ")) from None
    config = config.replace(**_dropout(config, settings))
    # A weight, its gradient and the two moments of Adam, 4 bytes each.
    require_memory("training this model", 4 * 4 * _n_parameters(config, head))
    return config


def pretrained_config(settings, tokenizer, head):
    """-> the configuration of the pretrained model settings.model as it will be trained

    Raises ValueError for an architecture without this head, for a block_size beyond its positions,
    and for a tokenizer with more tokens than the model has rows, unless settings.resize_vocab.
    """
    config = AutoConfig.from_pretrained(settings.model)
    _require_head(f"model is {settings.model}, a {config.model_type!r} model", config.model_type,
                  head)
    limit = config.position_limit
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


def _require_head(what, model_type, head):
    """ValueError, in one line that begins with `what`, for an architecture without this head"""
    if head not in heads_of(model_type):
        raise ValueError(f"{what}, wanted one with the head {head!r}: {', '.join(with_head(head))}")


def new_model(settings, config, head):
    """-> the model before the first step, in training mode"""
    cls = model_class(config.model_type, head)
    if settings.model is None:
        return cls(config, seed=settings.seed).train()
    # The task's configuration, but for the rows that the file has.
    stored = AutoConfig.from_pretrained(settings.model)
    model = cls.from_pretrained(settings.model, seed=settings.seed, ignore_mismatched_sizes=True,
                                config=config.replace(vocab_size=stored.vocab_size))
    if model.config.vocab_size != config.vocab_size:
        model.resize_token_embeddings(config.vocab_size)
    adapt(model, settings, head)
    reseed(model, settings.seed)
    return model.train()


def adapt(model, settings, head):
    """Freeze what `settings` freezes, and add LoRA updates if it wants them; return the model.

    With LoRA the task's own head learns as a whole: it may be new. Raises ValueError for layers that
    the model doesn't have.
    """
    if settings.freeze is not None:
        freeze_lowest(model, settings.freeze)
    if settings.lora_rank is not None:
        targets = settings.lora_targets
        alpha = 2 * settings.lora_rank if settings.lora_alpha is None else settings.lora_alpha
        inject(model, LoraConfig(
            r=settings.lora_rank, lora_alpha=alpha, lora_dropout=settings.lora_dropout,
            target_modules=targets.split(",") if targets != "all-linear" else targets,
            modules_to_save=heads_in_files(model), task_type=TASK_TYPES.get(head),
            base_model_name_or_path=settings.model,
        ))
    return model


def check_adaptation(settings, config, head):
    """Raise the errors of `adapt` before there are weights."""
    if settings.keeps_weights:
        adapt(model_class(config.model_type, head)(config, draw_weights=False), settings, head)


def empty_model(config, head, settings):
    """-> a model whose parameters a checkpoint or another rank will fill, in training mode"""
    return adapt(model_class(config.model_type, head)(config, draw_weights=False), settings,
                 head).train()


def _dropout(config, settings):
    values = {**dict.fromkeys(DROPOUT, settings.dropout), **dict.fromkeys(ATTENTION_DROPOUT, 0.0)}
    return {name: value for name, value in values.items() if name in config.field_names()}


def _n_parameters(config, head):
    """-> the number of learned numbers, without allocating the model

    All layers are alike, so a model with L of them has a + b L parameters; a model with one layer
    and one with two determine a and b. Their weights are zeros, which take no memory until they are
    written.
    """
    cls = model_class(config.model_type, head)
    try:
        one, two = (cls(config.replace(num_hidden_layers=n), draw_weights=False).num_parameters()
                    for n in (1, 2))
    except (MemoryError, ValueError):  # NumPy's ValueError: more than the address space
        raise MemoryError("training this model takes more memory than this machine has") from None
    return one + (config.num_hidden_layers - 1) * (two - one)


def _initial_std(d_model):
    """std² = 2 / (d_in + d_out), which preserves the size of signals forward and backward (Glorot
    and Bengio 2010, eq. 16); with d_out = 3 d_model, that of qkv, for all matrices.

    GPT-2's 0.02 is close to this at its widths of 768 and more. At d_model = 128 it is three times
    too small, and reaching the same loss takes 1.5 times as many steps.
    """
    return (2 * d_model) ** -0.5
