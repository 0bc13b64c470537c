"""`minillm fill`: what a BERT would write in the place of each mask."""

from minillm.cli.generation import read_stdin
from minillm.cli.opening import open_trained
from minillm.cli.terminal import table
from minillm.generation.fill_mask import fill_mask
from minillm.models.auto import AutoModelForMaskedLM
from minillm.text.auto import AutoTokenizer
from minillm.training.run import model_folder


def fill(options):
    text = options.prompt if options.prompt is not None else read_stdin("text")
    folder = model_folder(options.model)
    model = open_trained(AutoModelForMaskedLM, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = fill_mask(model, tokenizer, text, options.top)
    for number, candidates in enumerate(found, 1):
        title = text if len(found) == 1 else f"mask {number} of {len(found)}: {text}"
        table(title, [(token, f"{p:.1%}") for token, p in candidates], ("token", "probability"))
