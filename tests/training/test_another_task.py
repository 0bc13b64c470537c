"""A run folder for a registered task and architecture: text classification."""

import json

import numpy as np
import pytest
from tests.helpers.bag_of_words import BagConfig, BagForSequenceClassification, BagModel

from minillm.models import auto
from minillm.nn.loss import cross_entropy_loss
from minillm.nn.module import no_grad
from minillm.training import task as tasks
from minillm.training.architecture import new_config
from minillm.training.run import Run, create_run
from minillm.training.settings import Settings


class Texts:
    """Random ids; their class is how often 0 is among them, up to 2."""

    def __init__(self, settings):
        self.rng, self.size = np.random.default_rng(settings.seed), settings.batch_size

    def __next__(self):
        ids = self.rng.integers(3, size=(self.size, 4))
        return ids, np.minimum((ids == 0).sum(axis=1), 2)

    def state_dict(self):
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state):
        self.rng.bit_generator.state = state["rng"]


class Counting:
    name, head, unit = "counting", "sequence_classification", "texts"

    def __init__(self, folder, settings):
        self.settings = settings

    @classmethod
    def prepare(cls, folder, settings, report):
        if settings.model:
            config = auto.AutoConfig.from_pretrained(settings.model)
        else:
            config = new_config(settings, cls.head, settings.vocab_size)
        return tasks.Prepared(config.replace(num_labels=3), {}, [])

    def batches(self, settings):
        return Texts(settings)

    def loss(self, model, batch):
        ids, labels = batch
        return cross_entropy_loss(model, model(ids), labels)

    def size(self, batch):
        return len(batch[0])

    def evaluate(self, model):
        with no_grad():
            return {"valid_loss": self.loss(model, next(Texts(self.settings))).item()}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(auto, "ARCHITECTURES", dict(auto.ARCHITECTURES))
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))
    auto.register(BagConfig, base=BagModel, sequence_classification=BagForSequenceClassification)
    tasks.register(Counting)


def settings(**changes):
    return Settings(**{
        "model_type": "bag_of_words", "vocab_size": 3, "n_layer": 1, "n_head": 1, "n_embd": 4,
        "block_size": 4, "dropout": 0.0, "steps": 60, "lr": 0.1, "warmup": 0, "weight_decay": 0.0,
        "eval_every": 20, "checkpoint_every": 20, **changes})


def test_it_is_trained_and_resumed_bit_for_bit(tmp_path):
    run = create_run(tmp_path / "run", settings(), task="counting")
    trainer = run.trainer()
    trainer.train()
    assert trainer.valid_loss < 0.7 < json.loads(
        (run.folder / "metrics.jsonl").read_text().splitlines()[0])["valid_loss"]
    facts = json.loads((run.folder / "run.json").read_text())
    assert (facts["task"], facts["model_type"]) == ("counting", "bag_of_words")
    assert len(facts["config"]["id2label"]) == 3

    other = create_run(tmp_path / "other", settings(), task="counting")
    stopped = other.trainer()
    for _ in range(20):
        stopped.training_step()
    stopped.save()
    resumed, problems = Run(other.folder).resumed()
    assert resumed.step == 20 and not problems
    resumed.train()
    for name, array in resumed.model.state_dict().items():
        np.testing.assert_array_equal(array, trainer.model.state_dict()[name])


def test_a_new_head_on_a_pretrained_model(tmp_path):
    BagModel(BagConfig(vocab_size=3), seed=7).save_pretrained(tmp_path / "base")
    heads = []
    for seed in (0, 1):
        chosen = settings(model=str(tmp_path / "base"), seed=seed)
        run = create_run(tmp_path / f"run-{seed}", chosen, task="counting")
        with pytest.warns(UserWarning, match="starts with a head that has to be trained"):
            model = run.new_model()
        np.testing.assert_array_equal(model.bag.words.weight.data,
                                      BagModel(BagConfig(vocab_size=3), seed=7).words.weight.data)
        assert model.config.num_labels == 3
        heads.append(model.classifier.weight.data)
    assert heads[0].any() and not np.array_equal(*heads)


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match="^task is 'counting', which is known already$"):
        tasks.register(Counting)
