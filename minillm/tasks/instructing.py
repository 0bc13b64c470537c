"""Instruction fine-tuning: a decoder learns to answer prompts      (Wei et al. 2022; Ouyang et al.
2022, section 3.4)

    {"prompt": "Swap these two words: kettle drum", "completion": "drum kettle"}

The task is that of prompted.py, with prompts and completions from a file of the user's. If the
tokenizer has a chat template, the prompt becomes the user's message in a conversation and the
completion the assistant's: so a model that already talks keeps the form that it was trained on.
Otherwise a line with ANSWER separates them.
"""

from functools import cached_property

from minillm.tasks.data import instructions
from minillm.tasks.metrics import share_of
from minillm.tasks.prompted import PromptedTask

ANSWER = "\nAnswer:"


class Instructions(PromptedTask):
    """Examples {"prompt": …, "completion": …}"""

    name = "instructions"
    fields = {"prompt": str, "completion": str}
    question = ("prompt",)
    n_examples = 12000
    generated = instructions.WHAT
    defaults = {"vocab_size": 512, "n_layer": 3, "n_head": 4, "n_embd": 128, "block_size": 128,
                "dropout": 0.0, "steps": 1000, "batch_size": 48, "lr": 3e-3, "final_lr": 0.05,
                "eval_every": 250, "checkpoint_every": 250}
    generate = staticmethod(instructions.generate)

    @classmethod
    def prompt(cls, example):
        return example["prompt"] + ANSWER

    @classmethod
    def completion(cls, example):
        return " " + example["completion"]

    # ---- with a chat template

    def _chat(self, example, **options):
        messages = [{"role": "user", "content": example["prompt"]}]
        if "completion" in options:
            messages.append({"role": "assistant", "content": options.pop("completion")})
        return self.tokenizer.apply_chat_template(messages, tokenize=False, **options)

    def prompt_ids(self, example):
        if not self.tokenizer.chat_template:
            return super().prompt_ids(example)
        text = self._chat(example, add_generation_prompt=True)
        return self._fitting(self._encode(text), text)

    def completion_ids(self, example):
        if not self.tokenizer.chat_template:
            return super().completion_ids(example)
        ids = self._encode(example["completion"] + self._end_of_turn)
        return ids if self._end_of_turn else [*ids, self.tokenizer.eos_token_id]

    @cached_property
    def _end_of_turn(self):
        """The special token that the template writes after the assistant's message; "" if none"""
        mark = "COMPLETION"
        after = self._chat({"prompt": "."}, completion=mark).rpartition(mark)[2]
        special = [token for token in self.tokenizer.all_special_tokens if after.startswith(token)]
        return max(special, key=len, default="")

    @property
    def end_ids(self):
        own = self._encode(self._end_of_turn) if self.tokenizer.chat_template else []
        return list(dict.fromkeys([*own, self.tokenizer.eos_token_id]))

    def _encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    # ---- scores

    def metrics(self, model):
        return {"exact match": share_of(
            lambda text, example: text.split() == example["completion"].split())}

    def baselines(self):
        return {"echo": lambda train: _echo, "most frequent": _most_frequent}


def _echo(examples):
    """The last word of the prompt, without punctuation"""
    return [example["prompt"].split()[-1].strip("?.!:") for example in examples]


def _most_frequent(train):
    answers = [example["completion"] for example in train]
    return lambda examples: [max(set(answers), key=answers.count)] * len(examples)
