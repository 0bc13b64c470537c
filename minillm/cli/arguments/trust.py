"""Commands that protect people in texts and measure harm: mask, audit, card, fairness."""

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import DEFAULT_MODEL
from minillm.cli.arguments.values import path, positive


def mask(commands):
    parser = command(
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
        "PERSON, PLACE\n\n" + paragraph(
            "With --key, a value becomes [KIND:letters], the same everywhere, and a map with the "
            "values (KEY.map.json, readable for you alone) brings them back. Whoever has the text "
            "and neither key nor map can't compute or guess a value from its label, but sees which "
            "values are equal. The map isn't encrypted: keep it apart from the text. Patterns find "
            "what has a form. What has none, such as a password in a sentence, stays."),
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", type=path,
                        help="UTF-8 texts or folders of them (default: read stdin)")
    parser.add_argument("--out", type=path, help="the file or folder to write (default: stdout)")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", type=str.upper,
                        help="mask only these (default: all that need no model)")
    parser.add_argument("--check", action="store_true",
                        help="write nothing, print where something is; exit status 1 if it is")
    parser.add_argument("--report", choices=("json",),
                        help="write nothing, print places and kinds, without the values")
    parser.add_argument("--key", type=path, metavar="FILE",
                        help="labels instead of placeholders; the key is made if there is none")
    parser.add_argument("--map", type=path, metavar="FILE",
                        help="where the labels' values are kept (default: KEY.map.json)")
    parser.add_argument("--restore", action="store_true", help="put the values back")
    parser.add_argument("--names", action="store_true",
                        help="names of persons and places too; says how often the model misses")
    parser.add_argument("--model", type=path, metavar="RUN",
                        help="a run of `minillm train-task entities`, for --names")


def audit(commands):
    parser = command(
        commands, "audit", "auditing:audit_run",
        "measure what a run's model remembers of its training text",
        ["minillm train --text my_letters/ --canaries 1,4,16 --out runs/letters",
         "minillm audit --run runs/letters",
         "minillm audit --run runs/letters --max-auc 0.6 --max-extracted 0.01  # status 1 if over",
         "minillm audit --run runs/letters --reference pydoc-tiny",
         "minillm audit --run runs/letters --canary 'My PIN is {digits:4}' 4711"],
        "\n" + paragraph(
            "Three measurements on the run's own data. Exposure: how much of a secret that was "
            "inserted into the text (minillm train --canaries) the model gives away, in bits "
            "(Carlini et al. 2019). Extraction: how often it continues its training text word for "
            "word (Carlini et al. 2022). Membership: how well its losses tell training text from "
            "other text (AUC, and TPR at low FPR). They are lower bounds: a better attack may find "
            "more. RUN/audit/ has a page and the numbers."),
    )
    parser.add_argument("--run", type=path, required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--canary", nargs=2, action="append", metavar=("FORMAT", "SECRET"),
                        help="a secret that the text is known to have; can be repeated")
    parser.add_argument("--reference", type=path, metavar="MODEL",
                        help="for membership: a model that hasn't seen the text, which shows how "
                             "hard each piece of it is")
    parser.add_argument("--windows", type=positive, default=1000, metavar="N",
                        help="pieces of text for membership, of each kind (default: %(default)s)")
    parser.add_argument("--samples", type=positive, default=1000, metavar="N",
                        help="secrets to rank a canary's among (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (default: 0)")
    for name, what in (("auc", "the AUC of an attack"),
                       ("extracted", "the share of recited continuations"),
                       ("exposure", "a canary's exposure, in bits,")):
        parser.add_argument(f"--max-{name}", type=float, metavar="X",
                            help=f"exit with status 1 if {what} is above X")


def card(commands):
    parser = command(
        commands, "card", "auditing:card",
        "write the model card of a run anew, with what has been measured since",
        ["minillm card runs/book", "cat runs/book/model/README.md"],
        "\n" + paragraph("Every finished run has one: intended use, data, settings, metrics, "
                         "cost, and the reports of minillm audit and minillm fairness if there are "
                         "any (Mitchell et al. 2019)."),
    )
    parser.add_argument("run", type=path, metavar="RUN", help="the run folder")


def fairness(commands):
    parser = command(
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
        "\n" + paragraph(
            "The probes are those that the model allows: minimal pairs for models that predict "
            "tokens, counterfactual and group gaps for classifiers and FAQs, association tests for "
            "all. A probe shows a bias that it asks for. None shows that there is no bias."),
    )
    parser.add_argument("--model", type=path, default=DEFAULT_MODEL,
                        help="a run folder, a folder in Hugging Face's format or a name (default: "
                             "%(default)s)")
    parser.add_argument("--pairs", type=path, metavar="FILE",
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
    parser.add_argument("--data", type=path, metavar="FILE",
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
    parser.add_argument("--augment", type=path, metavar="FILE",
                        help="write this text and its counterfactuals to --out, to train on")
    parser.add_argument("--out", type=path, metavar="FILE", help="what --augment writes")
    parser.add_argument("--picture", type=path, metavar="FILE", help="write a .png or .svg")
    parser.add_argument("--json", type=path, metavar="FILE", help="write all numbers")
    parser.add_argument("--seed", type=int, default=0, help="of intervals and trainings")
