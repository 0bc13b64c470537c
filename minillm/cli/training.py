"""`minillm train`, `minillm finetune` and `minillm demo`."""

import shlex
import time
from contextlib import contextmanager, suppress

from minillm.cli.arguments.settings import given_settings
from minillm.cli.arguments.training import settings_from
from minillm.cli.terminal import progress_bar, say, table
from minillm.energy import EnergyMeter
from minillm.files import atomic_write
from minillm.generation import generate
from minillm.json_files import plain, write_json
from minillm.kernels import get_num_threads
from minillm.models.auto import AutoModelForCausalLM, model_class
from minillm.nn.module import no_grad
from minillm.process_memory import peak_memory
from minillm.training.loop import Interrupted
from minillm.training.parallel.one_process import OneProcess
from minillm.training.parallel.run_copy import opened_on_all
from minillm.training.plots import plot_attention
from minillm.training.run import Run, create_numbered_run, create_run
from minillm.training.settings import Settings
from minillm.training.task import LABELLED
from minillm.trust.cost.of_run import run_cost
from minillm.trust.model_card import write_card

# A small model that trains within a minute on two cores, and one that takes seconds. The demo reads
# its text about nine times: strong weight decay and a rate that ends at zero keep it from memorizing,
# and many short windows in a batch teach it more than a few long ones. benchmarks/README.md compares
# recipes, and chapter 30 says what each part of this one is for.
DEMO = {"model_type": "apertus", "vocab_size": 1024, "n_layer": 3, "n_head": 4, "n_embd": 96,
        "block_size": 64, "batch_size": 16, "steps": 1000, "optimizer": "muon", "muon_steps": 3,
        "lr": 8e-3, "schedule": "trapezoid", "warmup": 40, "final_lr": 0.0, "weight_decay": 1.0,
        "dropout": 0.0, "snapshots": 20}
QUICK = {"model_type": "apertus", "vocab_size": 400, "n_layer": 2, "n_head": 2, "n_embd": 32,
         "block_size": 32, "batch_size": 8, "steps": 40, "optimizer": "muon", "eval_every": 20,
         "checkpoint_every": 20, "lr": 1e-2, "snapshots": 20}
DEMO_PROMPTS = ("The assignment statement is", "A class definition is", "When an exception is")


def train(options):
    if options.resume:
        return _resume(options)
    status, _ = train_new(settings_from(options), options.out, "train", ranks=options.ranks)
    return status


def finetune(options):
    status, _ = train_new(settings_from(options), options.out, "finetune", ranks=options.ranks)
    return status


def demo(options):
    recipe = {**(QUICK if options.quick else DEMO), "seed": options.seed}
    if options.snapshots is not None:
        recipe["snapshots"] = options.snapshots
    settings = Settings(**recipe)
    started = time.monotonic()
    status, run = train_new(settings, options.out, "demo")
    if status:
        return status
    folder = run.folder
    model = AutoModelForCausalLM.from_pretrained(run.model_folder)
    tokenizer = run.tokenizer()
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
        "  snapshots/     the weights over the run: minillm explore shows how the heads form\n"
        "  model/         the model, which Hugging Face's transformers opens too\n"
        f'Try it:  minillm generate --model {folder} "A function"'
    )
    return 0


def train_new(settings, out, name, task=None, ranks=OneProcess()):
    """Train in the run folder `out`; None: runs/NAME-1, NAME-2, … -> (exit status, Run)"""
    ranks.share(settings.grad_accum)  # a ValueError before the data is prepared
    if settings.is_private and ranks.size > 1:
        raise ValueError("differential privacy needs one generator of noise for all examples, "
                         "wanted one process, without mpirun")
    with opened_on_all(ranks, lambda: _prepare_run(settings, out, name, task), Run) as run:
        _say_what_is_prepared(run)
        with run.locked():
            return _run_to_the_end(run, run.trainer(ranks=ranks)), run


def _say_what_is_prepared(run):
    for note in run.notes:
        say(f"data: {note}")
    say("data: " + ", ".join(f"{_size(facts)} {split}" for split, facts in run.data.items()))
    if not any(run.data["valid"].values()):
        say("data: nothing is held out to validate on, so the last model is kept, not the best")
    if run.privacy is not None:
        _say_promise(run.privacy)


def _say_promise(facts):
    """Say what differential privacy promises in this run, and what it doesn't."""
    n, epsilon = facts["examples"], facts["target_epsilon"]
    say(f"privacy: one example is {facts['one_example']}; there are {n:,}")
    say(f"privacy: noise {facts['noise_multiplier']:g} × {facts['clip']:g}, each example drawn with "
        f"probability {facts['sampling_rate']:.4g} in each of {facts['steps']:,} steps"
        + (f": at most ε = {epsilon:g} at δ = {facts['delta']:g}" if epsilon is not None else ""))
    if facts["delta"] * n >= 1:
        say(f"warning: δ = {facts['delta']:g} isn't below 1 / {n:,}: publishing a random example "
            "would satisfy it; wanted a smaller --dp-delta")
    for part in facts["not_covered"]:
        say(f"privacy: not covered: {part}")


def _say_spent(trainer):
    say(f"privacy: spent ε = {trainer.batches.epsilon(trainer.step):.4g} at "
        f"δ = {trainer.settings.dp_delta:g}, in {trainer.step:,} steps")


