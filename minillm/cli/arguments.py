"""The arguments of the command line. Imports little more than argparse, so `--help` is fast."""

import argparse
import textwrap
from dataclasses import fields
from functools import cache

from minillm import __version__
from minillm.cli.visible import cut, visible
from minillm.files import expand
from minillm.training.settings import CHANGEABLE, SCHEDULE_RULE, Settings
from minillm.training.task import LABELLED

DEFAULT_MODEL = "pydoc-tiny"  # the one that the course takes apart
WRITING_MODEL = "pydoc-small"  # writes better text
DTYPES = ("float32", "bfloat16", "int8", "int4")
FLOAT = {"type": float}


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, like every other error, without the usage."""

    def error(self, message):
        self.exit(2, f"minillm: error: {cut(visible(message))} (see: {self.prog} --help)\n")
def parse_arguments(arguments=None):
    """-> Namespace with `command`, a function of the Namespace. Exits with 2 on an error."""
    return _parser().parse_args(arguments)


@cache  # a program that calls `main` often, such as a test, builds it once
def _parser():
    parser = Parser(
        prog="minillm",
        description="A transformer that you can read from end to end.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "examples:\n"
            "  minillm demo                                 train a small model in a minute\n"
            '  minillm generate "The assignment statement"  generate with the packaged model\n'
            "  minillm train --text my_book.txt             train on your own text\n"
            "  minillm course                               learn how all of it works\n"
            "  minillm COMMAND --help                       more examples\n"
        ),
    )
    parser.add_argument("--version", action="version", version=f"minillm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_demo, _train, _finetune, _train_task, _predict, _similar, _generate, _fill, _eval,
                _lora, _tokenizer, _course, _worked_example, _step, _inspect, _explore, _serve,
                _experiment,
                _prepare, _mask, _cost, _audit, _card, _fairness, _bench, _info):
        add(commands)
    return parser


def _command(commands, name, function, description, examples, notes=""):
    """A subcommand. `function` is "module:function", imported only when it is called."""
    parser = commands.add_parser(
        name, help=description, description=description[0].upper() + description[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples) + notes,
    )
    parser.set_defaults(command=lambda options: _call(function, options))
    return parser


def _call(function, options):
    import importlib

    module, name = function.split(":")
    return getattr(importlib.import_module(f"minillm.cli.{module}"), name)(options)


def _demo(commands):
    parser = _command(
        commands, "demo", "training:demo",
        "train a tokenizer and a small model on real English, then print samples (a minute)",
        ["minillm demo", "minillm demo --seed 7 --out runs/seven", "minillm demo --quick",
         "minillm demo --snapshots 40                      # a finer record for minillm explore"],
    )
    parser.add_argument("--out", type=_path,
                        help="the run folder (default: runs/demo-1, demo-2, …)")
    parser.add_argument("--snapshots", type=int,
                        help="copies of the weights to keep from the whole run, for `minillm "
                             "explore` (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default: 0)")
    parser.add_argument("--quick", action="store_true", help="a trial run of a few seconds")


# How `minillm train` trains a decoder: what `minillm experiment speedrun` has found.
FAST = {"optimizer": "muon", "muon_steps": 3, "lr": 8e-3, "schedule": "trapezoid", "final_lr": 0.0,
        "weight_decay": 0.5}


def _train(commands):
    parser = _command(
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
        "\n" + _paragraph(
            "--resume continues with the settings of the run; these may change: "
            + ", ".join(map(_option, CHANGEABLE)) + ". The schedule: " + SCHEDULE_RULE + ".")
        + "\n" + _paragraph(
            "The architecture, the optimizer and the schedule are those that learn fastest in "
            "`minillm experiment speedrun`. BERT and private training have other defaults: "
            + ", ".join(f"{_option(name)} {getattr(Settings, name)}" for name in FAST) + "."),
    )
    parser.add_argument("--resume", metavar="RUN", type=_path,
                        help="go on with a run from its newest checkpoint, bit for bit as if it "
                             "had never stopped; see below for what may change")
    _add_text(parser)
    _add_canaries(parser)
    _add_sizes(parser, "the architecture: apertus, gpt2, llama, mistral, qwen2, qwen3 or bert",
               model_type="apertus")
    _add_training(parser, **FAST)
    _add_warmups(parser)


def _finetune(commands):
    parser = _command(
        commands, "finetune", "training:finetune", "train a pretrained model further on a text",
        ["minillm finetune --model pydoc-tiny --text my_notes.txt --steps 200",
         "minillm finetune --model gpt2 --text poems/ --lr 1e-4 --block-size 256",
         "minillm finetune --model gpt2 --text poems/ --lora-rank 8 --lr 2e-3  # a small update",
         "minillm finetune --model gpt2 --text poems/ --freeze 6               # half of the blocks",
         "minillm finetune --model gpt2 --text poems/ --layer-lr-decay 0.8",
         "minillm train --resume runs/finetune-1           # after Ctrl-C, as for any run"],
    )
    parser.add_argument("--model", type=_path, required=True,
                        help="a run folder, a directory or a name")
    parser.add_argument("--resize-vocab", action="store_true", default=argparse.SUPPRESS,
                        help="if the tokenizer has more tokens than the model has rows, add rows; "
                             "they start at the mean of the others")
    parser.set_defaults(setting_defaults={"resize_vocab": False})
    _add_text(parser)
    _add_canaries(parser)
    _add_finetuning(parser)
    _add_training(parser, "finetune", lr=3e-4, steps=200)
    _add_warmups(parser)


def _train_task(commands):
    parser = _command(
        commands, "train-task", "tasks:train_task",
        "train a model for a task with labels (minutes), on generated examples or your own",
        ["minillm train-task                              # the tasks",
         "minillm train-task sentiment",
         "minillm train-task sentiment --data my_reviews.tsv --out runs/reviews",
         "minillm train-task topics --model my_bert --lr 1e-4",
         "minillm train-task topics --model my_bert --lora-rank 8 --lr 2e-3",
         "minillm train --resume runs/sentiment-1         # after Ctrl-C, as for any run"],
        "\ntasks:\n" + "".join(f"  {name:<14}{title}\n" for name, title in LABELLED.items())
        + "\n" + _paragraph(
            "--data is a .jsonl file, one example in a line, a .tsv file, or a folder with train, "
            "valid and test files of these kinds. The metrics are those of the test examples, with "
            "95 % intervals, beside a baseline's. Without --data, the examples are generated, and "
            "their scores say nothing about texts from elsewhere."),
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the task (default: list them)")
    parser.add_argument("--data", type=_path, help="your examples (default: generate them)")
    parser.add_argument("--model", type=_path,
                        help="a pretrained model to fine-tune: a run folder, a directory or a name "
                             "(default: a new one)")
    _add_finetuning(parser)
    parser.set_defaults(whose_defaults="the task's")
    _add_settings(parser, "examples", "number of examples to generate (default: the task's)",
                  type=int)
    _add_sizes(parser, "the architecture, such as bert, gpt2 or transformer")
    _add_training(parser, "NAME")


def _predict(commands):
    parser = _command(
        commands, "predict", "tasks:predict", "let a trained model do its task",
        ['minillm predict --model runs/sentiment-1 "not bad at all"',
         'minillm predict --task topics --model my_checkpoint "the match was lost"',
         "minillm predict --model runs/sentiment-1 --json < my_reviews.txt",
         "minillm predict --model runs/sentiment-1 --input my_reviews.tsv",
         'minillm predict --model runs/descriptions-1 --temperature 0.7 --seed 1 "type=chair"'],
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT",
                        help="texts, one prediction each; or, for a task that needs several, the "
                             "texts of one example (default: the lines of stdin)")
    parser.add_argument("--task", help="the task, where --model is no run folder that names it")
    parser.add_argument("--model", type=_path, required=True,
                        help="a run folder of train-task, a directory or a name")
    parser.add_argument("--input", type=_path, metavar="FILE", help="a .jsonl or .tsv file of texts")
    parser.add_argument("--json", action="store_true",
                        help="print each example and its prediction as a line of JSON")
    parser.add_argument("--temperature", type=float,
                        help="sample, for a task that writes to order: below 1 more predictable, "
                             "above 1 more random (default: take the likeliest token)")
    parser.add_argument("--top-p", type=float,
                        help="sample from the likeliest tokens that together have this probability")
    parser.add_argument("--seed", type=int, help="of the sampling: the same seed, the same text")


def _similar(commands):
    parser = _command(
        commands, "similar", "similar:similar", "find the lines of a file that are close to a text",
        ['minillm similar --model runs/faq-1 "my box is overdue" questions.txt',
         'minillm similar --model all-MiniLM-L6-v2 -k 3 "how to brew tea" recipes.txt',
         'minillm similar --model pydoc-tiny --pooling last "a loop over items" notes.txt'],
        "\n" + _paragraph(
            "The model turns each line into a vector, and the cosine to the text's vector is the "
            "score. A folder of sentence-transformers says how; of any other model, the mean over "
            "the tokens is taken. Models that weren't trained for it find little."),
    )
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("file", metavar="FILE", type=_path, help="a UTF-8 text, a sentence a line")
    parser.add_argument("--model", type=_path, required=True,
                        help="a run folder of train-task faq, a directory or a name")
    parser.add_argument("--top", "-k", type=int, default=5, metavar="K",
                        help="how many lines to show (default: %(default)s)")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"),
                        help="from vectors of tokens to one (default: what the model's files say)")


def _generate(commands):
    parser = _command(
        commands, "generate", "generation:generate", "continue a text",
        ['minillm generate "The assignment statement"',
         'minillm generate --model runs/demo-1 --temperature 0.7 --seed 1 "A class is"',
         'minillm generate --model gpt2 --num-beams 4 "In the beginning"',
         'minillm generate --model gpt2 --dtype int8 "In the beginning"',
         'minillm generate --model gpt2 --dtype int4 "In the beginning"    # a seventh of the memory',
         'minillm generate --stop "." --greedy "The class"',
         'minillm generate --greedy --prompt-lookup 10 --stats "The class"',
         'minillm generate --model gpt2 --adapter my_adapter "In the beginning"',
         "echo 'An iterator' | minillm generate"],
    )
    parser.add_argument("prompt", nargs="?", help="the text to continue (default: read stdin)")
    _add_model(parser, WRITING_MODEL)
    _add_adapter(parser)
    parser.add_argument("--max-new-tokens", type=int,
                        help="tokens to generate (default: 100, or as many as the model has room "
                             "for)")
    parser.add_argument("--min-new-tokens", type=int, help="no end of text before this many")
    parser.add_argument("--stop", metavar="TEXT", action="append",
                        help="stop as soon as the new text contains TEXT; can be repeated")
    parser.add_argument("--max-time", type=float, metavar="SECONDS",
                        help="start no further token after this time")
    parser.add_argument("--temperature", type=float,
                        help="below 1 more predictable, above 1 more random (default: 0.8)")
    parser.add_argument("--top-k", type=int, help="draw from the k likeliest (default: 50)")
    parser.add_argument("--top-p", type=float,
                        help="draw from the likeliest that together have this probability "
                             "(default: 0.95)")
    parser.add_argument("--min-p", type=float,
                        help="draw from those with at least this share of the likeliest one's "
                             "probability")
    parser.add_argument("--typical-p", type=float,
                        help="draw from the most typical that together have this probability")
    parser.add_argument("--greedy", action="store_true", help="always take the likeliest token")
    parser.add_argument("--num-beams", "--beams", type=int, help="beams of a beam search")
    parser.add_argument("--length-penalty", type=float,
                        help="of a beam search: below 1 for shorter texts, above 1 for longer ones")
    parser.add_argument("--num-return-sequences", type=int, default=1,
                        help="texts to generate (default: 1)")
    parser.add_argument("--repetition-penalty", type=float, help="above 1 discourages repetition")
    parser.add_argument("--no-repeat-ngram-size", type=int,
                        help="never repeat this many tokens in a row")
    parser.add_argument("--seed", type=int, help="the same seed gives the same text")
    parser.add_argument("--prompt-lookup", type=int, metavar="N",
                        help="faster for texts that repeat themselves, with the same result: copy "
                             "N tokens from where the last ones occurred before, and verify them "
                             "together")
    parser.add_argument("--draft", type=_path, metavar="MODEL",
                        help="faster, with the same distribution: let a small model with the same "
                             "tokenizer draft the next tokens, and verify them together")
    parser.add_argument("--stats", action="store_true",
                        help="print how many drafted tokens were accepted, and the speed, to "
                             "stderr")
    _add_dtype(parser, "bfloat16, int8 and int4 take about a half, a quarter and a seventh of the "
                       "memory, and less time")


def _fill(commands):
    parser = _command(
        commands, "fill", "filling:fill", "fill in the [MASK]s of a text with a BERT",
        ['minillm fill --model runs/train-1 "The [MASK] statement"',
         'minillm fill --model my_bert --top 10 "a [MASK] of the [MASK]"'],
        "\n" + _paragraph("minillm train --arch bert trains such a model."),
    )
    parser.add_argument("prompt", nargs="?", metavar="TEXT", help="the text (default: read stdin)")
    parser.add_argument("--model", type=_path, required=True,
                        help="a run folder, a directory or a name")
    parser.add_argument("--top", type=int, default=5,
                        help="candidates for each mask (default: %(default)s)")


def _eval(commands):
    parser = _command(
        commands, "eval", "evaluation:evaluate", "measure how well a model predicts a text",
        ["minillm eval --model runs/demo-1              # on the run's own held-out text",
         "minillm eval --model pydoc-tiny --text my_notes.txt",
         "minillm eval --model my_bert --text my_notes.txt   # how well it fills in masks"],
    )
    _add_model(parser)
    _add_adapter(parser)
    parser.add_argument("--text", type=_path, help="a text file or a folder of them")
    parser.add_argument("--block-size", type=int,
                        help="context in tokens (default: the model's maximum, at most 1024)")
    _add_dtype(parser, "bfloat16, int8 and int4 show what they cost in accuracy")


def _lora(commands):
    parser = commands.add_parser("lora", help="merge a LoRA adapter into a model, or extract one")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    merge = _command(
        actions, "merge", "lora:merge",
        "write a model with an adapter merged into its weights: one like any other",
        ["minillm lora merge --model pydoc-tiny --adapter runs/finetune-1 --out my_model",
         "minillm lora merge --model gpt2 --adapter adapter_of_peft/ --out my_model"],
    )
    merge.add_argument("--model", type=_path, required=True,
                       help="the model that the adapter belongs to: a run folder, a directory or a "
                            "name")
    merge.add_argument("--adapter", type=_path, required=True, metavar="DIR",
                       help="the folder of adapter_config.json, or a run folder")
    extract = _command(
        actions, "extract", "lora:extract",
        "find the adapter that comes closest to a model that was fine-tuned in full",
        ["minillm lora extract --model gpt2 --tuned runs/finetune-1 --rank 8 --out my_adapter"],
        "\n" + _paragraph("Each matrix's change is cut off after the largest singular values "
                          "(Eckart and Young 1936). What share of it that keeps is reported."),
    )
    extract.add_argument("--model", type=_path, required=True, help="the model before fine-tuning")
    extract.add_argument("--tuned", type=_path, required=True, help="the model after it")
    extract.add_argument("--rank", type=int, default=8,
                         help="the rank of the updates (default: %(default)s)")
    for action in (merge, extract):
        action.add_argument("--out", type=_path, required=True, help="the folder to write")


def _tokenizer(commands):
    parser = commands.add_parser("tokenizer", help="train a tokenizer, or show its tokens")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    train = _command(
        actions, "train", "tokenizer:train", "train a byte-level BPE tokenizer",
        ["minillm tokenizer train --text my_book.txt --vocab-size 4096 --out my_tokenizer"],
    )
    _add_text(train)
    train.add_argument("--vocab-size", type=int, default=2048,
                       help="tokens, bytes included (default: %(default)s)")
    train.add_argument("--out", type=_path, required=True, help="the folder to write")
    encode = _command(
        actions, "encode", "tokenizer:encode", "show the tokens of a text",
        ['minillm tokenizer encode "Attention is all you need"',
         "minillm tokenizer encode --ids --tokenizer my_tokenizer < my_book.txt"],
    )
    encode.add_argument("text", nargs="?", help="the text (default: read stdin)")
    encode.add_argument("--tokenizer", type=_path, default=DEFAULT_MODEL,
                        help="a directory, a run folder or a name (default: %(default)s)")
    encode.add_argument("--ids", action="store_true",
                        help="print only the ids, separated by spaces")


def _course(commands):
    parser = _command(
        commands, "course", "course:list_chapters",
        "list the chapters of the course, run one, check your solutions",
        ["minillm course                            # the chapters, and what they teach",
         "minillm course run 01                     # run one; prints outputs, names its figures",
         "minillm course run 01 --all               # with its text and code",
         "minillm course check 01 my_solutions.py   # which exercises are right, and if not, why",
         "minillm course copy my_course             # a copy to open in Jupyter or VS Code"],
    )
    parts = parser.add_subparsers(metavar="ACTION")
    run = _command(parts, "run", "course:run", "run all cells of a chapter",
                   ["minillm course run 03", "minillm course run 03 --all --out figures"])
    _add_chapter(run)
    run.add_argument("--all", action="store_true", help="show the text and the code too")
    run.add_argument("--out", type=_path, help="the folder for the figures (default: a new one)")
    run.add_argument("--write", action="store_true",
                     help="write the figures beside the chapter, where its Markdown shows them")
    check = _command(parts, "check", "course:check", "check your solutions of a chapter's exercises",
                     ["minillm course check 03 my_solutions.py"],
                     "\nThe file defines each answer under the name that the exercise gives it. "
                     "Exit status 0: all right.\n")
    _add_chapter(check)
    check.add_argument("file", metavar="FILE", type=_path, help="Python code with your answers")
    copy = _command(parts, "copy", "course:copy", "copy the chapters to a new folder",
                    ["minillm course copy my_course"])
    copy.add_argument("folder", metavar="FOLDER", type=_path, help="the new folder")


def _add_chapter(parser):
    parser.add_argument("chapter", metavar="CHAPTER", help="its number, such as 03")


def _worked_example(commands):
    parser = _command(
        commands, "worked-example", "worked_example:worked_example",
        "compute attention step by step, every matrix with its formula",
        ["minillm worked-example                         # three words of ten numbers",
         "minillm worked-example --words 我 喜欢 苹果 --steps",
         "minillm worked-example --words the cat sat on the mat --d 8 --heads 2 --causal",
         "minillm worked-example --backward              # and every gradient, checked",
         "minillm worked-example --backward --markdown attention.md --png attention.png",
         "minillm worked-example --input my_matrices.json"],
        "\n" + _paragraph(
            'A file for --input holds {"Q": [[…], …], "K": [[…], …], "V": [[…], …]}, one row of '
            'numbers per word, or {"X": [[…], …]} for Q = K = V = X. It may also hold "words", '
            '"query_words" (for cross-attention), "mask" (true for each key that may be seen) and '
            '"causal". Colors need a terminal, and NO_COLOR turns them off.'),
    )
    parser.add_argument("--words", nargs="+", metavar="WORD",
                        help="words, or a text that is split at its spaces (default: I like apple)")
    parser.add_argument("--d", type=int, help="numbers per word, drawn from the seed (default: "
                                              "10; those of the book for its words)")
    parser.add_argument("--heads", type=int,
                        help="attend in this many heads, through W_Q, W_K, W_V and W_O drawn from "
                             "the seed")
    parser.add_argument("--causal", action="store_true",
                        help="a word sees only itself and earlier words")
    parser.add_argument("--seed", type=int, help="seed of all random numbers (default: 0)")
    parser.add_argument("--input", type=_path, metavar="FILE.json",
                        help="take Q, K and V from a file, see below")
    parser.add_argument("--backward", action="store_true",
                        help="go on through every gradient of ½ Σ out², each beside its finite "
                             "differences")
    parser.add_argument("--steps", action="store_true",
                        help="wait for Enter after each step")
    for name in ("latex", "markdown"):
        parser.add_argument(f"--{name}", nargs="?", const="-", type=_path, metavar="FILE",
                            help=f"write {'LaTeX' if name == 'latex' else 'Markdown'} to FILE "
                                 "instead (default: to standard output)")
    parser.add_argument("--png", nargs="?", const="worked-example.png", type=_path, metavar="FILE",
                        help="draw all steps as a picture (default: %(const)s)")


def _step(commands):
    parser = _command(
        commands, "step", "step:step",
        "walk through a model, one operation at a time, forward and back",
        ['minillm step "The class statement"             # keys: n next, i into, o out, ? help',
         'minillm step --backward "The class statement"  # the hand-written backward',
         'minillm step --layer 2 --kernels c "The class" # the calls of the C library',
         'minillm step --plain --layer 0 "The class" | less',
         'minillm step --model runs/demo-1 "An iterator"'],
    )
    parser.add_argument("text", nargs="?", help="the text to run through the model (default: read "
                                                "stdin, with --plain)")
    _add_model(parser)
    parser.add_argument("--backward", action="store_true",
                        help="walk through the backward of the loss of predicting the text")
    parser.add_argument("--kernels", choices=("numpy", "c"), default="numpy",
                        help="numpy: step into the formulas; c: see the calls of the C library "
                             "(default: %(default)s)")
    parser.add_argument("--layer", type=int, metavar="N",
                        help="begin at block N; with --plain, only block N")
    parser.add_argument("--plain", action="store_true",
                        help="print the steps as lines, as when the output is not a terminal")
    parser.add_argument("--depth", type=int, metavar="D",
                        help="with --plain, show calls at most D levels deep")


# What `minillm inspect` shows: name -> (what it is, groups of options, examples)
INSPECTIONS = {
    "attention": ("where each head looks, and what kind of head it is", ("text", "cross"),
                  ['--picture heads.png "An iterator is an object"',
                   '--model runs/translation-1 --stack cross "<en> twelve"']),
    "scores": ("why a head looks at a token: its score, dimension by dimension",
               ("text", "cross", "position", "head", "top"),
               ['--head 2.1 "An iterator is an object"',
                '--head 2.1 --position 3 --key 0 --picture why.svg "An iterator is an object"']),
    "rollout": ("what reaches a vector of the last layer from each token, by rollout and flow",
                ("text", "cross", "position"),
                ['"An iterator is an object"', '--position 2 "An iterator is an object"']),
    "induction": ("which heads continue what they have seen before, on random tokens",
                  ("top", "stack"), ["--picture induction.svg", "--model gpt2"]),
    "composition": ("which heads could read which others, by their weights alone",
                    ("composition", "top", "stack"),
                    ["--model gpt2", "--kind V --picture values.svg"]),
    "lens": ("what the model would say after each block", ("text", "position"),
             ['--picture lens.svg "The assignment statement"',
              '--model bert-base-uncased "The [MASK] sat on the mat."']),
    "tuned-lens": ("the lens, with a trained translator for each layer",
                   ("text", "position", "learn"), ['"The assignment statement"',
                    '--text-file my_notes.txt --save lens.safetensors "The assignment"',
                    '--load lens.safetensors "The assignment"']),
    "contributions": ("how much each head and layer adds to a logit",
                      ("text", "position", "target", "top"), ['--token " is" "An iterator"']),
    "patch": ("put values of one run into another: which of them carry the answer?",
              ("text", "position", "target", "top", "corrupt", "kind", "stack"),
              ['--corrupt "The class" "The function"',
               '--kind head --corrupt "The class" "The function"']),
    "path": ("what each head says directly to another one, or to the output",
             ("text", "position", "target", "top", "corrupt", "receiver", "stack"),
             ['--corrupt "The class" "The function"',
              '--receiver 3.1 --corrupt "The class" "The function"']),
    "ablate": ("what the answer loses without each head and layer, in three ways, and the estimates",
               ("text", "position", "target", "top", "texts", "stack"),
               ['--picture parts.svg "An iterator is an object"',
                '--text-file my_notes.txt "An iterator is an object"']),
    "attribution": ("which tokens speak for the answer, by three methods and by measurement",
                    ("text", "position", "target"),
                    ['"An iterator is an object"', '--model runs/sentiment-1 "not bad at all"',
                     '--model all-MiniLM-L6-v2 --like "a parcel" "where is my box?"']),
    "importance": ("which heads the loss of a text needs, by the gradient and without them",
                   ("text", "top", "ablation", "texts", "stack"),
                   ['"An iterator is an object"', '--kind resample "An iterator is an object"']),
    "probes": ("is a property of the tokens written in each layer? with a control task",
               ("property", "texts", "tokens", "stack"),
               ["--property capital", "--labels tagged_words.tsv --picture probes.svg",
                "--model bert-base-uncased --labels tagged_words.tsv"]),
    "features": ("a sparse autoencoder on a layer's vectors: what each of its features fires on",
                 ("layer", "autoencoder", "top", "learn", "stack"),
                 ["--layer 2 --save features.safetensors", "--layer 2 --load features.safetensors",
                  "--features 1024 --text-file my_notes.txt"]),
    "neighbors": ("the tokens with the most similar embeddings", ("text", "top"), ['" function"']),
    "embeddings": ("the embeddings of a text's tokens, in the plane that shows most of them",
                   ("text",), ['--picture plane.svg " one two three class function method"']),
    "anatomy": ("the blocks of a model", (), ["--model gpt2"]),
}
INSPECTING = {  # the module of minillm/cli/inspecting: what it shows
    "attention": ("attention", "scores", "rollout", "induction", "composition"),
    "layers": ("lens", "contributions"), "learning": ("tuned-lens", "features", "probes"),
    "pairs": ("patch", "path"), "parts": ("ablate", "attribution", "importance"),
    "embeddings": ("neighbors", "embeddings", "anatomy"),
}
LEARNING = {  # of what is trained: name -> tokens of text, steps, tokens in a batch, learning rate
    "tuned-lens": (8192, 250, 128, 1e-3), "features": (32768, 1500, 256, 1e-3),
    "probes": (8192, None, None, None),
}


def _inspect(commands):
    parser = commands.add_parser("inspect", help="look inside a model: heads, lenses, patches, …")
    parts = parser.add_subparsers(metavar="WHAT", required=True)
    for name, (description, groups, examples) in INSPECTIONS.items():
        module = next(module for module, names in INSPECTING.items() if name in names)
        function = f"inspecting.{module}:inspect_{name.replace('-', '_')}"
        part = _command(parts, name, function, description,
                        [f"minillm inspect {name} {example}" for example in examples])
        _add_model(part)
        for group in groups:
            _add_inspection[group](part, name)
        part.set_defaults(needs_target="target" in groups)
        part.add_argument("--picture", type=_path, metavar="FILE", help="write a .png or .svg")
        part.add_argument("--json", type=_path, metavar="FILE", help="write all numbers")
        if not groups:
            part.add_argument("text", nargs="?", help=argparse.SUPPRESS)


def _add_inspected_text(part, name):
    part.add_argument("text", nargs="?",
                      help="the text (default: read stdin); a pair: \"one [SEP] other\"")
    part.add_argument("--target-text", metavar="TEXT",
                      help="what an encoder-decoder has written so far (default: all it writes)")


def _add_stack(part, name, choices=("encoder", "decoder")):
    part.add_argument("--stack", choices=choices,
                      help="the blocks of an encoder-decoder to look at (default: decoder)")


def _add_composition(part, name):
    part.add_argument("--kind", choices=("Q", "K", "V"), default="K",
                      help="what the later head makes of it: queries, keys or values (default: K)")


def _add_target(part, name):
    part.add_argument("--token", metavar="TOKEN",
                      help="the token to explain, or a classifier's label (default: what the model "
                           "says)")
    part.add_argument("--against", metavar="TOKEN", help="explain its logit minus this one's")
    part.add_argument("--like", metavar="TEXT",
                      help="for a model that makes a vector of a text: explain its likeness to "
                           "this one's")


def _add_texts(part, name):
    part.add_argument("--text-file", type=_path, metavar="FILE",
                      help="a UTF-8 text file or a folder, for other texts (default: the run's "
                           "own, or the topics of Python's help())")
    part.add_argument("--seed", type=_natural, default=0, help="of all randomness (default: 0)")


def _add_tokens(part, name):
    part.add_argument("--tokens", type=_positive, default=LEARNING[name][0], metavar="N",
                      help="tokens of text to read (default: %(default)s)")


def _add_learning(part, name):
    _add_texts(part, name)
    _add_tokens(part, name)
    _, steps, batch, lr = LEARNING[name]
    part.add_argument("--steps", type=_positive, default=steps,
                      help="updates of the weights (default: %(default)s)")
    part.add_argument("--batch-size", type=_positive, default=batch, metavar="N",
                      help="tokens in a batch (default: %(default)s)")
    part.add_argument("--lr", type=float, default=lr, help="learning rate (default: %(default)s)")
    part.add_argument("--save", type=_path, metavar="FILE",
                      help="write what is trained as a .safetensors file")
    part.add_argument("--load", type=_path, metavar="FILE",
                      help="read what --save has written, instead of training")


def _add_autoencoder(part, name):
    part.add_argument("--features", type=_positive, metavar="N",
                      help="number of features (default: four times the width of the vectors)")
    part.add_argument("--sparsity", type=float, default=3.0,
                      help="the penalty on features that are on, for vectors of variance 1 "
                           "(default: %(default)s)")


def _add_head(part, name):
    part.add_argument("--head", default="0.0", metavar="LAYER.HEAD",
                      help="the head (default: %(default)s)")
    part.add_argument("--key", type=int, metavar="N",
                      help="the token that is looked at, from 0 on (default: where the weight is "
                           "largest)")


def _add_kind(part, name):
    part.add_argument("--kind", default="residual",
                      choices=("residual", "attention", "cross_attention", "feed_forward", "head"),
                      help="the values to patch (default: %(default)s)")
    part.add_argument("--whole", action="store_true",
                      help="patch all positions of a value together: much faster")


def _add_property(part, name):
    from minillm.insight.properties import PROPERTIES

    one = part.add_mutually_exclusive_group()
    one.add_argument("--property", choices=PROPERTIES, default="word-goes-on",
                     help="what to probe for: " + "; ".join(
                         f"{name}: {each.what}" for name, each in PROPERTIES.items())
                     + " (default: %(default)s)")
    one.add_argument("--labels", type=_path, metavar="FILE",
                     help="a word and its tag in a line, an empty line after each text")


_add_inspection = {
    "text": _add_inspected_text,
    "composition": _add_composition,
    "cross": lambda part, name: _add_stack(part, name, ("encoder", "decoder", "cross")),
    "stack": _add_stack,
    "position": lambda part, name: part.add_argument(
        "--position", type=int, metavar="N",
        help="the token to look at, from 0 on (default: the last, the first [MASK], …)"),
    "target": _add_target,
    "top": lambda part, name: part.add_argument(
        "--top", type=_positive, default=10, help="rows to show (default: 10)"),
    "corrupt": lambda part, name: part.add_argument(
        "--corrupt", required=True, metavar="TEXT",
        help="the other text, of the same number of tokens"),
    "kind": _add_kind,
    "head": _add_head,
    "receiver": lambda part, name: part.add_argument(
        "--receiver", metavar="LAYER.HEAD", help="the head that is told (default: the output)"),
    "ablation": lambda part, name: part.add_argument(
        "--kind", default="zero", choices=("zero", "mean", "resample"),
        help="what takes the place of a head's result: 0, its mean, another text's (default: "
             "%(default)s)"),
    "texts": _add_texts,
    "tokens": _add_tokens,
    "learn": _add_learning,
    "layer": lambda part, name: part.add_argument(
        "--layer", type=int, metavar="N",
        help="whose vectors: in a pre-norm model 0 is the embedding, 1 the first block, … "
             "(default: the middle)"),
    "autoencoder": _add_autoencoder,
    "property": _add_property,
}


def _explore(commands):
    parser = _command(
        commands, "explore", "explore:explore",
        "look inside a model in a browser: forward, backward, step by step",
        ["minillm explore                                   # the model that ships with minillm",
         "minillm explore --model runs/book                 # yours, and its checkpoints",
         "minillm explore --model gpt2 --model runs/book    # two, side by side",
         'minillm explore --export page.html "An iterator"  # a page that needs no server',
         'minillm explore --export page.html --view lens --view attention "An iterator"'],
        "\n" + _paragraph(
            "The page is served to this computer only, at an address with a secret token. It asks "
            "nothing of any other computer. The training view trains a copy; no file is changed."),
    )
    parser.add_argument("text", nargs="?", help="the text that the page shows first")
    parser.add_argument("--model", action="append", metavar="MODEL",
                        help="a run folder, a checkpoint's folder or a model's name; repeat it for "
                             "more models (default: pydoc-tiny)")
    parser.add_argument("--port", type=int, help="the port (default: 8600, or any that is free)")
    parser.add_argument("--host", default="127.0.0.1",
                        help="the address to listen at (default: %(default)s, this computer only)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--export", type=_path, metavar="FILE",
                        help="write the page as one HTML file instead of serving it")
    parser.add_argument("--compare", metavar="TEXT", help="with --export: a second text beside it")
    parser.add_argument("--view", action="append", metavar="VIEW",
                        help="with --export: a view to include; repeat it for more (default: all)")
    parser.add_argument("--language", choices=("en", "zh"), default="en",
                        help="with --export: the page's language (default: %(default)s)")


def _serve(commands):
    parser = _command(
        commands, "serve", "serve:serve",
        "serve a model to many clients at once, with the API of OpenAI",
        ["minillm serve                                # the model that ships, at 127.0.0.1:8000",
         "minillm serve --model runs/book --port 8080",
         "minillm serve --model gpt2 --dtype int8 --max-batch 32",
         "MINILLM_API_KEY=secret minillm serve --host 0.0.0.0",
         "curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\",
         """     -d '{"model": "pydoc-small", "prompt": "An iterator", "max_tokens": 20}'"""],
        "\n" + _paragraph(
            "Any OpenAI client works with base_url http://127.0.0.1:8000/v1. Requests join one batch "
            "between two tokens; each gets the text that it would get alone. SIGTERM lets what runs "
            "end, for --grace seconds, and the exit status is 0."),
    )
    parser.add_argument("--model", type=_path, default=WRITING_MODEL, metavar="MODEL",
                        help="a run folder, a checkpoint's folder or a model's name (default: "
                             "%(default)s)")
    parser.add_argument("--name", help="the model's name for clients (default: the folder's)")
    _add_adapter(parser)
    _add_dtype(parser, "fewer bytes are more tokens per second")
    parser.add_argument("--host", default="127.0.0.1",
                        help="the address to listen at (default: %(default)s, this computer only)")
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s; 0: any free)")
    parser.add_argument("--api-key", metavar="KEY",
                        help="what clients have to send; better in the variable MINILLM_API_KEY, "
                             "because every user of this computer sees a command line")
    parser.add_argument("--allow-host", action="append", metavar="NAME",
                        help="a Host header to answer besides this computer's, such as that of a "
                             "proxy; repeat it for more")
    parser.add_argument("--max-batch", type=_positive, default=16, metavar="N",
                        help="how many texts grow at the same time (default: %(default)s)")
    parser.add_argument("--max-waiting", type=_natural, default=64, metavar="N",
                        help="how many more may wait; others get status 429 (default: %(default)s)")
    parser.add_argument("--max-tokens", type=_positive, metavar="N",
                        help="the most new tokens of a text (default: the model's context)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS",
                        help="how long a request may take in all (default: %(default)g)")
    parser.add_argument("--grace", type=float, default=10.0, metavar="SECONDS",
                        help="how long what runs may go on after SIGTERM (default: %(default)g)")


def _experiment(commands):
    parser = commands.add_parser("experiment", help="run one of the experiments of the literature")
    experiments = parser.add_subparsers(metavar="NAME", required=True)
    parser = _command(
        experiments, "length", "experiment:length",
        "train with each kind of positions, then read up to 8 times longer contexts (minutes)",
        ["minillm experiment length",
         "minillm experiment length --kinds rotary alibi --steps 3000",
         "minillm experiment length --resume runs/length-1   # after Ctrl-C or a crash",
         "minillm experiment length --quick                  # a trial run of seconds"],
        "\n" + _paragraph(
            "Every kind is trained on the same batches. All contexts end at the same test tokens, "
            "so a loss that rises with the length of the context shows positions that the model "
            "can't read (Press, Smith and Lewis 2022, fig. 1). A table of learned positions ends "
            "at the trained length."),
    )
    _add_experiment(parser, "length", "--kinds", "KIND",
                    "some of learned, sinusoidal, rotary, alibi, t5, none (default: all)",
                    block_size="the trained length in tokens; contexts of 1, 2, 4 and 8 times this "
                               "are read")
    _add_settings(parser, "model_type",
                  "the architecture: gpt2, llama, mistral, qwen2, qwen3 or apertus",
                  option="--arch", metavar="ARCH")
    parser = _command(
        experiments, "family", "experiment:family",
        "train the decoders of 2017, 2018, 2019 and 2023, and each change between them alone "
        "(ten minutes)",
        ["minillm experiment family",
         "minillm experiment family --variants 2019 2019+swiglu 2023 --seed 1",
         "minillm experiment family --resume runs/family-1   # after Ctrl-C or a crash",
         "minillm experiment family --quick                  # a trial run of seconds"],
        "\n" + _paragraph(
            "Between two years, each change is made alone, on top of the earlier decoder: 2017+gelu, "
            "2017+learned, 2018+pre-norm, 2019+rms-norm, 2019+rotary, 2019+swiglu, 2019+no-bias, "
            "2019+grouped. All read the same batches and have about as many parameters. Repeat "
            "with other seeds before you believe a small difference."),
    )
    _add_experiment(parser, "family", "--variants", "VARIANT",
                    "some of the decoders (default: all)", n_layer=4,
                    block_size="tokens in a window")
    parser = _command(
        experiments, "grokking", "experiment:grokking",
        "train on a part of all additions modulo p, until the model finds the rule, if it does "
        "(five minutes)",
        ["minillm experiment grokking",
         "minillm experiment grokking --prime 97 --held-out 0.7 --steps 6000",
         "minillm experiment grokking --resume runs/grokking-1   # after Ctrl-C or a crash",
         "minillm experiment grokking --quick                    # a trial run of seconds",
         'minillm explore --model runs/grokking-1/grokking/model "12 34 ="'],
        "\n" + _paragraph(
            "The model soon knows the answers that it is trained on, and much later, all at once, "
            "the others (Power et al. 2022; Nanda et al. 2023). Variants: grokking, the settings as "
            "they are; no-decay, without weight decay; more-data, with twice as many questions to "
            "train on. Other settings may need more steps: repeat with other seeds."),
    )
    _add_experiment(parser, "grokking", "--variants", "VARIANT", "some of them (default: all)",
                    n_layer=1, n_embd=64, steps=2500)
    _add_settings(parser, "vocab_size", "the modulus p, an odd number, usually a prime", 59,
                  option="--prime", metavar="P")
    _add_settings(parser, "valid", "the share of the questions to hold out", 0.6,
                  option="--held-out")
    _add_settings(parser, "lr", "the learning rate", 3e-3)
    _add_settings(parser, "weight_decay", "how much weights shrink at each step, in units of the "
                  "learning rate", 3.0)
    _add_memorization(experiments)
    _add_speedrun(experiments)


def _add_speedrun(experiments):
    from minillm.training.speedrun import CHANGES, EXTRAS, TARGET

    parser = _command(
        experiments, "speedrun", "experiment:speedrun",
        "how few steps and seconds to a given loss, and thanks to what? (an hour, or --seeds 1)",
        ["minillm experiment speedrun",
         "minillm experiment speedrun --seeds 1 --variants baseline only-muon all",
         "minillm experiment speedrun --text my_book.txt --target 2.1",
         "minillm experiment speedrun --resume runs/speedrun-1   # after Ctrl-C or a crash",
         "minillm experiment speedrun --quick                    # a trial run of seconds"],
        "\n" + _paragraph(
            "The baseline is nanoGPT's recipe. Each change is made alone on it (only-CHANGE), all are "
            "made together (all), and each is left out of all (without-CHANGE): "
            + ", ".join(CHANGES) + ". " + " and ".join(EXTRAS) + " are made alone, and with all of "
            "these (with-CHANGE); their runs read as many tokens. A run stops at the target. The time of a step is measured at "
            "the end, of all variants in turns: let the machine do nothing else then."),
    )
    parser.add_argument("--resume", metavar="FOLDER", type=_path,
                        help="go on with an experiment; finished runs aren't done again")
    parser.add_argument("--out", type=_path,
                        help="the folder to write (default: runs/speedrun-1, speedrun-2, …)")
    _add_text(parser)
    parser.add_argument("--variants", nargs="+", metavar="VARIANT", help="some (default: all)")
    parser.add_argument("--seeds", type=_positive, default=5, metavar="N",
                        help="runs of each variant (default: %(default)s)")
    parser.add_argument("--target", type=float, default=TARGET, metavar="BITS",
                        help="bits per byte of the held-out text at which a run stops (default: "
                             "%(default)s, where nanoGPT's recipe ends on the default text)")
    parser.add_argument("--quick", action="store_true", help="a trial run of a few seconds")
    _add_settings(parser, "steps", "updates of the weights in a run that misses the target", 450)
    _add_settings(parser, "block_size", "tokens in a window", 64)
    _add_settings(parser, "vocab_size", "size of the vocabulary of the tokenizer", 1024)


def _add_memorization(experiments):
    parser = _command(
        experiments, "memorization", "experiment:memorization",
        "train three widths on a text with secrets in it: what makes a model remember? (two "
        "minutes)",
        ["minillm experiment memorization",
         "minillm experiment memorization --text my_book.txt --canaries 1,10,100",
         "minillm experiment memorization --resume runs/memorization-1  # after Ctrl-C or a crash",
         "minillm experiment memorization --quick                  # a trial run of seconds"],
        "\n" + _paragraph(
            "Made-up secrets stand in the text once, twice, … Exposure says how many bits of each a "
            "model gives away (Carlini et al. 2019): by how often it stands there, how often the "
            "text was read, and the number of parameters. Widths: narrow and middle have a quarter "
            "and a half of --n-embd, wide has all."),
    )
    _add_experiment(parser, "memorization", "--widths", "WIDTH", "some of narrow, middle, wide "
                    "(default: all)", n_layer=2, n_embd=128, steps=1600,
                    block_size="tokens in a window")
    _add_canaries(parser, "1,2,4,8,16,32")
    _add_settings(parser, "weight_decay", "how much weights shrink at each step, in units of the "
                  "learning rate", 0.1)


def _add_experiment(parser, name, option, metavar, explanation, *, block_size=None, n_layer=3,
                    n_embd=96, steps=1000):
    """Add the options that all experiments have. block_size: what it means, for models of text"""
    parser.add_argument("--resume", metavar="FOLDER", type=_path,
                        help="go on with an experiment; what is finished is not trained again")
    parser.add_argument("--out", type=_path,
                        help=f"the folder to write (default: runs/{name}-1, {name}-2, …)")
    if block_size:
        _add_text(parser)
        _add_settings(parser, "block_size", block_size, 64)
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
        _add_settings(parser, setting, meaning, default)


def _prepare(commands):
    parser = _command(
        commands, "prepare", "preparing:prepare_texts",
        "make a corpus of files: clean, filter, deduplicate, mask, split",
        ["minillm prepare texts/ corpus",
         "minillm train --text corpus",
         "minillm prepare wiki.jsonl.zst corpus --filters gopher c4 --languages en de",
         "minillm prepare texts/ corpus --against test_questions.jsonl   # decontaminate",
         "minillm prepare poems/ corpus --filters none --no-mask",
         "minillm prepare texts/ corpus --workers 8                      # the same bytes, sooner"],
        "\n" + _paragraph(
            "Reads .txt, .md, .rst, .jsonl, .csv, .tsv, .html, and these as .gz or .zst. A file that "
            "can't be read is named and skipped. Of equal and nearly equal documents one stays; "
            "alike ones are on one side of the split. Personal data is masked (see: minillm mask "
            "--help). After Ctrl-C or a kill, the same command goes on where it was. HTML, .zst and "
            'other encodings than UTF-8 need: pip install "minillm[prepare]"'),
    )
    parser.add_argument("source", metavar="IN", type=_path, help="a file, or a folder of files")
    parser.add_argument("out", metavar="OUT", type=_path, help="the new folder to write")
    parser.add_argument("--filters", nargs="+", default=["gopher"], metavar="FILTER",
                        help="rules for quality: gopher, c4, or none (default: gopher)")
    parser.add_argument("--languages", nargs="+", metavar="TAG",
                        help="keep only these, such as en zh (default: all)")
    parser.add_argument("--mask", nargs="+", metavar="KIND", type=str.upper,
                        help="kinds of personal data to mask (default: all)")
    parser.add_argument("--no-mask", action="store_true", help="leave personal data in")
    parser.add_argument("--against", metavar="TEST", type=_path,
                        help="drop documents that share 13 words in a row with this file or folder")
    parser.add_argument("--near", type=float, default=0.8, metavar="S",
                        help="the Jaccard similarity from which on documents are nearly the same "
                             "(default: %(default)s)")
    parser.add_argument("--related", type=float, default=0.5, metavar="S",
                        help="the one from which on they are in one split (default: %(default)s)")
    parser.add_argument("--valid", type=float, default=0.05,
                        help="share of the documents to validate on (default: %(default)s)")
    parser.add_argument("--test", type=float, default=0.05,
                        help="share of the documents to test on (default: %(default)s)")
    parser.add_argument("--field", default="text",
                        help="the field of .jsonl and column of .csv (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--strict", action="store_true",
                        help="end with an error at the first file or line that can't be read")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")


def _mask(commands):
    parser = _command(
        commands, "mask", "masking:mask_texts",
        "replace personal data in texts: addresses, numbers, secrets, names",
        ['echo "mira@example.org" | minillm mask',
         "minillm mask letters/ --out masked/",
         "minillm mask --check letters/                     # exit status 1 if there is any",
         "minillm mask --report json letters/               # where, and of which kind",
         "minillm mask --key k.key --out masked.txt letter.txt    # labels that can be restored",
         "minillm mask --key k.key --restore masked.txt",
         "minillm mask --names --model runs/entities-1 letter.txt"],
        "\nkinds: SECRET, CREDENTIALS, IBAN, RESIDENT_ID, CARD, IP, EMAIL, PHONE; with --names "
        "PERSON, PLACE\n\n" + _paragraph(
            "With --key, a value becomes [KIND:letters], the same everywhere, and a map with the "
            "values (KEY.map.json, readable for you alone) brings them back. Whoever has the text "
            "and neither key nor map can't compute or guess a value from its label, but sees which "
            "values are equal. The map isn't encrypted: keep it apart from the text. Patterns find "
            "what has a form. What has none, such as a password in a sentence, stays."),
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", type=_path,
                        help="UTF-8 texts or folders of them (default: read stdin)")
    parser.add_argument("--out", type=_path, help="the file or folder to write (default: stdout)")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", type=str.upper,
                        help="mask only these (default: all that need no model)")
    parser.add_argument("--check", action="store_true",
                        help="write nothing, print where something is; exit status 1 if it is")
    parser.add_argument("--report", choices=("json",),
                        help="write nothing, print places and kinds, without the values")
    parser.add_argument("--key", type=_path, metavar="FILE",
                        help="labels instead of placeholders; the key is made if there is none")
    parser.add_argument("--map", type=_path, metavar="FILE",
                        help="where the labels' values are kept (default: KEY.map.json)")
    parser.add_argument("--restore", action="store_true", help="put the values back")
    parser.add_argument("--names", action="store_true",
                        help="names of persons and places too; says how often the model misses")
    parser.add_argument("--model", type=_path, metavar="RUN",
                        help="a run of `minillm train-task entities`, for --names")


def _audit(commands):
    parser = _command(
        commands, "audit", "auditing:audit_run",
        "measure what a run's model remembers of its training text",
        ["minillm train --text my_letters/ --canaries 1,4,16 --out runs/letters",
         "minillm audit --run runs/letters",
         "minillm audit --run runs/letters --max-auc 0.6 --max-extracted 0.01  # status 1 if over",
         "minillm audit --run runs/letters --reference pydoc-tiny",
         "minillm audit --run runs/letters --canary 'My PIN is {digits:4}' 4711"],
        "\n" + _paragraph(
            "Three measurements on the run's own data. Exposure: how much of a secret that was "
            "inserted into the text (minillm train --canaries) the model gives away, in bits "
            "(Carlini et al. 2019). Extraction: how often it continues its training text word for "
            "word (Carlini et al. 2022). Membership: how well its losses tell training text from "
            "other text (AUC, and TPR at low FPR). They are lower bounds: a better attack may find "
            "more. RUN/audit/ has a page and the numbers."),
    )
    parser.add_argument("--run", type=_path, required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--canary", nargs=2, action="append", metavar=("FORMAT", "SECRET"),
                        help="a secret that the text is known to have; can be repeated")
    parser.add_argument("--reference", type=_path, metavar="MODEL",
                        help="for membership: a model that hasn't seen the text, which shows how "
                             "hard each piece of it is")
    parser.add_argument("--windows", type=_positive, default=1000, metavar="N",
                        help="pieces of text for membership, of each kind (default: %(default)s)")
    parser.add_argument("--samples", type=_positive, default=1000, metavar="N",
                        help="secrets to rank a canary's among (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (default: 0)")
    for name, what in (("auc", "the AUC of an attack"),
                       ("extracted", "the share of recited continuations"),
                       ("exposure", "a canary's exposure, in bits,")):
        parser.add_argument(f"--max-{name}", type=float, metavar="X",
                            help=f"exit with status 1 if {what} is above X")


def _card(commands):
    parser = _command(
        commands, "card", "auditing:card",
        "write the model card of a run anew, with what has been measured since",
        ["minillm card runs/book", "cat runs/book/model/README.md"],
        "\n" + _paragraph("Every finished run has one: intended use, data, settings, metrics, "
                          "cost, and the reports of minillm audit and minillm fairness if there are any "
                          "(Mitchell et al. 2019)."),
    )
    parser.add_argument("run", type=_path, metavar="RUN", help="the run folder")


def _fairness(commands):
    parser = _command(
        commands, "fairness", "fairness:fairness",
        "measure how a model treats groups of people, and try what makes it better",
        ["minillm fairness                                  # the packaged model, in seconds",
         "minillm fairness --model runs/sentiment-1         # also writes RUN/fairness/",
         "minillm fairness --model bert-base-uncased --picture bias.svg --json bias.json",
         "minillm fairness --model MODEL --pairs mine.tsv   # first <tab> second <tab> concept",
         "minillm fairness --mend augment reweight project  # before and after, in two minutes",
         "minillm fairness --mend augment --on text        # a language model: pronouns",
         "minillm fairness --mend augment --data mine.tsv   # text <tab> label <tab> group",
         "minillm fairness --augment book.txt --out both.txt    # a text to train on"],
        "\n" + _paragraph(
            "The probes are those that the model allows: minimal pairs for models that predict "
            "tokens, counterfactual and group gaps for classifiers and FAQs, association tests for "
            "all. A probe shows a bias that it asks for. None shows that there is no bias."),
    )
    parser.add_argument("--model", type=_path, default=DEFAULT_MODEL,
                        help="a run folder, a folder in Hugging Face's format or a name (default: "
                             "%(default)s)")
    parser.add_argument("--pairs", type=_path, metavar="FILE",
                        help="your own pairs instead of the templates, a .tsv or .jsonl")
    parser.add_argument("--texts", type=int, default=40, metavar="N",
                        help="texts that a classifier reads behind each frame (default: 40)")
    parser.add_argument("--languages", nargs="+", choices=("en", "zh"), default=["en", "zh"],
                        help="of pairs and association tests (default: both)")
    parser.add_argument("--mend", nargs="+", choices=("augment", "reweight", "project"),
                        metavar="METHOD", help="train a small model on biased examples, and "
                        "measure bias and quality without and with: %(choices)s")
    parser.add_argument("--on", choices=("labels", "text"), default="labels",
                        help="what --mend trains: a classifier of reviews, or a language model "
                             "(default: labels)")
    parser.add_argument("--data", type=_path, metavar="FILE",
                        help="your examples for --mend, a .tsv or .jsonl with text, label and, if "
                             "you like, group (default: generated ones with a bias)")
    parser.add_argument("--bias", type=float, default=0.9,
                        help="of the generated examples: 0.5 is none (default: 0.9)")
    parser.add_argument("--examples", type=int, default=3000,
                        help="how many to generate (default: 3,000)")
    parser.add_argument("--steps", type=int, default=400,
                        help="of each training (default: 400)")
    parser.add_argument("--kind", choices=("gender", "names", "places", "ages"), default="gender",
                        help="the words that --mend and --augment swap (default: gender)")
    parser.add_argument("--augment", type=_path, metavar="FILE",
                        help="write this text and its counterfactuals to --out, to train on")
    parser.add_argument("--out", type=_path, metavar="FILE", help="what --augment writes")
    parser.add_argument("--picture", type=_path, metavar="FILE", help="write a .png or .svg")
    parser.add_argument("--json", type=_path, metavar="FILE", help="write all numbers")
    parser.add_argument("--seed", type=int, default=0, help="of intervals and trainings")


def _cost(commands):
    parser = _command(
        commands, "cost", "cost:cost",
        "say what training and generating cost, before they run: operations, memory, time, energy",
        ["minillm cost --n-layer 6 --n-embd 192            # the sizes of minillm train",
         "minillm cost --config config.json --batch-size 4",
         "minillm cost --model pydoc-tiny",
         "minillm cost --task sentiment                    # or --text FILE, --demo, --run RUN",
         "minillm cost --config config.json --flops-per-second 1e13 --watts 300 --co2 400",
         "minillm cost plan --hours 8                      # how large a model, on how many tokens",
         "minillm cost plan --flops 1e18",
         "minillm cost plan --data 1e8",
         "minillm cost scale --model gpt2-xl --flops-per-second 1e14     # on 8 to 1,024 machines",
         "minillm cost scale --params 7e9 --flops-per-second 1e15 --network 10Gbit --local-steps 500",
         "minillm cost scale --model gpt2 --scaling strong --batch-size 1024 --compare"],
        "\n" + _paragraph(
            "Operations, bytes and memory are formulas of the configuration. Time is measured on "
            "this machine, by models of one and of three layers of the same shape, in seconds; what was "
            "measured is remembered in ~/.cache/minillm. Energy is measured where the processor's "
            "counters (RAPL) are readable, and otherwise an estimate."),
    )
    parser.add_argument("what", nargs="?", choices=("plan", "scale"),
                        help="plan: a compute-optimal model size and number of tokens "
                             "(Hoffmann et al. 2022); scale: a step on many machines")
    parser.add_argument("--config", metavar="FILE", type=_path, help="a config.json")
    parser.add_argument("--model", type=_path, help="a run folder, a directory or a name")
    parser.add_argument("--run", type=_path, help="a run folder: its settings, and its own batches")
    parser.add_argument("--task", metavar="NAME", help="a task of train-task, with its defaults")
    parser.add_argument("--text", type=_path, help="a text, as for minillm train")
    parser.add_argument("--demo", action="store_true", help="what minillm demo trains")
    parser.add_argument("--calibrate", action="store_true",
                        help="measure this machine again, whatever is remembered")
    parser.add_argument("--flops-per-second", type=float, metavar="N",
                        help="take this rate, of another machine, and measure nothing")
    parser.add_argument("--watts", type=float, help="the power to count with")
    parser.add_argument("--co2", type=float, metavar="GRAMS",
                        help="grams of CO₂ for a kWh, where your electricity comes from")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    parser.add_argument("--flops", type=float, help="plan: the operations that may be spent")
    parser.add_argument("--hours", type=float, help="plan: the hours on this machine")
    parser.add_argument("--data", type=float, metavar="TOKENS", help="plan: the tokens you have")
    _add_scale(parser)
    _add_sizes(parser, "the architecture, such as gpt2, llama, bert or transformer")
    for name, explanation in (("block_size", "context in tokens"),
                              ("batch_size", "sequences per batch"),
                              ("grad_accum", "batches per step"),
                              ("steps", "updates of the weights")):
        _add_settings(parser, name, explanation)
    _add_recompute(parser)


def _add_scale(parser):
    """Add the options of `minillm cost scale`; `of_scale` of the Namespace lists those given."""
    group = parser.add_argument_group("scale", _paragraph(
        "A step of data-parallel training, simulated: each machine computes the gradients of its "
        "own batch, and buckets of them are summed over the network while the backward goes on. "
        "--flops-per-second is what a machine really does (default: this machine's rate of "
        "products). --model also takes gpt2, gpt2-medium, gpt2-large and gpt2-xl, of which nothing "
        "is downloaded. Weak scaling: --batch-size is that of each machine (default: 8). Strong: "
        "it is that of all together."))

    class Given(argparse.Action):
        def __call__(self, _, namespace, value, option=None):
            setattr(namespace, self.dest, value if self.nargs != 0 else True)
            namespace.of_scale = [*namespace.of_scale, self.dest.replace("_", "-")]

    def add(name, **options):
        group.add_argument(name, action=Given, **options)

    parser.set_defaults(of_scale=[])
    add("--params", type=float, metavar="N", help="a model of which only the size is known")
    add("--nodes", type=_positive, nargs="+", metavar="N",
        default=[8, 16, 32, 64, 128, 256, 512, 1024], help="machines (default: 8 to 1024)")
    add("--network", nargs="+", metavar="RATE", default=["10Gbit", "100Gbit"],
        help="of each machine, with or without a latency: 10Gbit, 100Gbit/5us (default: 10Gbit "
             "100Gbit, of 20us)")
    add("--scaling", choices=("weak", "strong"), default="weak", help="(default: weak)")
    add("--algorithm", choices=("best", "ring", "tree", "halving"), default="best",
        help="of the all-reduce (default: the fastest for each bucket)")
    add("--bucket", type=float, metavar="MB", default=25.0,
        help="gradients that travel together (default: 25)")
    add("--no-overlap", nargs=0, default=False, help="send when the backward is over")
    add("--shard-optimizer", nargs=0, default=False, help="ZeRO-1: each machine updates its share")
    add("--compress", metavar="HOW", default="none",
        help="gradients: none, bfloat16, int8 or topk:SHARE (default: none)")
    add("--local-steps", type=_positive, metavar="H", default=1,
        help="DiLoCo: steps of each machine on its own, between two means of all")
    add("--jitter", type=float, metavar="SHARE", default=0.0,
        help="standard deviation of a machine's time, as a share of it: all wait for the slowest")
    add("--critical-batch", type=float, metavar="TOKENS",
        help="also tell how much sooner a loss is reached: tokens a step from which on more are "
             "wasted (McCandlish et al. 2018), such as 1e6 for a loss of 3")
    add("--compare", nargs=0, default=False,
        help="the efficiency of all kinds of compression, larger batches and local steps")
    add("--picture", type=_path, metavar="FILE", help="write a .png or .svg")


def _bench(commands):
    # The benchmark is in the source tree and has its own parser. As no character starts an option
    # here ("\0"), the rest of the command line, `--help` included, is passed on to it unchanged.
    parser = commands.add_parser("bench", help="measure the speed of everything (in a checkout)",
                                 add_help=False, prefix_chars="\0")
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(command=lambda options: _call("bench:bench", options))


def _info(commands):
    _command(
        commands, "info", "information:info", "show which kernels run here, and on which machine",
        ["minillm info", "MINILLM_KERNELS=numpy minillm info", "MINILLM_ISA=avx2 minillm info"],
    )


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number over 0")
    return seconds


def _positive(text):
    """-> an integer from 1 on"""
    return _integer(text, 1)


def _natural(text):
    """-> an integer from 0 on"""
    return _integer(text, 0)


def _integer(text, least):
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer from {least} on")
    return value


def _path(text):
    """-> a file, folder or model, with ~ expanded. An empty one is an unset shell variable."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    if not text.startswith("~"):
        return text
    try:
        return str(expand(text))
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _option(name):
    return f"--{name.replace('_', '-')}"


