"""Programs from tutorials for transformers and PyTorch, with only their imports changed."""

from pathlib import Path

import numpy as np
import pytest

from minillm import Adam, GPT2LMHeadModel, GPT2Tokenizer

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"


@pytest.mark.parametrize("return_tensors", ["pt", "np"])
@pytest.mark.parametrize("input_text", [
    "Artificial intelligence is changing the world",
    "人工智能正在改变世界",
    "人类探索宇宙的历史",
])
def test_load_encode_generate_decode(input_text, return_tensors, capsys):
    model = GPT2LMHeadModel.from_pretrained(TINY)
    tokenizer = GPT2Tokenizer.from_pretrained(TINY)

    input_ids = tokenizer.encode(input_text, return_tensors=return_tensors)

    output_sequences = model.generate(
        input_ids,
        max_length=50,
        num_return_sequences=5,
        no_repeat_ngram_size=2,
        top_k=50,
        top_p=0.95,
        temperature=0.8
    )

    for sequence in output_sequences:
        print(tokenizer.decode(sequence, skip_special_tokens=True))

    assert input_ids.dtype == np.int64 and input_ids.shape[0] == 1
    assert output_sequences.shape[0] == 5 and output_sequences.shape[1] <= 50
    assert capsys.readouterr().out.count(input_text) == 5
    assert len({tuple(sequence) for sequence in output_sequences}) > 1


def test_several_sequences_and_nothing_else():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    tokenizer = GPT2Tokenizer.from_pretrained(TINY)

    input_text = "人类探索宇宙的历史"
    input_ids = tokenizer.encode(input_text, return_tensors='pt')

    generated_text = model.generate(input_ids, max_length=50, num_return_sequences=5)

    texts = [tokenizer.decode(text, skip_special_tokens=True) for text in generated_text]
    assert len(texts) == 5 and all(text.startswith(input_text) for text in texts)


def test_fine_tuning():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    tokenizer = GPT2Tokenizer.from_pretrained(TINY)
    train_dataset = ["The import statement", "人工智能正在改变世界", "Try it, and see!"]
    losses = []

    def train_model(model, dataset, learning_rate=1e-5, num_epochs=3):
        optimizer = Adam(model.parameters(), lr=learning_rate)

        for epoch in range(num_epochs):
            for text in dataset:
                inputs = tokenizer(text, return_tensors='pt', padding=True, truncation=True)
                outputs = model(**inputs, labels=inputs["input_ids"])
                loss = outputs.loss

                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

                losses.append(loss.item())
                print(f"Epoch: {epoch}, Loss: {loss.item()}")

    train_model(model, train_dataset, learning_rate=3e-3)
    first, second, third = np.reshape(losses, (3, 3)).mean(axis=1)
    assert first > second > third


def test_without_labels_there_is_no_loss():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    tokenizer = GPT2Tokenizer.from_pretrained(TINY)
    inputs = tokenizer("Try it", return_tensors="pt", padding=True, truncation=True)
    assert model(**inputs).loss is None


def test_padding_a_batch_needs_a_pad_token():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    tokenizer = GPT2Tokenizer.from_pretrained(TINY)
    texts = ["Artificial intelligence is changing the world", "人工智能"]
    with pytest.raises(ValueError, match="pad_token"):
        tokenizer(texts, return_tensors="pt", padding=True)

    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    outputs = model.generate(**inputs, max_new_tokens=10)
    assert outputs.shape[0] == 2
    for text, row in zip(texts, outputs):
        alone = model.generate(tokenizer.encode(text, return_tensors="pt"), max_new_tokens=10)
        ours = tokenizer.decode(row, skip_special_tokens=True)
        assert ours == tokenizer.decode(alone[0], skip_special_tokens=True)
