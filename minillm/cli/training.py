"""`minillm train`, `minillm finetune` and `minillm demo`."""

import time
from contextlib import contextmanager
from pathlib import Path

from minillm.cli.arguments import settings_from
from minillm.cli.terminal import progress_bar, say, table
from minillm.files import atomic_write
from minillm.generation import generate
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.nn.module import no_grad
from minillm.training.evaluate import evaluate
from minillm.training.loop import Interrupted, Trainer
from minillm.training.plots import plot_attention
from minillm.training.run import Run, create_run, numbered_folder
from minillm.training.settings import Settings

# A small model that is done within two minutes on two cores, and one that takes seconds. In so
# short a time there is no overfitting yet, and dropout would only slow the learning down.
DEMO = {"vocab_size": 1024, "n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 128,
        "batch_size": 8, "steps": 1200, "lr": 4e-3, "dropout": 0.0}
QUICK = {"vocab_size": 400, "n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 32,
         "batch_size": 8, "steps": 40, "eval_every": 20, "checkpoint_every": 20, "lr": 1e-2}
DEMO_PROMPTS = ("The assignment statement is", "A class definition is", "When an exception is")


def train(options):
    if options.resume:
        return _resume(options)
    return train_new(settings_from(options), options.out or numbered_folder("runs", "train"))


def finetune(options):
    folder = options.out or numbered_folder("runs", "finetune")
    return train_new(settings_from(options), folder)


def demo(options):
    settings = Settings(seed=options.seed, **(QUICK if options.quick else DEMO))
    folder = Path(options.out or numbered_folder("runs", "demo"))
    started = time.monotonic()
    status = train_new(settings, folder)
    if status:
        return status
    run = Run(folder)
    model, tokenizer = GPT2LMHeadModel.from_pretrained(run.model_folder), run.tokenizer()
    samples = _samples(model, tokenizer, options.seed)
    print(samples)
    with atomic_write(folder / "samples.txt", "w", errors="replace") as file:
        file.write(samples + "\n")
    draw_attention(model, tokenizer, folder / "attention.png")
    say(
        f"\nDone in {time.monotonic() - started:.0f} s. In {folder}:\n"
        "  loss.png       the loss curve\n"
        "  attention.png  where each head looks\n"
        "  samples.txt    the texts above\n"
        "  model/         the model, which Hugging Face's transformers opens too\n"
        f'Go on with:  minillm generate --model {folder} "A function"'
    )
    return 0


def train_new(settings, folder):
    with progress_bar("preparing", 100) as advance, _errors_name(folder):
        run = create_run(folder, settings, lambda message, share=None: advance(
            int(100 * (share or 0)), message))
        advance(100, "the data")
    sizes = ", ".join(f"{facts['tokens']:,} tokens ({facts['documents']} documents) {split}"
                      for split, facts in run.data.items())
    say(f"data: {sizes}")
    return _run_to_the_end(Trainer(run))


def _resume(options):
    given = vars(options).keys() & options.setting_defaults.keys()
    if given or options.out or options.text:
        others = sorted(given | {name for name in ("out", "text") if getattr(options, name)})
        raise ValueError(f"--resume goes on with the settings of the run, wanted no --{others[0]}")
    trainer = Trainer(Run(options.resume))
    for problem in trainer.resume():
        say(f"warning: {problem}; going on from an older checkpoint")
    say(f"going on with {options.resume} after step {trainer.step}")
    return _run_to_the_end(trainer)


def _run_to_the_end(trainer):
    settings, run = trainer.settings, trainer.run
    say(f"model: {trainer.model.num_parameters():,} parameters")
    try:
        with progress_bar("training", settings.steps) as advance, _errors_name(run.folder):
            trainer.report = lambda trainer: advance(trainer.step, _note(trainer))
            trainer.train()
    except Interrupted:
        say(f"\nstopped after step {trainer.step}. Go on with:\n"
            f"  minillm train --resume {run.folder}")
        return 130
    _report_results(run)
    return 0


@contextmanager
def _errors_name(folder):
    """An error like "No space left on device" comes without a name: say which folder it hit."""
    try:
        yield
    except OSError as error:
        if error.strerror and not error.filename:
            error.filename = str(folder)
        raise


def _note(trainer):
    valid = "" if trainer.valid_loss is None else f"  valid {trainer.valid_loss:.3f}"
    return f"loss {trainer.loss:.3f}{valid}  {trainer.tokens_per_second:,.0f} tokens/s"


def _report_results(run):
    """Measure the best model on validation and test text, as a table."""
    model = GPT2LMHeadModel.from_pretrained(run.model_folder)
    rows = []
    for split in ("valid", "test"):
        dataset = run.dataset(split)
        if len(dataset) > 1:
            result = evaluate(model, dataset, block_size=run.settings.block_size)
            rows.append((split, *result_cells(result)))
    table(f"the best model of {run.folder}", rows, RESULT_HEADINGS)


RESULT_HEADINGS = ("text", "loss (nats/token)", "perplexity", "bits per byte", "tokens")


def result_cells(result):
    return (f"{result.loss:.4f}", f"{result.perplexity:.2f}", f"{result.bits_per_byte:.3f}",
            f"{result.n_tokens:,}")


def _samples(model, tokenizer, seed):
    texts = []
    for number, prompt in enumerate(DEMO_PROMPTS):
        ids = tokenizer.encode(prompt, return_tensors="np")
        length = min(model.config.n_positions, ids.shape[1] + 80)
        sequence = generate(model, ids, max_length=length, do_sample=True, temperature=0.7,
                            top_k=40, seed=seed + number)[0]
        texts.append(tokenizer.decode(sequence, skip_special_tokens=True).strip())
    return "\n\n".join(f"--- {prompt} …\n{text}" for prompt, text in zip(DEMO_PROMPTS, texts))


def draw_attention(model, tokenizer, path):
    """Draw where every head looks in one sentence, as a PNG."""
    text = "The assignment statement binds a name to an object."
    ids = tokenizer.encode(text, return_tensors="np")[:, : model.config.n_positions]
    with no_grad():
        attentions = model(ids, output_attentions=True).attentions
    labels = [tokenizer.decode([token]) for token in ids[0]]
    plot_attention([weights[0] for weights in attentions], labels, path,
                   title="attention weights: the row's token looks at the column's")
