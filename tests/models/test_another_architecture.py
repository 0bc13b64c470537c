"""A second architecture on the shared base: heads, labels, the registry."""

import numpy as np
import pytest
import safetensors.numpy
from tests.helpers.bag_of_words import BagConfig, BagForSequenceClassification, BagModel

from minillm.cli.arguments import parse_arguments
from minillm.cli.tasks import task_settings
from minillm.models import auto
from minillm.models.input_checks import DecoderInputs
from minillm.training.task import task_class

IDS = np.array([[1, 2, 3], [4, 5, 10]])


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(auto, "ARCHITECTURES", dict(auto.ARCHITECTURES))
    auto.register(BagConfig, base=BagModel, sequence_classification=BagForSequenceClassification)


def test_an_architecture_of_a_program(registered, tmp_path):
    BagModel().save_pretrained(tmp_path)
    assert auto.config_class("bag_of_words") is BagConfig
    assert type(auto.AutoModel.from_pretrained(tmp_path)) is BagModel
    assert (auto.model_class("bag_of_words", "sequence_classification")
            is BagForSequenceClassification)
    with pytest.raises(ValueError, match="^head is 'causal_lm', wanted one of 'base', 'sequence_"):
        auto.model_class("bag_of_words")
    with pytest.raises(ValueError, match="^model_type is 'bag_of_words', which is known already"):
        auto.register(BagConfig, base=BagModel)


def test_a_model_that_generates_nothing_has_no_generation_config(tmp_path):
    BagModel(seed=3).save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json"}
    model = BagModel.from_pretrained(tmp_path)
    np.testing.assert_array_equal(model(IDS), BagModel(seed=3)(IDS))


def test_a_checkpoint_with_a_head(tmp_path):
    model = BagForSequenceClassification(BagConfig().replace(num_labels=3), seed=1)
    model.save_pretrained(tmp_path)
    again = BagForSequenceClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(IDS), model(IDS))
    np.testing.assert_array_equal(BagModel.from_pretrained(tmp_path)(IDS), model.bag(IDS))


def test_a_checkpoint_without_a_head(tmp_path):
    BagModel(seed=1).save_pretrained(tmp_path)

    def load(seed):
        with pytest.warns(UserWarning, match=r"model.safetensors has no score.weight, score.bias: "
                                             "BagForSequenceClassification starts with a head"):
            return BagForSequenceClassification.from_pretrained(tmp_path, num_labels=5, seed=seed)

    one, other = load(0), load(1)
    np.testing.assert_array_equal(one.bag(IDS), BagModel(seed=1)(IDS))
    assert one.classifier.weight.shape == (4, 5) and one.classifier.weight.data.std() > 0
    assert not np.array_equal(one.classifier.weight.data, other.classifier.weight.data)
    assert not one.classifier.bias.data.any()


def test_a_head_for_other_labels(tmp_path):
    model = BagForSequenceClassification(BagConfig().replace(num_labels=3), seed=1)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"score.weight has shape \(3, 4\), wanted \(5, 4\)"):
        BagForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    with pytest.warns(UserWarning, match="has no score.weight, score.bias of this shape"):
        other = BagForSequenceClassification.from_pretrained(tmp_path, num_labels=5,
                                                             ignore_mismatched_sizes=True)
    np.testing.assert_array_equal(other.bag(IDS), model.bag(IDS))
    assert other.classifier.weight.shape == (4, 5) and other.classifier.weight.data.std() > 0
    same = BagForSequenceClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    np.testing.assert_array_equal(same(IDS), model(IDS))


def test_part_of_a_head_is_damage(tmp_path):
    BagForSequenceClassification().save_pretrained(tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    arrays["score.weight"] = arrays["score.weight"][:, :3]
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"score.weight has shape \(2, 3\), wanted \(2, 4\)"):
        BagForSequenceClassification.from_pretrained(tmp_path)


def test_labels(tmp_path):
    config = BagConfig()
    assert config.num_labels == 2 and "id2label" not in config.to_dict()
    config = config.replace(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    config = config.replace(num_labels=2, id2label={0: "bad", 1: "good"})
    config.save_pretrained(tmp_path)
    config = BagConfig.from_pretrained(tmp_path)
    assert config.num_labels == 2 and config.label2id == {"bad": 0, "good": 1}
    with pytest.raises(ValueError, match="^num_labels is 3, but id2label names 2$"):
        config.replace(num_labels=3, id2label={0: "bad", 1: "good"})
    with pytest.raises(ValueError, match="^num_labels is 0, wanted an integer of at least 1$"):
        config.replace(num_labels=0)


def test_inputs_are_checked_against_the_names_that_all_configurations_have():
    inputs = DecoderInputs(BagConfig(), None, IDS)
    np.testing.assert_array_equal(inputs.positions, [[0, 1, 2]])
    with pytest.raises(ValueError, match="reaches 17 tokens, wanted at most max_position_embed"):
        DecoderInputs(BagConfig(), None, np.zeros((1, 17), int))
    with pytest.raises(ValueError, match=r"^inputs_embeds has shape .*, wanted .*4\)$"):
        DecoderInputs(BagConfig(), None, None, inputs_embeds=np.zeros((1, 3, 5), np.float32))


def test_positions_that_a_task_prefers_are_those_of_an_architecture_that_has_a_choice(registered):
    def settings(*arguments):
        return task_settings(task_class("entities"), parse_arguments(["train-task", *arguments]))

    assert settings("entities").position_embedding == "rotary"
    assert settings("entities", "--arch", "gpt2").position_embedding == "rotary"
    assert settings("entities", "--arch", "bag_of_words").position_embedding is None
    chosen = settings("entities", "--arch", "bag_of_words", "--positions", "alibi")
    assert chosen.position_embedding == "alibi"  # which training then refuses
