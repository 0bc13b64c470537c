"""A run whose blocks recompute: the same numbers as any other."""

import numpy as np
from small_runs import small_run

from minillm.cli.arguments import parse_arguments
from minillm.cli.arguments.settings import given_settings
from minillm.nn.recompute import recomputes


def trained(trainer):
    trainer.train()
    return {name: array.copy() for name, array in trainer.model.state_dict().items()}


def test_a_run_that_recomputes_learns_the_same(tmp_path):
    plain = small_run(tmp_path, "plain", n_layer=2, steps=6, dropout=0.1)
    expected = trained(plain.trainer())
    run = small_run(tmp_path, "recomputing", n_layer=2, steps=6, dropout=0.1, recompute=True)
    trainer = run.trainer()
    assert recomputes(trainer.model)
    for name, array in trained(trainer).items():
        np.testing.assert_array_equal(array, expected[name], name)
    metrics = [[{name: value for name, value in record.items() if "per_s" not in name}
                for record in each.trainer().metrics.records] for each in (plain, run)]
    assert metrics[0] == metrics[1]


def test_a_run_may_begin_to_recompute_when_it_goes_on(tmp_path):
    expected = trained(small_run(tmp_path, "plain", steps=6, dropout=0.1).trainer())
    run = small_run(tmp_path, "resumed", steps=6, dropout=0.1)
    trainer = run.trainer()
    for _ in range(3):
        trainer.training_step()
    trainer.save()
    trainer, problems = run.resumed({"recompute": True})
    assert not problems and recomputes(trainer.model) and run.settings.recompute
    for name, array in trained(trainer).items():
        np.testing.assert_array_equal(array, expected[name], name)
    trainer, _ = run.resumed({"recompute": False})
    assert not recomputes(trainer.model)


def test_the_option_of_the_command_line():
    for command in (["train"], ["finetune", "--model", "m"], ["train-task", "topics"], ["cost"]):
        found = [given_settings(parse_arguments([*command, *options]))
                 for options in ([], ["--recompute"], ["--no-recompute"])]
        assert [each.get("recompute") for each in found] == [None, True, False]
