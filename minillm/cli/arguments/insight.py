"""Commands that look inside a model: inspect, explore."""

import argparse

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import add_model
from minillm.cli.arguments.values import natural, path, positive

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
    "ablate": ("what the answer loses without each head and layer, in three ways, and the "
               "estimates",
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


def inspect(commands):
    parser = commands.add_parser("inspect", help="look inside a model: heads, lenses, patches, …")
    parts = parser.add_subparsers(metavar="WHAT", required=True)
    for name, (description, groups, examples) in INSPECTIONS.items():
        module = next(module for module, names in INSPECTING.items() if name in names)
        function = f"inspecting.{module}:inspect_{name.replace('-', '_')}"
        part = command(parts, name, function, description,
                       [f"minillm inspect {name} {example}" for example in examples])
        add_model(part)
        for group in groups:
            _add_inspection[group](part, name)
        part.set_defaults(needs_target="target" in groups)
        part.add_argument("--picture", type=path, metavar="FILE", help="write a .png or .svg")
        part.add_argument("--json", type=path, metavar="FILE", help="write all numbers")
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
    part.add_argument("--text-file", type=path, metavar="FILE",
                      help="a UTF-8 text file or a folder, for other texts (default: the run's "
                           "own, or the topics of Python's help())")
    part.add_argument("--seed", type=natural, default=0, help="of all randomness (default: 0)")


def _add_tokens(part, name):
    part.add_argument("--tokens", type=positive, default=LEARNING[name][0], metavar="N",
                      help="tokens of text to read (default: %(default)s)")


def _add_learning(part, name):
    _add_texts(part, name)
    _add_tokens(part, name)
    _, steps, batch, lr = LEARNING[name]
    part.add_argument("--steps", type=positive, default=steps,
                      help="updates of the weights (default: %(default)s)")
    part.add_argument("--batch-size", type=positive, default=batch, metavar="N",
                      help="tokens in a batch (default: %(default)s)")
    part.add_argument("--lr", type=float, default=lr, help="learning rate (default: %(default)s)")
    part.add_argument("--save", type=path, metavar="FILE",
                      help="write what is trained as a .safetensors file")
    part.add_argument("--load", type=path, metavar="FILE",
                      help="read what --save has written, instead of training")


def _add_autoencoder(part, name):
    part.add_argument("--features", type=positive, metavar="N",
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
    one.add_argument("--labels", type=path, metavar="FILE",
                     help="a word and its tag in a line, an empty line after each text")


_add_inspection = {  # group of options in INSPECTIONS -> what adds it to the parser of `name`
    "text": _add_inspected_text,
    "composition": _add_composition,
    "cross": lambda part, name: _add_stack(part, name, ("encoder", "decoder", "cross")),
    "stack": _add_stack,
    "position": lambda part, name: part.add_argument(
        "--position", type=int, metavar="N",
        help="the token to look at, from 0 on (default: the last, the first [MASK], …)"),
    "target": _add_target,
    "top": lambda part, name: part.add_argument(
        "--top", type=positive, default=10, help="rows to show (default: 10)"),
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


def explore(commands):
    parser = command(
        commands, "explore", "explore:explore",
        "look inside a model in a browser: forward, backward, step by step",
        ["minillm explore                                   # the model that ships with minillm",
         "minillm explore --model runs/book                 # yours, and its checkpoints",
         "minillm explore --model gpt2 --model runs/book    # two, side by side",
         'minillm explore --export page.html "An iterator"  # a page that needs no server',
         'minillm explore --export page.html --view lens --view attention "An iterator"'],
        "\n" + paragraph(
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
    parser.add_argument("--export", type=path, metavar="FILE",
                        help="write the page as one HTML file instead of serving it")
    parser.add_argument("--compare", metavar="TEXT", help="with --export: a second text beside it")
    parser.add_argument("--view", action="append", metavar="VIEW",
                        help="with --export: a view to include; repeat it for more (default: all)")
    parser.add_argument("--language", choices=("en", "zh"), default="en",
                        help="with --export: the page's language (default: %(default)s)")
