"""The command experiment: one subcommand for each experiment of the literature."""

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import add_text
from minillm.cli.arguments.settings import add_canaries, add_setting
from minillm.cli.arguments.values import path, positive


def experiment(commands):
    parser = commands.add_parser("experiment", help="run one of the experiments of the literature")
    experiments = parser.add_subparsers(metavar="NAME", required=True)
    for add in (_length, _family, _grokking, _memorization, _speedrun):
        add(experiments)


def _length(experiments):
    parser = command(
        experiments, "length", "experiment:length",
        "train with each kind of positions, then read up to 8 times longer contexts (minutes)",
        ["minillm experiment length",
         "minillm experiment length --kinds rotary alibi --steps 3000",
         "minillm experiment length --resume runs/length-1   # after Ctrl-C or a crash",
         "minillm experiment length --quick                  # a trial run of seconds"],
        "\n" + paragraph(
            "Every kind is trained on the same batches. All contexts end at the same test tokens, "
            "so a loss that rises with the length of the context shows positions that the model "
            "can't read (Press, Smith and Lewis 2022, fig. 1). A table of learned positions ends "
            "at the trained length."),
    )
    _add_experiment(parser, "length", "--kinds", "KIND",
                    "some of learned, sinusoidal, rotary, alibi, t5, none (default: all)",
                    block_size="the trained length in tokens; contexts of 1, 2, 4 and 8 times this "
                               "are read")
    add_setting(parser, "model_type",
                "the architecture: gpt2, llama, mistral, qwen2, qwen3 or apertus",
                option="--arch", metavar="ARCH")


def _family(experiments):
    parser = command(
        experiments, "family", "experiment:family",
        "train the decoders of 2017, 2018, 2019 and 2023, and each change between them alone "
        "(ten minutes)",
        ["minillm experiment family",
         "minillm experiment family --variants 2019 2019+swiglu 2023 --seed 1",
         "minillm experiment family --resume runs/family-1   # after Ctrl-C or a crash",
         "minillm experiment family --quick                  # a trial run of seconds"],
        "\n" + paragraph(
            "Between two years, each change is made alone, on top of the earlier decoder: "
            "2017+gelu, 2017+learned, 2018+pre-norm, 2019+rms-norm, 2019+rotary, 2019+swiglu, "
            "2019+no-bias, 2019+grouped. All read the same batches and have about as many "
            "parameters. Repeat with other seeds before you believe a small difference."),
    )
    _add_experiment(parser, "family", "--variants", "VARIANT",
                    "some of the decoders (default: all)", n_layer=4,
                    block_size="tokens in a window")


def _grokking(experiments):
    parser = command(
        experiments, "grokking", "experiment:grokking",
        "train on a part of all additions modulo p, until the model finds the rule, if it does "
        "(five minutes)",
        ["minillm experiment grokking",
         "minillm experiment grokking --prime 97 --held-out 0.7 --steps 6000",
         "minillm experiment grokking --resume runs/grokking-1   # after Ctrl-C or a crash",
         "minillm experiment grokking --quick                    # a trial run of seconds",
         'minillm explore --model runs/grokking-1/grokking/model "12 34 ="'],
        "\n" + paragraph(
            "The model soon knows the answers that it is trained on, and much later, all at once, "
            "the others (Power et al. 2022; Nanda et al. 2023). Variants: grokking, the settings "
            "as they are; no-decay, without weight decay; more-data, with twice as many questions "
            "to train on. Other settings may need more steps: repeat with other seeds."),
    )
    _add_experiment(parser, "grokking", "--variants", "VARIANT", "some of them (default: all)",
                    n_layer=1, n_embd=64, steps=2500)
    add_setting(parser, "vocab_size", "the modulus p, an odd number, usually a prime", 59,
                option="--prime", metavar="P")
    add_setting(parser, "valid", "the share of the questions to hold out", 0.6,
                option="--held-out")
    add_setting(parser, "lr", "the learning rate", 3e-3)
    add_setting(parser, "weight_decay", "how much weights shrink at each step, in units of the "
                "learning rate", 3.0)