def _paragraph(text):
    return textwrap.fill(text, width=80) + "\n"


def _add_model(parser, default=DEFAULT_MODEL):
    parser.add_argument("--model", type=_path, default=default,
                        help="a run folder, a directory or a name (default: %(default)s)")


def _add_adapter(parser):
    parser.add_argument("--adapter", type=_path, metavar="DIR",
                        help="a LoRA adapter for the model: the folder of adapter_config.json, or a "
                             "run folder")


def _add_dtype(parser, why):
    parser.add_argument("--dtype", choices=DTYPES, default="float32",
                        help=f"the format of the weights; {why} (default: %(default)s)")


def _add_text(parser):
    parser.add_argument("--text", type=_path,
                        help="a UTF-8 text file or a folder of them (default: the topics of "
                             "Python's help(), real English that every CPython carries)")


def _add_canaries(parser, default=None):
    _add_settings(parser, "canaries",
                  "insert made-up secrets into the training text, for `minillm audit`: numbers of "
                  "times, such as 1,4,16 (four secrets each), or a file with a number and a format "
                  "in each line, such as '8 The PIN is {digits:4}'", default, type=_path,
                  metavar="TIMES|FILE")


def _add_sizes(parser, architectures, model_type=None):
    """Add the options that say what a new model is like."""
    _add_settings(parser, "tokenizer", "a tokenizer to use: a directory, a run, a name "
                                       "(default: train one)")
    _add_settings(parser, "vocab_size", "size of the vocabulary of a new tokenizer")
    _add_settings(parser, "model_type", architectures, model_type, option="--arch", metavar="ARCH")
    _add_settings(parser, "n_layer", "number of blocks")
    _add_settings(parser, "n_head", "attention heads per block")
    _add_settings(parser, "n_kv_head", "heads of keys and values, which query heads share; not for "
                                       "gpt2 (default: n_head)", type=int)
    _add_settings(parser, "n_embd", "width of the model")
    _add_settings(parser, "position_embedding",
                  "how the model knows the order of its tokens: learned, sinusoidal, rotary, alibi, "
                  "t5 or none (default: as in the architecture's paper)",
                  option="--positions", metavar="KIND", type=str)


