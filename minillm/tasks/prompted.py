"""Writing to order: a decoder continues a prompt, and learns from the continuation alone.

    type: chair; color: red          | A red chair for every day.<end>
    labels:  -100 -100 … -100        | the tokens themselves

A decoder-only model needs no new part for this. The prompt is the beginning of the text, and the
loss leaves its tokens out (label -100): they are given, so learning to predict them would only take
capacity from what is wanted. With questions and answers instead of attributes and descriptions,
this is instruction fine-tuning (Wei et al. 2022; Ouyang et al. 2022, section 3.4): the same
batches, the same loss. So any model with a causal head learns any task of this kind.
"""

import numpy as np

from minillm.tasks.base import SupervisedTask
from minillm.text.dataset import IGNORE
from minillm.text.gpt2_tokenizer import GPT2Tokenizer


def prompt_batch(prompts, completions, pad_id, max_length):
    """-> {"input_ids", "attention_mask", "labels"}, int64 (B, T), padded on the right

    prompts, completions: lists of lists of ids. Labels are the ids of the completions, and -100 at
    prompts and padding. A row is cut after max_length ids.
    """
    rows = [[*prompt, *completion][:max_length] for prompt, completion in zip(prompts, completions)]
    T = max(map(len, rows))
    ids = np.full((len(rows), T), pad_id, np.int64)
    mask, labels = np.zeros_like(ids), np.full_like(ids, IGNORE)
    for b, (row, prompt) in enumerate(zip(rows, prompts)):
        ids[b, : len(row)] = row
        mask[b, : len(row)] = 1
        labels[b, len(prompt) : len(row)] = row[len(prompt) :]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def padded_prompts(prompts, pad_id):
    """-> ids, mask: int64 (B, T), padded on the left: the continuations start in the same column"""
    T = max(map(len, prompts))
    ids, mask = np.full((len(prompts), T), pad_id, np.int64), np.zeros((len(prompts), T), np.int64)
    for b, prompt in enumerate(prompts):
        ids[b, T - len(prompt) :] = prompt
        mask[b, T - len(prompt) :] = 1
    return ids, mask


class PromptedTask(SupervisedTask):
    """The base of tasks with a prompt and a completion; a prediction is a str.

    A subclass defines `prompt` and `completion`. `sampling` holds options of `generate`, such as
    {"do_sample": True, "temperature": 0.7, "seed": 0}; without any, decoding is greedy.
    """

    head = "causal_lm"
    model_type = "llama"
    n_watched = 64  # generating takes longer than classifying
    max_new_tokens = 128

    def __init__(self, folder, settings, model_folder=None):
        super().__init__(folder, settings, model_folder)
        self.sampling = {"do_sample": False}
        if self.tokenizer.eos_token_id is None:
            raise ValueError(f"{self.model_folder}: the tokenizer has no eos_token to end a text")

    # ---- what a task defines

    @classmethod
    def prompt(cls, example):
        """-> str, what the model is given"""
        raise NotImplementedError

    @classmethod
    def completion(cls, example):
        """-> str, what it is to write; usually with a space in front, as words in a text have"""
        raise NotImplementedError

    @classmethod
    def texts(cls, examples):
        # As they stand in training: a tokenizer takes " red" and "red" for two words.
        return (cls.prompt(example) + cls.completion(example) for example in examples)

    @classmethod
    def new_tokenizer(cls, examples, vocab_size, report):
        return GPT2Tokenizer.train(cls.texts(examples), vocab_size, progress=report)

    # ---- ids

    def prompt_ids(self, example):
        """-> list of ids; ValueError for a prompt that leaves no room in max_length"""
        first = [self.tokenizer.bos_token_id] if self.tokenizer.add_bos_token else []
        text = self.prompt(example)
        return self._fitting(first + self.tokenizer.encode(text, add_special_tokens=False), text)

    def _fitting(self, ids, text):
        if len(ids) >= self.max_length:
            raise ValueError(f"the prompt {text[:40]!r}… has {len(ids)} tokens, wanted fewer than "
                             f"block_size = {self.max_length}")
        return ids

    def completion_ids(self, example):
        """-> list of ids, with the token that ends a text"""
        ids = self.tokenizer.encode(self.completion(example), add_special_tokens=False)
        return [*ids, self.tokenizer.eos_token_id]

    @property
    def end_ids(self):
        """The tokens that end a completion."""
        return [self.tokenizer.eos_token_id]

    @property
    def pad_id(self):
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad

    # ---- learning and writing

    @classmethod
    def prepare(cls, folder, settings, report):
        prepared = super().prepare(folder, settings, report)
        task = cls(folder, settings)  # refuse a prompt that is too long now, not in the last epoch
        lengths = [len(task.prompt_ids(example)) + len(task.completion_ids(example))
                   for split in ("train", "valid", "test") for example in task.examples(split)]
        cut = sum(length > settings.block_size for length in lengths)
        if cut:
            prepared.notes.append(
                f"{cut} of {len(lengths)} examples are longer than block_size = "
                f"{settings.block_size} tokens, the longest has {max(lengths)}: their completions "
                "are cut, and a model learns no end from these")
        return prepared

    def encode(self, examples, config):
        return prompt_batch([self.prompt_ids(example) for example in examples],
                            [self.completion_ids(example) for example in examples],
                            self.pad_id, self.max_length)

    def predict_batch(self, model, examples):
        ids, mask = padded_prompts([self.prompt_ids(example) for example in examples], self.pad_id)
        T = ids.shape[1]
        written = model.generate(
            ids, attention_mask=mask, eos_token_id=self.end_ids, pad_token_id=self.pad_id,
            max_new_tokens=min(self.max_new_tokens, self.max_length - T), **self.sampling)
        return [self.tokenizer.decode(row[T:], skip_special_tokens=True).strip()
                for row in written]