def _memorization(experiments):
    parser = command(
        experiments, "memorization", "experiment:memorization",
        "train three widths on a text with secrets in it: what makes a model remember? (two "
        "minutes)",
        ["minillm experiment memorization",
         "minillm experiment memorization --text my_book.txt --canaries 1,10,100",
         "minillm experiment memorization --resume runs/memorization-1  # after Ctrl-C or a crash",
         "minillm experiment memorization --quick                  # a trial run of seconds"],
        "\n" + paragraph(
            "Made-up secrets stand in the text once, twice, … Exposure says how many bits of each "
            "a model gives away (Carlini et al. 2019): by how often it stands there, how often the "
            "text was read, and the number of parameters. Widths: narrow and middle have a quarter "
            "and a half of --n-embd, wide has all."),
    )
    _add_experiment(parser, "memorization", "--widths", "WIDTH", "some of narrow, middle, wide "
                    "(default: all)", n_layer=2, n_embd=128, steps=1600,
                    block_size="tokens in a window")
    add_canaries(parser, "1,2,4,8,16,32")
    add_setting(parser, "weight_decay", "how much weights shrink at each step, in units of the "
                "learning rate", 0.1)


def _speedrun(experiments):
    from minillm.training.speedrun import CHANGES, EXTRAS, TARGET

    parser = command(
        experiments, "speedrun", "experiment:speedrun",
        "how few steps and seconds to a given loss, and thanks to what? (an hour, or --seeds 1)",
        ["minillm experiment speedrun",
         "minillm experiment speedrun --seeds 1 --variants baseline only-muon all",
         "minillm experiment speedrun --text my_book.txt --target 2.1",
         "minillm experiment speedrun --resume runs/speedrun-1   # after Ctrl-C or a crash",
         "minillm experiment speedrun --quick                    # a trial run of seconds"],
        "\n" + paragraph(
            "The baseline is nanoGPT's recipe. Each change is made alone on it (only-CHANGE), all "
            "are made together (all), and each is left out of all (without-CHANGE): "
            + ", ".join(CHANGES) + ". " + " and ".join(EXTRAS) + " are made alone, and with all of "
            "these (with-CHANGE); their runs read as many tokens. A run stops at the target. The "
            "time of a step is measured at the end, of all variants in turns: let the machine do "
            "nothing else then."),
    )
    parser.add_argument("--resume", metavar="FOLDER", type=path,
                        help="go on with an experiment; finished runs aren't done again")
    parser.add_argument("--out", type=path,
                        help="the folder to write (default: runs/speedrun-1, speedrun-2, …)")
    add_text(parser)
    parser.add_argument("--variants", nargs="+", metavar="VARIANT", help="some (default: all)")
    parser.add_argument("--seeds", type=positive, default=5, metavar="N",
                        help="runs of each variant (default: %(default)s)")
    parser.add_argument("--target", type=float, default=TARGET, metavar="BITS",
                        help="bits per byte of the held-out text at which a run stops (default: "
                             "%(default)s, where nanoGPT's recipe ends on the default text)")
    parser.add_argument("--quick", action="store_true", help="a trial run of a few seconds")
    add_setting(parser, "steps", "updates of the weights in a run that misses the target", 450)
    add_setting(parser, "block_size", "tokens in a window", 64)
    add_setting(parser, "vocab_size", "size of the vocabulary of the tokenizer", 1024)


def _add_experiment(parser, name, option, metavar, explanation, *, block_size=None, n_layer=3,
                    n_embd=96, steps=1000):
    """Add the options that all experiments have. block_size: what it means, for models of text"""
    parser.add_argument("--resume", metavar="FOLDER", type=path,
                        help="go on with an experiment; what is finished is not trained again")
    parser.add_argument("--out", type=path,
                        help=f"the folder to write (default: runs/{name}-1, {name}-2, …)")
    if block_size:
        add_text(parser)
        add_setting(parser, "block_size", block_size, 64)
    else:
        parser.set_defaults(text=None)
    parser.add_argument(option, nargs="+", dest="variants", metavar=metavar, help=explanation)
    parser.add_argument("--quick", action="store_true", help="a trial run of a few seconds")
    for setting, meaning, default in (
        ("steps", "updates of the weights of each model", steps),
        ("n_layer", "number of blocks", n_layer),
        ("n_head", "attention heads per block", 4),
        ("n_embd", "width of the model", n_embd),
        ("seed", "seed of all randomness", 0),
    ):
        add_setting(parser, setting, meaning, default)
