"""`make pretrained`: retrain the models that ship in the package.

    python -m minillm.cli.pretrained NAME [FOLDER]

pydoc-tiny is the GPT-2 that the course reads and takes apart. pydoc-small is the better one, which
`minillm generate` uses unless you name another.

The result replaces FOLDER (default: minillm/pretrained/NAME). The same version of Python, whose
documentation is the text, gives the same weights on the same machine.
"""

import json
import platform
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from minillm.checks import shown
from minillm.cli.terminal import say
from minillm.cli.training import draw_attention, train_new
from minillm.files import atomic_folder
from minillm.hub import PACKAGED
from minillm.models.auto import AutoModelForCausalLM
from minillm.text.auto import AutoTokenizer
from minillm.text.cleaning import prepare_corpus
from minillm.text.corpus import split_documents
from minillm.text.python_docs import write_python_docs
from minillm.training.evaluate import evaluate
from minillm.training.settings import Settings


@dataclass
class Recipe:
    """How a model is made, and what its card says of it."""

    settings: Settings
    about: str  # the first sentence of the card, without its end
    source: str  # of the text
    docstrings: bool = False  # whether the text has them, beside the topics of help()


RECIPES = {
    # Like the demo's recipe (benchmarks/README.md), with a longer context, and dropout for more
    # passes.
    "pydoc-tiny": Recipe(
        Settings(model_type="gpt2", vocab_size=2048, n_layer=4, n_head=4, n_embd=128,
                 block_size=128, dropout=0.1, steps=3000, batch_size=8, lr=2e-3, warmup=100,
                 final_lr=0.0, weight_decay=1.0, seed=0, eval_every=100, checkpoint_every=500),
        about="It writes text in the style of Python's documentation, with little sense in it: it "
              "gives examples and tests a real model",
        source="the topics of Python {python}'s `help()` (module `pydoc_data.topics`)",
    ),
    "pydoc-small": Recipe(
        Settings(model_type="apertus", vocab_size=3072, n_layer=5, n_head=6, n_embd=192,
                 block_size=256, dropout=0.2, steps=10000, batch_size=8, optimizer="muon",
                 muon_steps=5, lr=4e-3, schedule="linear", warmup=100, final_lr=0.0,
                 weight_decay=0.3, seed=0, eval_every=500, checkpoint_every=500),
        about="It writes Python's documentation for functions that don't exist",
        source="the topics of Python {python}'s `help()` and the docstrings of its standard "
               "library (`minillm/text/python_docs.py`)",
        docstrings=True,
    ),
}

CARD = """# {name}

A model of {parameters:,} parameters with the architecture {model_type} ({n_layer} layers, {n_head} heads,
d_model {n_embd}, a vocabulary of {vocab_size:,} byte-level BPE tokens, context {context}), trained from
scratch by minillm. {about}.

* Text: {source}; Python documentation, PSF license. It is cleaned and split by document:
  {train_tokens:,} tokens to train on.
* Recipe: `python -m minillm.cli.pretrained {name}`, with the seed {seed}. All settings are in
  `minillm/cli/pretrained.py`. The weights are those with the lowest validation loss.
* Stored as float16.

| held-out text | loss (nats/token) | perplexity | bits per byte |
| --- | --- | --- | --- |
{rows}
"""


def main(name=None, folder=None):
    if name not in RECIPES:
        raise SystemExit(f"name is {shown(name)}, wanted one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    with tempfile.TemporaryDirectory() as temporary:
        settings = recipe.settings
        if recipe.docstrings:
            path = Path(temporary, "docs.txt")
            write_python_docs(path, without=held_out_topics())
            settings = replace(settings, text=str(path))
        status, run = train_new(settings, None, name)
    if status:
        return status
    publish(run, Path(folder) if folder else PACKAGED / name, name)
    draw_attention(AutoModelForCausalLM.from_pretrained(run.model_folder), run.tokenizer(),
                   run.folder / "attention.png")
    return 0


def held_out_topics():
    """-> names of the topics that pydoc-tiny wasn't trained on, so that others can be compared"""
    settings = RECIPES["pydoc-tiny"].settings
    splits = split_documents(prepare_corpus().documents, settings.valid, settings.test,
                             settings.seed)
    return {document.name for document in (*splits.valid, *splits.test)}


def publish(run, folder, name):
    """Write the best model of `run` into `folder`: float16, with its tokenizer and a model card.

    name: a key of RECIPES
    """
    model = AutoModelForCausalLM.from_pretrained(run.model_folder)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary, dtype="float16")
        run.tokenizer().save_pretrained(temporary)
        # Measure the weights that ship: those after rounding.
        rounded = AutoModelForCausalLM.from_pretrained(temporary)
        results = {title: evaluate(rounded, run.dataset(split),
                                   block_size=run.settings.block_size)
                   for title, split in (("validation", "valid"), ("test", "test"))}
        (temporary / "README.md").write_text(_card(run, model, name, results), encoding="utf-8")
        size = sum(path.stat().st_size for path in temporary.iterdir())
    losses = {title: result.loss for title, result in results.items()}
    say(f"{folder}: {size / 1e6:.2f} MB, {json.dumps(losses)}")


def _card(run, model, name, results):
    settings, recipe = run.settings, RECIPES[name]
    rows = "\n".join(f"| {title} | {result.loss:.4f} | {result.perplexity:.2f} | "
                     f"{result.bits_per_byte:.3f} |" for title, result in results.items())
    return CARD.format(
        name=name, model_type=model.config.model_type, parameters=model.num_parameters(),
        n_layer=settings.n_layer, n_head=settings.n_head, n_embd=settings.n_embd,
        vocab_size=model.config.vocab_size, context=settings.block_size, about=recipe.about,
        source=recipe.source.format(python=platform.python_version()), rows=rows,
        train_tokens=run.data["train"]["tokens"], seed=settings.seed,
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
