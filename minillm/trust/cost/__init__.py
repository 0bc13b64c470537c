"""What training and generating cost, stated before they run.

    layers.py        parameters, operations and kept numbers of each layer, by formula
    newton_schulz.py what Muon's steps add
    step.py          a training step, a prompt and a token: operations, memory, bytes moved
    calibration.py   how fast this machine is at a model's own shapes, measured in seconds
    estimate.py      all of it together for a configuration, a model or a run
    planning.py      how large a model to train on how many tokens (Hoffmann et al. 2022)
    of_run.py        what a run has cost, for its model card
"""
