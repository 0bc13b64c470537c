"""Commands for tasks: train-task, predict, similar."""

from minillm.cli.arguments.command import command, paragraph
from minillm.cli.arguments.settings import add_finetuning, add_setting, add_sizes, add_training
from minillm.cli.arguments.values import path
from minillm.training.task import LABELLED


def train_task(commands):
    parser = command(
        commands, "train-task", "tasks:train_task",
        "train a model for a task with labels (minutes), on generated examples or your own",
        ["minillm train-task                              # the tasks",
         "minillm train-task sentiment",
         "minillm train-task sentiment --data my_reviews.tsv --out runs/reviews",
         "minillm train-task topics --model my_bert --lr 1e-4",
         "minillm train-task topics --model my_bert --lora-rank 8 --lr 2e-3",
         "minillm train --resume runs/sentiment-1         # after Ctrl-C, as for any run"],
        "\ntasks:\n" + "".join(f"  {name:<14}{title}\n" for name, title in LABELLED.items())
        + "\n" + paragraph(
            "--data is a .jsonl file, one example in a line, a .tsv file, or a folder with train, "
            "valid and test files of these kinds. The metrics are those of the test examples, with "
            "95 % intervals, beside a baseline's. Without --data, the examples are generated, and "
            "their scores say nothing about texts from elsewhere."),
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the task (default: list them)")
    parser.add_argument("--data", type=path, help="your examples (default: generate them)")
    parser.add_argument("--model", type=path,
                        help="a pretrained model to fine-tune: a run folder, a directory or a name "
                             "(default: a new one)")
    add_finetuning(parser)
    parser.set_defaults(whose_defaults="the task's")
    add_setting(parser, "examples", "number of examples to generate (default: the task's)",
                type=int)
    add_sizes(parser, "the architecture, such as bert, gpt2 or transformer")
    add_training(parser, "NAME")


def predict(commands):
    parser = command(
        commands, "predict", "tasks:predict", "let a trained model do its task",
        ['minillm predict --model runs/sentiment-1 "not bad at all"',
         'minillm predict --task topics --model my_checkpoint "the match was lost"',
         "minillm predict --model runs/sentiment-1 --json < my_reviews.txt",
         "minillm predict --model runs/sentiment-1 --input my_reviews.tsv",
         'minillm predict --model runs/descriptions-1 --temperature 0.7 --seed 1 "type=chair"',
         'minillm predict --model runs/translation-1 --num-beams 4 "<zh> three hundred"'],
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT",
                        help="texts, one prediction each; or, for a task that needs several, the "
                             "texts of one example (default: the lines of stdin)")
    parser.add_argument("--task", help="the task, where --model is no run folder that names it")
    parser.add_argument("--model", type=path, required=True,
                        help="a run folder of train-task, a directory or a name")
    parser.add_argument("--input", type=path, metavar="FILE", help="a .jsonl or .tsv file of texts")
    parser.add_argument("--json", action="store_true",
                        help="print each example and its prediction as a line of JSON")
    parser.add_argument("--temperature", type=float,
                        help="sample, for a task that writes to order: below 1 more predictable, "
                             "above 1 more random (default: take the likeliest token)")
    parser.add_argument("--top-p", type=float,
                        help="sample from the likeliest tokens that together have this probability")
    parser.add_argument("--seed", type=int, help="of the sampling: the same seed, the same text")
    parser.add_argument("--num-beams", "--beams", type=int,
                        help="beams of a beam search, for a task that writes (default: none, take "
                             "the likeliest token)")


def similar(commands):
    parser = command(
        commands, "similar", "similar:similar", "find the lines of a file that are close to a text",
        ['minillm similar --model runs/faq-1 "my box is overdue" questions.txt',
         'minillm similar --model all-MiniLM-L6-v2 -k 3 "how to brew tea" recipes.txt',
         'minillm similar --model pydoc-tiny --pooling last "a loop over items" notes.txt'],
        "\n" + paragraph(
            "The model turns each line into a vector, and the cosine to the text's vector is the "
            "score. A folder of sentence-transformers says how; of any other model, the mean over "
            "the tokens is taken. Models that weren't trained for it find little."),
    )
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("file", metavar="FILE", type=path, help="a UTF-8 text, a sentence a line")
    parser.add_argument("--model", type=path, required=True,
                        help="a run folder of train-task faq, a directory or a name")
    parser.add_argument("--top", "-k", type=int, default=5, metavar="K",
                        help="how many lines to show (default: %(default)s)")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"),
                        help="from vectors of tokens to one (default: what the model's files say)")