def _add_finetuning(parser):
    """Add the options for training only a part of a pretrained model, or parts at other rates."""
    _add_settings(parser, "lora_rank", "train LoRA updates of this rank in place of the weights: "
                                       "model/ gets them merged, adapter/ alone", type=int)
    _add_settings(parser, "lora_alpha", "their scale, times the rank (default: twice the rank)",
                  type=float)
    _add_settings(parser, "lora_dropout", "of the updates' inputs")
    _add_settings(parser, "lora_targets", "the modules with updates, by names or ends of names with "
                                          "commas between them, such as q_proj,v_proj")
    _add_settings(parser, "freeze", "keep the lowest layers as they are: 'embeddings', or a number "
                                    "of blocks, and the embeddings", type=str, metavar="LAYERS")
    _add_settings(parser, "layer_lr_decay", "learning rate of a layer, as a share of that of the "
                                            "layer above it")


def _add_training(parser, name="train", **defaults):
    """Add the options that training a new model and fine-tuning share."""
    parser.add_argument("--out", type=_path,
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
        _add_settings(parser, name, explanation, defaults.get(name))
    _add_recompute(parser)
    _add_privacy(parser)
    _add_parallel(parser)


def _add_warmups(parser):
    """Add the options for small steps at the start of a run on text."""
    _add_settings(parser, "length_warmup", "steps at the start in which windows grow, from 8 tokens "
                                           "to --block-size")
    _add_settings(parser, "batch_warmup", "steps at the start in which batches grow, from a quarter "
                                          "of --batch-size")


def _add_parallel(parser):
    """Add the options of training on several processes."""
    group = parser.add_argument_group("several processes", _paragraph(
        "mpirun -n 4 minillm … trains on four processes, ranks, on one machine or many (MPICH or "
        "Open MPI; pip install \"minillm[mpi]\"). Each computes the gradients of its share of a "
        "step's --grad-accum batches. Every number is bit for bit that of one process with the "
        "same --grad-accum, and --resume works on any number of ranks. Rank 0 reads the data and "
        "writes the run. A rank uses its share of the machine's cores, or OMP_NUM_THREADS."))
    group.add_argument("--shard-optimizer", action="store_true",
                       help="each rank keeps the optimizer's moments of a share of the parameters "
                            "only, which saves memory (ZeRO-1); the numbers are the same")
    group.add_argument("--rank-timeout", type=_seconds, default=60.0, metavar="SECONDS",
                       help="end all ranks when one has done nothing for so long (default: 60); "
                            "one that dies is noticed at once")
    parser.set_defaults(trains=True)


def _add_recompute(parser):
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction,
                        default=argparse.SUPPRESS,
                        help="keep only the input of each block, and compute the rest again in the "
                             "backward: much less memory, up to a third more time, the same "
                             "results bit for bit (gradient checkpointing; default: off)")
    parser.set_defaults(setting_defaults={**(parser.get_default("setting_defaults") or {}),
                                          "recompute": False})


