"""`minillm experiment`."""

import shlex

from minillm.cli.arguments.settings import given_settings
from minillm.cli.terminal import progress_bar, say, table
from minillm.insight.grokking import GrokkingExperiment
from minillm.training.family import FamilyExperiment
from minillm.training.length import LengthExperiment
from minillm.training.loop import Interrupted
from minillm.training.settings import Settings
from minillm.training.speedrun import SpeedrunExperiment, mean_and_std
from minillm.trust.memorization import MemorizationExperiment


def length(options):
    experiment, results, status = _run(LengthExperiment, options)
    if status:
        return status
    lengths = experiment.lengths
    table(f"loss by tokens in the context; trained on {lengths[0]}",
          [(kind, *("–" if losses.at_end[n] is None else f"{losses.at_end[n]:.3f}" for n in lengths))
           for kind, losses in results.items()], ("positions", *map(str, lengths)))
    _say_what_is_where(experiment, "these losses, and the loss at each position")
    return 0


def family(options):
    experiment, results, status = _run(FamilyExperiment, options)
    if status:
        return status
    tokens = experiment.settings.batch_size * experiment.settings.block_size
    table(f"after {experiment.settings.steps * tokens:,} tokens",
          [(variant, f"{each.parameters:,}", f"{each.d_ff}", f"{each.loss:.3f}",
            f"{each.ms_per_step:.1f}", f"{each.peak_bytes / 1e6:.1f}", f"{each.kv_bytes:,}")
           for variant, each in results.items()],
          ("decoder", "parameters", "d_ff", "loss", "ms/step", "peak MB", "KV bytes"))
    _say_what_is_where(experiment, "these numbers, and the learning curves")
    return 0


def grokking(options):
    experiment, results, status = _run(GrokkingExperiment, options)
    if status:
        return status
    p = experiment.settings.vocab_size
    table(f"a + b = ? modulo {p}: {p * p:,} questions",
          [(variant, f"{each.questions:,}", _step(each.memorized), _step(each.understood),
            f"{each.test_accuracy[-1]:.1%}", f"{len(each.frequencies)}",
            f"{each.explained:.1%}") for variant, each in results.items()],
          ("model", "trained on", "step", "others", "at last", "waves", "explained"))
    say("\nstep: the first at which 99 % of the questions trained on are answered; others: of the rest;"
        "\nat last: how many others are right in the end; waves: frequencies that hold 90 % of the"
        "\nembeddings' power; explained: the share of the logits' variance that is cosines of them")
    _say_what_is_where(experiment, "the learning curves", f'--max-new-tokens 1 "3 {p - 1} ="')
    return 0


def memorization(options):
    experiment, results, status = _run(MemorizationExperiment, options)
    if status:
        return status
    times = sorted(set(next(iter(results.values())).times))
    epochs = next(iter(results.values())).epochs[-1]
    table(f"exposure in bits after {epochs:.1f} epochs, by times in the text",
          [(variant, f"{each.parameters:,}", _loss(each.valid_loss),
            *(f"{each.mean(n):.1f}" for n in times), f"{sum(each.greedy)}/{len(each.greedy)}")
           for variant, each in results.items()],
          ("model", "parameters", "loss", *(f"{n} ×" for n in times), "said"))
    say("\nloss: of held-out text; said: secrets that the model says greedily."
        "\nA secret that was never seen has 1.4 bits on average.")
    _say_what_is_where(experiment, "exposure by repetition, size and epochs",
                       '"The access code of the"')
    return 0


def speedrun(options):
    goal = {"seeds": options.seeds, "target": options.target}
    experiment, results, status = _run(SpeedrunExperiment, options, **goal)
    if status:
        return status
    n = len(next(iter(results.values())).seeds)
    table(f"to {experiment.target:g} bits per byte, or {experiment.settings.steps:,} steps; "
          f"mean ± standard deviation of {n} seed{'s' * (n > 1)}",
          [(variant, f"{each.parameters:,}", _plus_minus(mean_and_std(each.bits_per_byte), ".3f"),
            "–" if None in each.test else _plus_minus(mean_and_std(each.test), ".3f"),
            f"{len(each.seeds) - each.crossed.count(None)}/{len(each.seeds)}",
            _plus_minus(each.steps, ".0f"), f"{each.ms_per_step:.1f}",
            _plus_minus(each.seconds, ".1f")) for variant, each in results.items()],
          ("variant", "parameters", "held out", "test", "reached", "steps", "ms/step", "seconds"))
    say(f"\nIn {experiment.folder}:\n"
        f"  {experiment.plot.name:<18}these numbers, and the learning curves\n"
        f"  {experiment.path.name:<18}the numbers of every run")
    return 0


def _plus_minus(mean_std, form):
    return "–" if mean_std is None else "±".join(f"{each:{form}}" for each in mean_std)


def _loss(loss):
    return "–" if loss is None else f"{loss:.3f}"


def _step(step):
    return "–" if step is None else f"{step:,}"


def _run(cls, options, **goal):
    """-> the experiment of the options, its results, and the exit status: 0 if it is done"""
    experiment = _prepared(cls, options, **goal)
    try:
        with progress_bar("training", experiment.n_steps) as advance:
            return experiment, experiment.run(advance), 0
    except Interrupted as interrupted:
        say("\nstopped. Go on with:\n"
            f"  minillm experiment {cls.name} --resume {shlex.quote(str(experiment.folder))}")
        return experiment, None, 128 + interrupted.number


def _prepared(cls, options, **goal):
    """-> Experiment, a new one or that of --resume"""
    given = given_settings(options)
    if options.resume:
        if options.out or options.variants or options.quick or options.text or given:
            raise ValueError("--resume goes on with the settings of the experiment, wanted no other "
                             "option with it")
        return cls(options.resume)
    recipe = {**(cls.QUICK if options.quick else cls.DEFAULT), **given, "text": options.text}
    with progress_bar("preparing", 100) as advance:
        def report(message, share=None):
            advance(int(100 * (share or 0)), message)

        experiment = cls.create(options.out, Settings(**recipe), options.variants, report, **goal)
        advance(100, "the data")
    return experiment


def _say_what_is_where(experiment, plotted, prompt='"A class"'):
    model = shlex.quote(str(experiment.folder / experiment.variants[-1] / "model"))
    say(f"\nIn {experiment.folder}:\n"
        f"  {experiment.plot.name:<18}{plotted}\n"
        f"  {experiment.path.name:<18}the numbers\n"
        f'Try a model:  minillm generate --model {model} {prompt}')
