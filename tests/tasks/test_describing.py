"""Product descriptions: the generated data, learning, prediction, the user's own examples."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer
from minillm.cli import main
from minillm.tasks.coverage import invented, missing, parse_attributes
from minillm.tasks.data import products
from minillm.tasks.describing import Descriptions
from minillm.training.run import Run

SMALL = ["--examples", "160", "--vocab-size", "400", "--n-layer", "1", "--n-head", "2", "--n-embd",
         "32", "--block-size", "224", "--steps", "50", "--batch-size", "16", "--lr", "6e-3",
         "--eval-every", "50", "--checkpoint-every", "30", "--warmup", "5"]


@pytest.fixture(scope="module")
def splits():
    return products.generate(2400, seed=0)


def test_a_description_says_everything_that_is_given_and_nothing_else(splits):
    for examples in splits.values():
        for example in examples[:150]:
            given_attributes = parse_attributes(example["attributes"])
            text = example["description"]
            assert not missing(text, given_attributes, products.FORMS), example
            assert not invented(text, given_attributes, products.KNOWN, products.FORMS), example
            assert 1 <= text.count(".") <= 4


def test_splits_share_nothing_and_test_has_words_and_templates_of_its_own(splits):
    assert {split: len(found) for split, found in splits.items()} == products.sizes(2400)
    given_attributes = [frozenset(parse_attributes(e["attributes"]).items())
                        for found in splits.values() for e in found]
    assert len(set(given_attributes)) == 2400

    def values(split, name):
        found = [parse_attributes(e["attributes"]) for e in splits[split]]
        return {attributes[name] for attributes in found if name in attributes}

    for name in ("type", "color", "material", "use", "feature", "origin"):
        new = values("test", name) - values("train", name)
        assert len(new) > 5, name
    assert not values("test", "brand") & values("train", "brand")
    starts = {split: {" ".join(e["description"].split()[:2]) for e in found}
              for split, found in splits.items()}
    assert {"Nobody makes", "Now in", "Everybody needs"} <= starts["test"] - starts["train"]


def test_the_same_seed_gives_the_same_products():
    assert products.generate(50, 3) == products.generate(50, 3) != products.generate(50, 4)


@given(seed=st.integers(0, 2**32 - 1), split=st.sampled_from(["train", "valid", "test"]))
def test_attributes_of_a_product(seed, split):
    attributes = products.draw_attributes(np.random.default_rng(seed), split)
    assert "type" in attributes and len(attributes) > 2
    assert attributes.keys() <= set(products.ATTRIBUTES)
    text = products.describe(attributes, np.random.default_rng(seed), split)
    assert text[0].isupper() and "{" not in text and "  " not in text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "descriptions"
    assert main(["train-task", "descriptions", *SMALL, "--out", str(folder)]) == 0
    return Run(folder)


def test_it_learns_and_is_measured(run):
    lines = [json.loads(line) for line in open(run.folder / "metrics.jsonl")]
    losses = [line["valid_loss"] for line in lines if "valid_loss" in line]
    assert losses[-1] < 0.75 * losses[0]
    results = json.loads((run.folder / "results.json").read_text())
    assert list(results["metrics"]) == ["coverage", "coverage of new words", "all attributes",
                                        "hallucination", "distinct-3"]
    template, nearest = results["baselines"]["template"], results["baselines"]["nearest"]
    assert template["coverage"]["value"] == 1 and template["hallucination"]["value"] == 0
    assert nearest["coverage"]["value"] < 0.5 < nearest["hallucination"]["value"]
    assert (run.folder / "coverage.png").read_bytes()[:4] == b"\x89PNG"


def test_predict_takes_attributes_in_two_forms(run, capsys):
    texts = ["type=chair; color=red", "type: chair; color: red"]
    assert main(["predict", "--json", "--model", str(run.folder), *texts]) == 0
    one, other = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert one == other and one["attributes"] == texts[1] and isinstance(one["prediction"], str)
    assert main(["predict", "--model", str(run.folder), "red chair"]) == 2
    assert "has the part 'red chair', wanted name: value" in capsys.readouterr().err


def test_the_loss_is_that_of_the_description(run):
    task, model = run.task(), run.new_model().eval()
    examples = task.examples("valid")[:3]
    batch = task.encode(examples, model.config)
    logits = model(batch["input_ids"], batch["attention_mask"]).logits
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    of_tokens = []
    for b, example in enumerate(examples):
        prompt, written = task.prompt_ids(example), task.completion_ids(example)
        assert written[-1] == task.tokenizer.eos_token_id
        assert task.tokenizer.decode(written[:-1]) == " " + example["description"]
        of_tokens += [-log_p[b, len(prompt) + t - 1, id] for t, id in enumerate(written)]
    assert task.loss(model, examples).item() == pytest.approx(np.mean(of_tokens), rel=1e-4)


def test_sampling_with_a_seed(run):
    task = run.task()
    model = task.load_model(run.model_folder, run.config.model_type)
    examples = task.examples("test")[:2]
    task.sampling = {"do_sample": True, "temperature": 1.5, "seed": 1}
    first = task.predict(model, examples)
    assert first == task.predict(model, examples)
    task.sampling["seed"] = 2
    assert first != task.predict(model, examples)


def test_predict_samples_with_a_seed(run, capsys):
    def text(*options):
        assert main(["predict", "--model", str(run.folder), *options, "type=chair"]) == 0
        return capsys.readouterr().out

    assert text("--temperature", "2", "--seed", "1") == text("--temperature", "2", "--seed", "1")
    assert text("--temperature", "2", "--seed", "1") != text("--temperature", "2", "--seed", "2")
    assert text("--top-p", "0.9", "--seed", "1")


def test_predict_searches_with_beams(run, capsys):
    asked = ["predict", "--model", str(run.folder), "type=chair", "--num-beams"]
    assert main([*asked, "2"]) == 0 and capsys.readouterr().out.strip()
    assert main([*asked, "0"]) == 2
    assert "num_beams is 0, wanted" in capsys.readouterr().err


def test_own_examples_on_a_pretrained_decoder(tmp_path, capsys):
    path = tmp_path / "own.tsv"
    path.write_text("attributes\tdescription\n" + "".join(
        f"kind=tea; herb=h{i}\tThis tea has h{i}.\n" for i in range(30)), encoding="utf-8")
    texts = [f"kind: tea; herb: h{i}\nDescription: This tea has h{i}." for i in range(30)]
    tokenizer = GPT2Tokenizer.train(texts, 300)
    tokenizer.save_pretrained(tmp_path / "model")
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1,
                               n_head=2)).save_pretrained(tmp_path / "model")
    assert main(["train-task", "descriptions", "--model", str(tmp_path / "model"), "--data",
                 str(path), "--block-size", "48", "--steps", "5", "--batch-size", "4", "--out",
                 str(tmp_path / "run")]) == 0
    task = Run(tmp_path / "run").task()
    assert task.known["kind"] == ["tea"] and len(task.known["herb"]) == 30
    assert task.invented("h1 and h2", {"attributes": "herb: h1"}) == ["h2"]
    assert main(["predict", "--task", "descriptions", "--model", str(tmp_path / "run" / "model"),
                 "kind: tea"]) == 0


@pytest.mark.parametrize("line, error", [
    ('{"attributes": "chair", "description": "A chair."}', "example 2: attributes has the part"),
    ('{"attributes": "type: chair"}', "line 2 has no field description"),
])
def test_a_wrong_line_of_ones_own(tmp_path, capsys, line, error):
    path = tmp_path / "own.jsonl"
    path.write_text('{"attributes": "a: b", "description": "B."}\n' + line + "\n")
    assert main(["train-task", "descriptions", "--data", str(path), "--out",
                 str(tmp_path / "r")]) == 2
    assert error in capsys.readouterr().err


def test_a_prompt_that_is_too_long_is_refused(tmp_path, capsys):
    small = [*SMALL, "--out", str(tmp_path / "r")]
    small[small.index("--block-size") + 1] = "32"
    assert main(["train-task", "descriptions", *small]) == 2
    assert "tokens, wanted fewer than block_size = 32" in capsys.readouterr().err


def test_it_needs_a_decoder(tmp_path, capsys):
    assert main(["train-task", "descriptions", "--arch", "bert", "--out", str(tmp_path)]) == 2
    assert "arch is 'bert', wanted one with the head 'causal_lm'" in capsys.readouterr().err


def test_batches_mask_prompts_and_padding():
    from minillm.tasks.prompted import padded_prompts, prompt_batch

    batch = prompt_batch([[1, 2], [3]], [[4, 9], [5, 6, 7, 9]], 0, 4)
    np.testing.assert_array_equal(batch["input_ids"], [[1, 2, 4, 9], [3, 5, 6, 7]])
    np.testing.assert_array_equal(batch["labels"], [[-100, -100, 4, 9], [-100, 5, 6, 7]])
    assert batch["attention_mask"].all()
    ids, mask = padded_prompts([[1, 2], [3]], 0)
    np.testing.assert_array_equal(ids, [[1, 2], [0, 3]])
    np.testing.assert_array_equal(mask, [[1, 1], [0, 1]])
    assert Descriptions.head == "causal_lm"
