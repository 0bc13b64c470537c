"""Commands of the course: course, worked-example, step."""

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import add_model
from minillm.cli.arguments.values import path


def course(commands):
    parser = command(
        commands, "course", "course:list_chapters",
        "list the chapters of the course, run one, check your solutions",
        ["minillm course                            # the chapters, and what they teach",
         "minillm course run 01                     # run one; prints outputs, names its figures",
         "minillm course run 01 --all               # with its text and code",
         "minillm course check 01 my_solutions.py   # which exercises are right, and if not, why",
         "minillm course copy my_course             # a copy to open in Jupyter or VS Code"],
    )
    parts = parser.add_subparsers(metavar="ACTION")
    run = command(parts, "run", "course:run", "run all cells of a chapter",
                  ["minillm course run 03", "minillm course run 03 --all --out figures"])
    _add_chapter(run)
    run.add_argument("--all", action="store_true", help="show the text and the code too")
    run.add_argument("--out", type=path, help="the folder for the figures (default: a new one)")
    run.add_argument("--write", action="store_true",
                     help="write the figures beside the chapter, where its Markdown shows them")
    check = command(parts, "check", "course:check", "check your solutions of a chapter's exercises",
                    ["minillm course check 03 my_solutions.py"],
                    "\nThe file defines each answer under the name that the exercise gives it. "
                    "Exit status 0: all right.\n")
    _add_chapter(check)
    check.add_argument("file", metavar="FILE", type=path, help="Python code with your answers")
    copy = command(parts, "copy", "course:copy", "copy the chapters to a new folder",
                   ["minillm course copy my_course"])
    copy.add_argument("folder", metavar="FOLDER", type=path, help="the new folder")


def _add_chapter(parser):
    parser.add_argument("chapter", metavar="CHAPTER", help="its number, such as 03")


def worked_example(commands):
    parser = command(
        commands, "worked-example", "worked_example:worked_example",
        "compute attention step by step, every matrix with its formula",
        ["minillm worked-example                         # three words of ten numbers",
         "minillm worked-example --words 我 喜欢 苹果 --steps",
         "minillm worked-example --words the cat sat on the mat --d 8 --heads 2 --causal",
         "minillm worked-example --backward              # and every gradient, checked",
         "minillm worked-example --backward --markdown attention.md --png attention.png",
         "minillm worked-example --input my_matrices.json"],
        "\n" + paragraph(
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
    parser.add_argument("--input", type=path, metavar="FILE.json",
                        help="take Q, K and V from a file, see below")
    parser.add_argument("--backward", action="store_true",
                        help="go on through every gradient of ½ Σ out², each beside its finite "
                             "differences")
    parser.add_argument("--steps", action="store_true",
                        help="wait for Enter after each step")
    for name in ("latex", "markdown"):
        parser.add_argument(f"--{name}", nargs="?", const="-", type=path, metavar="FILE",
                            help=f"write {'LaTeX' if name == 'latex' else 'Markdown'} to FILE "
                                 "instead (default: to standard output)")
    parser.add_argument("--png", nargs="?", const="worked-example.png", type=path, metavar="FILE",
                        help="draw all steps as a picture (default: %(const)s)")


def step(commands):
    parser = command(
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
    add_model(parser)
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