def _add_privacy(parser):
    """Add the options of differential privacy."""
    group = parser.add_argument_group("differential privacy", _paragraph(
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
        _add_settings(group, name, explanation, **changes)


def _add_settings(parser, name, explanation, default=None, option=None, **changes):
    """Add an option for one field of Settings. The Namespace has it only if the user sets it."""
    field = {field.name: field for field in fields(Settings)}[name]
    default = field.default if default is None else default
    if default is not None:
        shown = default if isinstance(default, str) else f"{default:g}"
        explanation += f" (default: {parser.get_default('whose_defaults') or shown})"
    parser.add_argument(option or _option(name), dest=name, default=argparse.SUPPRESS, **{
        "type": type(default) if default is not None else _path, "help": explanation, **changes})
    parser.set_defaults(setting_defaults={**(parser.get_default("setting_defaults") or {}),
                                          name: default})


def given_settings(options):
    """-> {name: value} of the Settings that the command line of `train` or `finetune` sets"""
    return {name: value for name, value in vars(options).items()
            if name in options.setting_defaults}


def settings_from(options):
    """-> Settings from the options of `train` or `finetune`"""
    model = getattr(options, "model", None)
    chosen = {**options.setting_defaults, **given_settings(options)}
    if chosen.get("model_type") == "bert" or any(
            chosen[name] is not None for name in ("dp_epsilon", "dp_noise")):
        usual = {name: getattr(Settings, name) for name in FAST}
        chosen = {**chosen, **usual, **given_settings(options)}
    return Settings(**{**chosen, "text": options.text, "model": model})
