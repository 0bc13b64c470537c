"""Commands that train on a text: demo, train, finetune; and lora, for their adapters."""

import argparse

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import add_text
from minillm.cli.arguments.settings import (
    add_canaries,
    add_finetuning,
    add_sizes,
    add_training,
    add_warmups,
    given_settings,
    option_of,
)
from minillm.cli.arguments.values import path
from minillm.training.settings import CHANGEABLE, SCHEDULE_RULE, Settings

# How `minillm train` trains a decoder: what `minillm experiment speedrun` has found.
FAST = {"optimizer": "muon", "muon_steps": 3, "lr": 8e-3, "schedule": "trapezoid", "final_lr": 0.0,
        "weight_decay": 0.5}


def demo(commands):
    parser = command(
        commands, "demo", "training:demo",
        "train a tokenizer and a small model on real English, then print samples (a minute)",
        ["minillm demo", "minillm demo --seed 7 --out runs/seven", "minillm demo --quick",
         "minillm demo --snapshots 40                      # a finer record for minillm explore"],
    )
    parser.add_argument("--out", type=path,
                        help="the run folder (default: runs/demo-1, demo-2, …)")
    parser.add_argument("--snapshots", type=int,
                        help="copies of the weights to keep from the whole run, for `minillm "
                             "explore` (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default: 0)")
    parser.add_argument("--quick", action="store_true", help="a trial run of a few seconds")


def train(commands):
    parser = command(
        commands, "train", "training:train", "train a model from scratch on a text",
        ["minillm train --text my_book.txt --out runs/book",
         "minillm train --text my_book.txt --arch gpt2 --optimizer adamw --lr 3e-3",
         "minillm train --text my_book.txt --arch llama --n-kv-head 2",
         "minillm train --text my_book.txt --positions alibi",
         "minillm train --arch bert --lr 1e-3 --steps 3000  # learn to fill in masked words",
         "minillm train --text folder_of_texts/ --n-layer 6 --n-embd 192 --steps 3000",
         "minillm train --text my_book.txt --n-layer 12 --n-embd 768 --recompute  # less memory",
         "minillm train --resume runs/book                 # after Ctrl-C, a crash, a power cut",
         "minillm train --resume runs/book --steps 5000    # beyond its first end"],
        "\n" + paragraph(
            "--resume continues with the settings of the run; these may change: "
            + ", ".join(map(option_of, CHANGEABLE)) + ". The schedule: " + SCHEDULE_RULE + ".")
        + "\n" + paragraph(
            "The architecture, the optimizer and the schedule are those that learn fastest in "
            "`minillm experiment speedrun`. BERT and private training have other defaults: "
            + ", ".join(f"{option_of(name)} {getattr(Settings, name)}" for name in FAST) + "."),
    )
    parser.add_argument("--resume", metavar="RUN", type=path,
                        help="go on with a run from its newest checkpoint, bit for bit as if it "
                             "had never stopped; see below for what may change")
    add_text(parser)
    add_canaries(parser)
    add_sizes(parser, "the architecture: apertus, gpt2, llama, mistral, qwen2, qwen3 or bert",
              model_type="apertus")
    add_training(parser, **FAST)
    add_warmups(parser)


def finetune(commands):
    parser = command(
        commands, "finetune", "training:finetune", "train a pretrained model further on a text",
        ["minillm finetune --model pydoc-tiny --text my_notes.txt --steps 200",
         "minillm finetune --model gpt2 --text poems/ --lr 1e-4 --block-size 256",
         "minillm finetune --model gpt2 --text poems/ --lora-rank 8 --lr 2e-3  # a small update",
         "minillm finetune --model gpt2 --text poems/ --freeze 6               "
         "# half of the blocks",
         "minillm finetune --model gpt2 --text poems/ --layer-lr-decay 0.8",
         "minillm train --resume runs/finetune-1           # after Ctrl-C, as for any run"],
    )
    parser.add_argument("--model", type=path, required=True,
                        help="a run folder, a directory or a name")
    parser.add_argument("--resize-vocab", action="store_true", default=argparse.SUPPRESS,
                        help="if the tokenizer has more tokens than the model has rows, add rows; "
                             "they start at the mean of the others")
    parser.set_defaults(setting_defaults={"resize_vocab": False})
    add_text(parser)
    add_canaries(parser)
    add_finetuning(parser)
    add_training(parser, "finetune", lr=3e-4, steps=200)
    add_warmups(parser)


def lora(commands):
    parser = commands.add_parser("lora", help="merge a LoRA adapter into a model, or extract one")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    merge = command(
        actions, "merge", "lora:merge",
        "write a model with an adapter merged into its weights: one like any other",
        ["minillm lora merge --model pydoc-tiny --adapter runs/finetune-1 --out my_model",
         "minillm lora merge --model gpt2 --adapter adapter_of_peft/ --out my_model"],
    )
    merge.add_argument("--model", type=path, required=True,
                       help="the model that the adapter belongs to: a run folder, a directory or a "
                            "name")
    merge.add_argument("--adapter", type=path, required=True, metavar="DIR",
                       help="the folder of adapter_config.json, or a run folder")
    extract = command(
        actions, "extract", "lora:extract",
        "find the adapter that comes closest to a model that was fine-tuned in full",
        ["minillm lora extract --model gpt2 --tuned runs/finetune-1 --rank 8 --out my_adapter"],
        "\n" + paragraph("Each matrix's change is cut off after the largest singular values "
                         "(Eckart and Young 1936). What share of it that keeps is reported."),
    )
    extract.add_argument("--model", type=path, required=True, help="the model before fine-tuning")
    extract.add_argument("--tuned", type=path, required=True, help="the model after it")
    extract.add_argument("--rank", type=int, default=8,
                         help="the rank of the updates (default: %(default)s)")
    for action in (merge, extract):
        action.add_argument("--out", type=path, required=True, help="the folder to write")


def settings_from(options):
    """-> Settings from the options of `train` or `finetune`"""
    model = getattr(options, "model", None)
    chosen = {**options.setting_defaults, **given_settings(options)}
    if chosen.get("model_type") == "bert" or any(
            chosen[name] is not None for name in ("dp_epsilon", "dp_noise")):
        usual = {name: getattr(Settings, name) for name in FAST}
        chosen = {**chosen, **usual, **given_settings(options)}
    return Settings(**{**chosen, "text": options.text, "model": model})
