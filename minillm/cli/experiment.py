"""`minillm experiment`."""

import shlex

from minillm.cli.arguments import given_settings
from minillm.cli.terminal import progress_bar, say, table
from minillm.training.length import DEFAULT, QUICK, LengthExperiment, create
from minillm.training.loop import Interrupted
from minillm.training.settings import Settings


def length(options):
    experiment = _prepared(options)
    folder = shlex.quote(str(experiment.folder))
    try:
        with progress_bar("training", experiment.n_steps) as advance:
            results = experiment.run(advance)
    except Interrupted as interrupted:
        say(f"\nstopped. Go on with:\n  minillm experiment length --resume {folder}")
        return 128 + interrupted.number
    lengths = experiment.lengths
    table(f"loss by tokens in the context; trained on {lengths[0]}",
          [(kind, *("–" if losses.at_end[n] is None else f"{losses.at_end[n]:.3f}" for n in lengths))
           for kind, losses in results.items()], ("positions", *map(str, lengths)))
    say(f"\nIn {experiment.folder}:\n"
        "  length.png    these losses, and the loss at each position\n"
        "  results.json  the numbers\n"
        f"Try a model:  minillm generate --model {folder}/{experiment.kinds[-1]}/model \"A class\"")
    return 0


def _prepared(options):
    """-> LengthExperiment, a new one or that of --resume"""
    given = given_settings(options)
    if options.resume:
        if options.out or options.kinds or options.quick or options.text or given:
            raise ValueError("--resume goes on with the settings of the experiment, wanted no other "
                             "option with it")
        return LengthExperiment(options.resume)
    recipe = {**(QUICK if options.quick else DEFAULT), **given, "text": options.text}
    with progress_bar("preparing", 100) as advance:
        def report(message, share=None):
            advance(int(100 * (share or 0)), message)

        kinds = {"kinds": options.kinds} if options.kinds else {}
        experiment = create(options.out, Settings(**recipe), report=report, **kinds)
        advance(100, "the data")
    return experiment
