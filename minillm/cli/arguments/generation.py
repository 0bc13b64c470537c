"""Commands that let a model predict text: generate, fill, eval, serve."""

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.options import WRITING_MODEL, add_adapter, add_dtype, add_model
from minillm.cli.arguments.values import natural, path, positive


def generate(commands):
    parser = command(
        commands, "generate", "generation:generate", "continue a text",
        ['minillm generate "The assignment statement"',
         'minillm generate --model runs/demo-1 --temperature 0.7 --seed 1 "A class is"',
         'minillm generate --model gpt2 --num-beams 4 "In the beginning"',
         'minillm generate --model gpt2 --dtype int8 "In the beginning"',
         'minillm generate --model gpt2 --dtype int4 "In the beginning"    '
         '# a seventh of the memory',
         'minillm generate --stop "." --greedy "The class"',
         'minillm generate --greedy --prompt-lookup 10 --stats "The class"',
         'minillm generate --model gpt2 --adapter my_adapter "In the beginning"',
         "echo 'An iterator' | minillm generate"],
    )
    parser.add_argument("prompt", nargs="?", help="the text to continue (default: read stdin)")
    add_model(parser, WRITING_MODEL)
    add_adapter(parser)
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
    parser.add_argument("--draft", type=path, metavar="MODEL",
                        help="faster, with the same distribution: let a small model with the same "
                             "tokenizer draft the next tokens, and verify them together")
    parser.add_argument("--stats", action="store_true",
                        help="print how many drafted tokens were accepted, and the speed, to "
                             "stderr")
    add_dtype(parser, "bfloat16, int8 and int4 take about a half, a quarter and a seventh of the "
                      "memory, and less time")


def fill(commands):
    parser = command(
        commands, "fill", "filling:fill", "fill in the [MASK]s of a text with a BERT",
        ['minillm fill --model runs/train-1 "The [MASK] statement"',
         'minillm fill --model my_bert --top 10 "a [MASK] of the [MASK]"'],
        "\n" + paragraph("minillm train --arch bert trains such a model."),
    )
    parser.add_argument("prompt", nargs="?", metavar="TEXT", help="the text (default: read stdin)")
    parser.add_argument("--model", type=path, required=True,
                        help="a run folder, a directory or a name")
    parser.add_argument("--top", type=int, default=5,
                        help="candidates for each mask (default: %(default)s)")


def evaluate(commands):
    parser = command(
        commands, "eval", "evaluation:evaluate", "measure how well a model predicts a text",
        ["minillm eval --model runs/demo-1              # on the run's own held-out text",
         "minillm eval --model pydoc-tiny --text my_notes.txt",
         "minillm eval --model my_bert --text my_notes.txt   # how well it fills in masks"],
    )
    add_model(parser)
    add_adapter(parser)
    parser.add_argument("--text", type=path, help="a text file or a folder of them")
    parser.add_argument("--block-size", type=int,
                        help="context in tokens (default: the model's maximum, at most 1024)")
    add_dtype(parser, "bfloat16, int8 and int4 show what they cost in accuracy")


def serve(commands):
    parser = command(
        commands, "serve", "serve:serve",
        "serve a model to many clients at once, with the API of OpenAI",
        ["minillm serve                                # the model that ships, at 127.0.0.1:8000",
         "minillm serve --model runs/book --port 8080",
         "minillm serve --model gpt2 --dtype int8 --max-batch 32",
         "MINILLM_API_KEY=secret minillm serve --host 0.0.0.0",
         "curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\",
         """     -d '{"model": "pydoc-small", "prompt": "An iterator", "max_tokens": 20}'"""],
        "\n" + paragraph(
            "Any OpenAI client works with base_url http://127.0.0.1:8000/v1. Requests join one "
            "batch between two tokens; each gets the text that it would get alone. SIGTERM lets "
            "what runs end, for --grace seconds, and the exit status is 0."),
    )
    parser.add_argument("--model", type=path, default=WRITING_MODEL, metavar="MODEL",
                        help="a run folder, a checkpoint's folder or a model's name (default: "
                             "%(default)s)")
    parser.add_argument("--name", help="the model's name for clients (default: the folder's)")
    add_adapter(parser)
    add_dtype(parser, "fewer bytes are more tokens per second")
    parser.add_argument("--host", default="127.0.0.1",
                        help="the address to listen at (default: %(default)s, this computer only)")
    parser.add_argument("--port", type=int, default=8000,
                        help="(default: %(default)s; 0: any free)")
    parser.add_argument("--api-key", metavar="KEY",
                        help="what clients have to send; better in the variable MINILLM_API_KEY, "
                             "because every user of this computer sees a command line")
    parser.add_argument("--allow-host", action="append", metavar="NAME",
                        help="a Host header to answer besides this computer's, such as that of a "
                             "proxy; repeat it for more")
    parser.add_argument("--max-batch", type=positive, default=16, metavar="N",
                        help="how many texts grow at the same time (default: %(default)s)")
    parser.add_argument("--max-waiting", type=natural, default=64, metavar="N",
                        help="how many more may wait; others get status 429 (default: %(default)s)")
    parser.add_argument("--max-tokens", type=positive, metavar="N",
                        help="the most new tokens of a text (default: the model's context)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS",
                        help="how long a request may take in all (default: %(default)g)")
    parser.add_argument("--grace", type=float, default=10.0, metavar="SECONDS",
                        help="how long what runs may go on after SIGTERM (default: %(default)g)")
