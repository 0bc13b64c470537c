"""Options that set a field of Settings: the size of a new model, and all of its training."""

import argparse
from dataclasses import fields

from minillm.cli.arguments.command import paragraph
from minillm.cli.arguments.values import path, seconds
from minillm.training.settings import Settings

FIELDS = {field.name: field for field in fields(Settings)}
FLOAT = {"type": float}


def add_setting(parser, name, explanation, default=None, option=None, **changes):
    """Add an option for one field of Settings. The Namespace has it only if the user sets it."""
    default = FIELDS[name].default if default is None else default
    if default is not None:
        shown = default if isinstance(default, str) else f"{default:g}"
        explanation += f" (default: {parser.get_default('whose_defaults') or shown})"
    parser.add_argument(option or option_of(name), dest=name, default=argparse.SUPPRESS, **{
        "type": type(default) if default is not None else path, "help": explanation, **changes})
    parser.set_defaults(setting_defaults={**(parser.get_default("setting_defaults") or {}),
                                          name: default})


def option_of(name):
    return f"--{name.replace('_', '-')}"


def given_settings(options):
    """-> {name: value} of the Settings that the command line of `train` or `finetune` sets"""
    return {name: value for name, value in vars(options).items()
            if name in options.setting_defaults}


def add_canaries(parser, default=None):
    add_setting(parser, "canaries",
                "insert made-up secrets into the training text, for `minillm audit`: numbers of "
                "times, such as 1,4,16 (four secrets each), or a file with a number and a format "
                "in each line, such as '8 The PIN is {digits:4}'", default, type=path,
                metavar="TIMES|FILE")


def add_sizes(parser, architectures, model_type=None):
    """Add the options that say what a new model is like."""
    add_setting(parser, "tokenizer", "a tokenizer to use: a directory, a run, a name "
                                     "(default: train one)")
    add_setting(parser, "vocab_size", "size of the vocabulary of a new tokenizer")
    add_setting(parser, "model_type", architectures, model_type, option="--arch", metavar="ARCH")
    add_setting(parser, "n_layer", "number of blocks")
    add_setting(parser, "n_head", "attention heads per block")
    add_setting(parser, "n_kv_head", "heads of keys and values, which query heads share; not for "
                                     "gpt2 (default: n_head)", type=int)
    add_setting(parser, "n_embd", "width of the model")
    add_setting(parser, "position_embedding",
                "how the model knows the order of its tokens: learned, sinusoidal, rotary, alibi, "
                "t5 or none (default: as in the architecture's paper)",
                option="--positions", metavar="KIND", type=str)


def add_finetuning(parser):
    """Add the options for training only a part of a pretrained model, or parts at other rates."""
    add_setting(parser, "lora_rank", "train LoRA updates of this rank in place of the weights: "
                                     "model/ gets them merged, adapter/ alone", type=int)
    add_setting(parser, "lora_alpha", "their scale, times the rank (default: twice the rank)",
                type=float)
    add_setting(parser, "lora_dropout", "of the updates' inputs")
    add_setting(parser, "lora_targets", "the modules with updates, by names or ends of names with "
                                        "commas between them, such as q_proj,v_proj")
    add_setting(parser, "freeze", "keep the lowest layers as they are: 'embeddings', or a number "
                                  "of blocks, and the embeddings", type=str, metavar="LAYERS")
    add_setting(parser, "layer_lr_decay", "learning rate of a layer, as a share of that of the "
                                          "layer above it")