def _size(facts):
    if "examples" in facts:
        return f"{facts['examples']:,} examples"
    return f"{facts['tokens']:,} tokens ({facts['documents']} documents)"


def _prepare_run(settings, out, name, task):
    parent = "runs" if out is None else out
    with progress_bar("preparing", 100) as advance, _errors_name(parent):
        def report(message, share=None):
            advance(int(100 * (share or 0)), message)

        if out is None:
            run = create_numbered_run(parent, name, settings, report, task)
        else:
            run = create_run(out, settings, report, task)
        advance(100, "the data")
    return run


def _resume(options):
    for name in ("text", "out"):
        if getattr(options, name):
            raise ValueError("--resume continues with the data and the folder of the run, wanted "
                             f"no --{name}")
    with opened_on_all(options.ranks, lambda: Run(options.resume), Run) as run, run.locked():
        trainer, problems = run.resumed(given_settings(options), ranks=options.ranks)
        for problem in problems:
            say(f"warning: {problem}")
        say(f"resuming {options.resume} after step {trainer.step}")
        return _run_to_the_end(run, trainer)


def _run_to_the_end(run, trainer):
    n, n_learning = (trainer.model.num_parameters(only_trainable=only) for only in (False, True))
    say(f"model: {n:,} parameters" + (f", of which {n_learning:,} learn" if n_learning < n else ""))
    if trainer.ranks.size > 1:
        say(f"ranks: {trainer.ranks.size}, {get_num_threads()} threads each")
    try:
        with progress_bar("training", trainer.settings.steps) as advance, _errors_name(run.folder):
            trainer.report = lambda trainer: advance(trainer.step, _note(trainer))
            with _recorded(run, trainer):
                trainer.train()
    except Interrupted as interrupted:
        if trainer.ranks.rank > 0:
            return 0  # the exit status is rank 0's
        if trainer.settings.is_private:
            _say_spent(trainer)
        say(f"\nstopped after step {trainer.step}. Resume with:\n"
            f"  minillm train --resume {shlex.quote(str(run.folder))}")
        return 128 + interrupted.number
    _say_memory(trainer.ranks)
    if trainer.ranks.rank > 0:
        return 0
    if trainer.settings.is_private:
        _say_spent(trainer)
    if run.task_class.name in LABELLED:
        from minillm.cli.tasks import report_task

        report_task(run)
    else:
        _report_results(run)
    write_card(run)
    return 0


def _say_memory(ranks):
    peaks = ranks.in_order([peak_memory()])
    if ranks.size > 1:
        say("ranks: peak memory " + ", ".join(f"{peak / 1e6:,.0f}" for peak in peaks) + " MB")


@contextmanager
def _recorded(run, trainer):
    """Record in run.json what the steps inside cost: time, and energy if measurable."""
    first, meter = trainer.step, EnergyMeter()
    try:
        with meter:
            yield
    finally:
        if trainer.step > first:
            run.add_session(first, trainer.step, meter)
            with suppress(ValueError):  # of a task whose batches have another form
                run.cost = run_cost(run)
                run.write()


@contextmanager
def _errors_name(folder):
    """Add the folder to an error without a file name, such as "No space left on device"."""
    try:
        yield
    except OSError as error:
        if error.strerror and not error.filename:
            error.filename = str(folder)
        raise


def _note(trainer):
    valid = "" if trainer.valid_loss is None else f"  valid {trainer.valid_loss:.3f}"
    return f"loss {trainer.loss:.3f}{valid}  {trainer.speed:,.0f} {trainer.task.unit}/s"


def _report_results(run):
    """Print how well the saved model does on the validation and test text, as a table."""
    model = model_class(run.config.model_type, run.task_class.head).from_pretrained(
        run.model_folder)
    task = run.task()
    results = [(split, task.measure(model, split)) for split in ("valid", "test")]
    rows = [(split, *task.cells(result)) for split, result in results if result is not None]
    if rows:
        write_json(run.folder / "results.json", {"task": task.name, "splits": {
            split: plain(result) for split, result in results if result is not None}})
        table(f"the model of {run.folder}", rows, ("text", *task.headings))
    if run.task_class.head == "pretraining":
        say(f'Try it:  minillm fill --model {shlex.quote(str(run.folder))} "The [MASK] statement"')


def _samples(model, tokenizer, seed):
    texts = []
    for number, prompt in enumerate(DEMO_PROMPTS):
        ids = tokenizer.encode(prompt, return_tensors="np")
        length = min(model.config.max_position_embeddings, ids.shape[1] + 80)
        sequence = generate(model, ids, max_length=length, do_sample=True, temperature=0.7,
                            top_k=40, seed=seed + number)[0]
        texts.append(tokenizer.decode(sequence, skip_special_tokens=True).strip())
    return "\n\n".join(f"--- {prompt} …\n{text}" for prompt, text in zip(DEMO_PROMPTS, texts))


def draw_attention(model, tokenizer, path):
    """Draw where every head looks in one sentence, as a PNG."""
    text = "The assignment statement binds a name to an object."
    ids = tokenizer.encode(text, return_tensors="np")[:, : model.config.max_position_embeddings]
    with no_grad():
        attentions = model(ids, output_attentions=True).attentions
    labels = [tokenizer.decode([token]) for token in ids[0]]
    plot_attention([weights[0] for weights in attentions], labels, path,
                   title="attention weights: the row's token looks at the column's")
