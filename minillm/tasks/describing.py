"""Product descriptions: from attributes to two or three sentences, and a check of what they say.

    type: chair; brand: Velora; color: red   ->   "Velora presents a red chair. It …"

The model is a decoder that continues the attributes (prompted.py). An encoder-decoder would do as
well; a decoder alone has one stack to train instead of two, and every decoder that is trained
already can be fine-tuned to it, because attributes are text to it as everything else is.

What makes the task hard isn't grammar but fidelity: the text has to mention each attribute, also a
brand that the model has never seen and has to copy piece by piece, and nothing else. Both are
measured: see coverage.py.
"""

import re
from collections import Counter
from functools import cached_property

from minillm.figures import new_figure
from minillm.tasks.coverage import (
    attributes_text,
    coverage,
    distinct_metric,
    invented,
    missing,
    parse_attributes,
)
from minillm.tasks.data import products
from minillm.tasks.metrics import mean_of, share_of
from minillm.tasks.prompted import PromptedTask

END_OF_ATTRIBUTES = "\nDescription:"


class Descriptions(PromptedTask):
    """Examples {"attributes": "type: chair; color: red", "description": …}"""

    name = "descriptions"
    fields = {"attributes": str, "description": str}
    question = ("attributes",)
    n_examples = 24000
    generated = products.WHAT
    defaults = {"vocab_size": 512, "n_layer": 3, "n_head": 4, "n_embd": 128, "block_size": 256,
                "dropout": 0.0, "steps": 1200, "batch_size": 32, "lr": 3e-3, "final_lr": 0.05,
                "eval_every": 400, "checkpoint_every": 200}
    generate = staticmethod(products.generate)

    @classmethod
    def read(cls, path):
        examples = super().read(path)
        for number, example in enumerate(examples, 1):
            try:
                example["attributes"] = attributes_text(parse_attributes(example["attributes"]))
            except ValueError as error:
                raise ValueError(f"{path}, example {number}: {error}") from None
        return examples

    @classmethod
    def question_from(cls, texts):
        question = super().question_from(texts)
        return {"attributes": attributes_text(parse_attributes(question["attributes"]))}

    @classmethod
    def prompt(cls, example):
        return attributes_text(parse_attributes(example["attributes"])) + END_OF_ATTRIBUTES

    @classmethod
    def completion(cls, example):
        return " " + example["description"]

    # ---- what the texts say

    @cached_property
    def known(self):
        """{name of an attribute: words that must be given to be mentioned}"""
        if self.settings.text is None:
            return products.KNOWN
        values = {}
        for split in ("train", "valid", "test"):
            for example in self.examples(split):
                for name, value in parse_attributes(example["attributes"]).items():
                    values.setdefault(name, {})[value] = None
        return {name: list(found) for name, found in values.items()}

    @property
    def forms(self):
        return products.FORMS if self.settings.text is None else {}

    @cached_property
    def trained_words(self):
        """The words in the attributes of the training examples"""
        return {word for example in self.examples("train")
                for word in _words(example["attributes"])}

    def missing(self, text, example):
        return missing(text, parse_attributes(example["attributes"]), self.forms)

    def invented(self, text, example):
        return invented(text, parse_attributes(example["attributes"]), self.known, self.forms)

    def new_values(self, example):
        """-> {name: value} of the attributes with a word that training never shows"""
        return {name: value for name, value in parse_attributes(example["attributes"]).items()
                if not self.trained_words.issuperset(_words(value))}

    def metrics(self, model):
        return {
            "coverage": mean_of(lambda text, example: coverage(
                text, parse_attributes(example["attributes"]), self.forms)),
            "coverage of new words": mean_of(self._coverage_of_new),
            "all attributes": share_of(lambda text, example: not self.missing(text, example)),
            "hallucination": share_of(lambda text, example: bool(self.invented(text, example)),
                                      lower_is_better=True),
            "distinct-3": distinct_metric(3),
        }

    def _coverage_of_new(self, text, example):
        new = self.new_values(example)
        return coverage(text, new, self.forms) if new else None

    def baselines(self):
        return {"template": lambda train: self._template, "nearest": nearest}

    def _template(self, examples):
        """"A red oak chair by Velora. Size: 40 cm.": everything, always in the same words"""
        texts = []
        for example in examples:
            given = parse_attributes(example["attributes"])
            said = {name: self.forms.get((name, value), [value])[0]
                    for name, value in given.items()}
            noun = [said.pop(name) for name in ("color", "material", "type") if name in said]
            brand = [f"by {said.pop('brand')}"] if "brand" in said else []
            rest = [f"{name.capitalize()}: {value}." for name, value in said.items()]
            article = [products.article(noun[0]).capitalize()] if noun else []
            first = " ".join([*article, *noun, *brand])
            texts.append(" ".join([f"{first}."] * bool(first) + rest))
        return texts

    def pictures(self, model, examples, predictions):
        """Coverage of each attribute, for values of words from the training, and for new ones"""
        found = {}
        for example, text in zip(examples, predictions):
            lost, new = self.missing(text, example), self.new_values(example)
            for name in parse_attributes(example["attributes"]):
                found.setdefault(name, ([], []))[name in new].append(name not in lost)
        names = [name for name in products.ATTRIBUTES if name in found]
        names = (names + [name for name in found if name not in names])[:12]
        figure, axes = new_figure(5, 0.9 + 0.35 * len(names))
        for offset, which, label in ((-0.2, 0, "words from the training"), (0.2, 1, "new words")):
            axes.barh([place + offset for place, name in enumerate(names) if found[name][which]],
                      [_mean(found[name][which]) for name in names if found[name][which]], 0.36,
                      label=label, edgecolor="black", hatch="//" if which else None)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="mentioned")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
        return {"coverage.png": figure}

    def show(self, example, prediction):
        lost = self.missing(prediction, example)
        return prediction + (f"   (doesn't mention: {', '.join(lost)})" if lost else "")


def nearest(train):
    """The description of the training example with the most attributes in common (Jaccard)"""
    known = [parse_attributes(example["attributes"]).items() for example in train]
    having = {}  # (name, value) -> the examples with it
    for index, items in enumerate(known):
        for item in items:
            having.setdefault(item, []).append(index)

    def closest(given):
        shared = Counter(index for item in given for index in having.get(item, ()))
        return max(shared, default=0, key=lambda index: shared[index] / (
            len(given) + len(known[index]) - shared[index]))

    return lambda examples: [
        train[closest(parse_attributes(example["attributes"]).items())]["description"]
        for example in examples]


def _words(text):
    return re.findall(r"\w+", text.lower())


def _mean(values):
    return sum(values) / len(values)