def add_training(parser, name="train", **defaults):
    """Add the options that training a new model and fine-tuning share."""
    parser.add_argument("--out", type=path,
                        help=f"the run folder (default: runs/{name}-1, {name}-2, …)")
    for name, explanation in (
        ("block_size", "context in tokens"),
        ("dropout", "of embeddings and sub-layers; the attention weights have none"),
        ("optimizer", "adamw; or muon: orthogonal steps for the matrices of the blocks"),
        ("muon_steps", "steps of Newton–Schulz in each of Muon's: 3 take less time"),
        ("steps", "updates of the weights"),
        ("batch_size", "sequences per batch"),
        ("grad_accum", "batches per step, of all ranks together: a multiple of their number, which "
                       "is the default under mpirun"),
        ("lr", "peak learning rate"),
        ("schedule", "how the learning rate falls: cosine, linear or trapezoid"),
        ("warmup", "steps until the learning rate reaches its peak"),
        ("final_lr", "learning rate at the last step, as a share of the peak"),
        ("weight_decay", "of matrices; biases and the weights of norms have none"),
        ("clip", "maximum norm of the gradient"),
        ("seed", "seed of all randomness"),
        ("valid", "share of the text held out to validate on; 0 keeps the last model"),
        ("test", "share of the text held out to test on; 0 for none"),
        ("eval_every", "steps between two evaluations"),
        ("checkpoint_every", "steps between two checkpoints"),
        ("keep", "number of checkpoints to keep"),
        ("snapshots", "copies of the weights to keep from the whole run, 2 bytes a parameter each, "
                      "closest together at its start: `minillm explore` shows how the heads form"),
        ("log_every", "steps between two lines of metrics.jsonl"),
    ):
        add_setting(parser, name, explanation, defaults.get(name))
    add_recompute(parser)
    add_privacy(parser)
    add_parallel(parser)


def add_warmups(parser):
    """Add the options for small steps at the start of a run on text."""
    add_setting(parser, "length_warmup", "steps at the start in which windows grow, from 8 tokens "
                                         "to --block-size")
    add_setting(parser, "batch_warmup", "steps at the start in which batches grow, from a quarter "
                                        "of --batch-size")


def add_recompute(parser):
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction,
                        default=argparse.SUPPRESS,
                        help="keep only the input of each block, and compute the rest again in the "
                             "backward: much less memory, up to a third more time, the same "
                             "results bit for bit (gradient checkpointing; default: off)")
    parser.set_defaults(setting_defaults={**(parser.get_default("setting_defaults") or {}),
                                          "recompute": False})


def add_privacy(parser):
    """Add the options of differential privacy."""
    group = parser.add_argument_group("differential privacy", paragraph(
        "DP-SGD (Abadi et al. 2016): every example's gradient is clipped, and noise is added, so "
        "that the weights hardly depend on any single example. An example is a block of "
        "--block-size + 1 tokens of the training text, or one labelled example: not a document, "
        "not a person. Whoever wrote k of them is protected with about k ε only. Not covered: a "
        "vocabulary trained on the text (pass --tokenizer), the texts held out and all scores on "
        "them, the losses in the records, and checkpoints/, which hold the key of the noise: "
        "publish model/ alone. run.json has the whole list. A batch is drawn example by example; "
        "on average it has --batch-size times --grad-accum of them, and large batches learn more "
        "from the same ε. --clip has no effect, --dp-clip takes its place. model/ keeps the last "
        "model, not the best."))
    for name, explanation, changes in (
        ("dp_epsilon", "train privately: all steps together spend at most this ε", FLOAT),
        ("dp_noise", "or the noise, in units of --dp-clip; the end of the run says ε", FLOAT),
        ("dp_delta", "δ, the probability that the promise of ε fails: well below 1 / the number "
                     "of examples", {}),
        ("dp_clip", "maximum norm of the gradient of one example", {}),
        ("dp_seed", "NOT PRIVATE, for tests: noise that can be repeated", {"type": int}),
    ):
        add_setting(group, name, explanation, **changes)


def add_parallel(parser):
    """Add the options of training on several processes."""
    group = parser.add_argument_group("several processes", paragraph(
        "mpirun -n 4 minillm … trains on four processes, ranks, on one machine or many (MPICH or "
        "Open MPI; pip install \"minillm[mpi]\"). Each computes the gradients of its share of a "
        "step's --grad-accum batches. Every number is bit for bit that of one process with the "
        "same --grad-accum, and --resume works on any number of ranks. Rank 0 reads the data and "
        "writes the run. A rank uses its share of the machine's cores, or OMP_NUM_THREADS."))
    group.add_argument("--shard-optimizer", action="store_true",
                       help="each rank keeps the optimizer's moments of a share of the parameters "
                            "only, which saves memory (ZeRO-1); the numbers are the same")
    group.add_argument("--rank-timeout", type=seconds, default=60.0, metavar="SECONDS",
                       help="end all ranks when one has done nothing for so long (default: 60); "
                            "one that dies is noticed at once")
    parser.set_defaults(trains=True)
