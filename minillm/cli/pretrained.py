"""`make pretrained`: retrain the tiny model that ships in the package.

    python -m minillm.cli.pretrained [FOLDER]

The result replaces FOLDER (default: minillm/pretrained/pydoc-tiny). The same version of Python,
whose documentation is the text, gives the same weights on the same machine.
"""

import json
import platform
import sys
from pathlib import Path

from minillm.cli.terminal import say
from minillm.cli.training import draw_attention, train_new
from minillm.files import atomic_folder
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.training.evaluate import evaluate
from minillm.training.settings import Settings

# Like the demo's recipe (benchmarks/README.md), with a longer context, and dropout for more passes.
RECIPE = Settings(
    vocab_size=2048, n_layer=4, n_head=4, n_embd=128, block_size=128, dropout=0.1, steps=3000,
    batch_size=8, lr=2e-3, warmup=100, final_lr=0.0, weight_decay=1.0, seed=0, eval_every=100,
    checkpoint_every=500,
)

CARD = """# pydoc-tiny

A GPT-2 of {parameters:,} parameters ({n_layer} layers, {n_head} heads, d_model {n_embd}, a vocabulary
of {vocab_size:,} byte-level BPE tokens, context {n_positions}), trained from scratch by minillm. It writes
text in the style of Python's documentation that makes little sense: it exists so that examples and tests
have a real model.

* Text: the topics of Python {python}'s `help()` (module `pydoc_data.topics`; Python documentation,
  PSF license), cleaned and split by document: {train_tokens:,} tokens to train on.
* Recipe: `make pretrained`, which runs `python -m minillm.cli.pretrained`, with seed {seed}. All
  settings are in `minillm/cli/pretrained.py`. The weights are those with the lowest validation loss.
* Stored as float16.

| held-out text | loss (nats/token) | perplexity | bits per byte |
| --- | --- | --- | --- |
| validation | {valid.loss:.4f} | {valid.perplexity:.2f} | {valid.bits_per_byte:.3f} |
| test | {test.loss:.4f} | {test.perplexity:.2f} | {test.bits_per_byte:.3f} |
"""


def main(folder=None):
    here = Path(__file__).parents[1] / "pretrained" / "pydoc-tiny"
    folder = Path(folder) if folder else here
    status, run = train_new(RECIPE, None, "pydoc-tiny")
    if status:
        return status
    publish(run, folder)
    draw_attention(GPT2LMHeadModel.from_pretrained(folder), GPT2Tokenizer.from_pretrained(folder),
                   run.folder / "attention.png")
    return 0


def publish(run, folder):
    """Write the best model of `run` into `folder`: float16, with its tokenizer and a model card."""
    model = GPT2LMHeadModel.from_pretrained(run.model_folder)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary, dtype="float16")
        run.tokenizer().save_pretrained(temporary)
        # Measure the weights that ship: those after rounding.
        rounded = GPT2LMHeadModel.from_pretrained(temporary)
        valid, test = (
            evaluate(rounded, run.dataset(split), block_size=run.settings.block_size)
            for split in ("valid", "test")
        )
        card = CARD.format(
            parameters=model.num_parameters(), python=platform.python_version(),
            train_tokens=run.data["train"]["tokens"], seed=run.settings.seed, valid=valid,
            test=test, **{name: getattr(model.config, name) for name in
                          ("n_layer", "n_head", "n_embd", "vocab_size", "n_positions")},
        )
        (temporary / "README.md").write_text(card, encoding="utf-8")
        size = sum(path.stat().st_size for path in temporary.iterdir())
    say(f"{folder}: {size / 1e6:.2f} MB, {json.dumps({'valid': valid.loss, 'test': test.loss})}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
