"""Per-example gradients: equal to looping over the batch, for every layer of every model."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generators
from tiny_models import MODELS, base_model

import minillm
from minillm import BertConfig, GPT2Config, LlamaConfig, TransformerConfig
from minillm.insight.sparse_autoencoder import SparseAutoencoder
from minillm.models.auto import model_class
from minillm.models.family import YEARS, FamilyConfig
from minillm.models.lora import LoraConfig, inject
from minillm.models.positions import POSITION_EMBEDDINGS
from minillm.nn import Linear, LoRA, Module
from minillm.nn.contrastive_loss import contrastive_loss
from minillm.nn.loss import cross_entropy_loss
from minillm.nn.per_example import Dense, Product, Rows, per_example_gradients, squared_norms
from minillm.nn.positions import LearnedPositions

V = 29
SMALL = dict(vocab_size=V, max_position_embeddings=12, initializer_range=0.3,
             relative_attention_num_buckets=6, relative_attention_max_distance=7)
GPT2 = dict(n_embd=8, n_layer=2, n_head=2)
LLAMA = dict(hidden_size=8, intermediate_size=9, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1)
BERT = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12)
SEQ2SEQ = dict(d_model=8, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
               decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=9, decoder_start_token_id=1,
               pad_token_id=0)
# Every architecture, head and kind of positions -> (configuration, model type, head)
CASES = {
    **{f"gpt2 {kind}": (GPT2Config, {**GPT2, "position_embedding": kind}, "gpt2", "causal_lm")
       for kind in POSITION_EMBEDDINGS},
    **{f"bert {head}": (BertConfig, {**BERT, "pad_token_id": 0}, "bert", head) for head in
       ("masked_lm", "pretraining", "sequence_classification", "token_classification",
        "question_answering")},
    "bert t5": (BertConfig, {**BERT, "position_embedding": "t5"}, "bert", "masked_lm"),
    "llama untied": (LlamaConfig, {**LLAMA, "tie_word_embeddings": False}, "llama", "causal_lm"),
    "llama learned": (LlamaConfig, {**LLAMA, "position_embedding": "learned"}, "llama",
                      "causal_lm"),
    "llama texts": (LlamaConfig, {**LLAMA, "pad_token_id": 0}, "llama",
                    "sequence_classification"),
    "gpt2 tokens": (GPT2Config, GPT2, "gpt2", "token_classification"),
    **{f"transformer {kind}": (TransformerConfig, {**SEQ2SEQ, "position_embedding": kind},
                               "transformer", "seq2seq_lm") for kind in ("sinusoidal", "t5")},
    **{f"family {year}": (FamilyConfig, {**LLAMA, **changes}, "family", "causal_lm")
       for year, changes in YEARS.items()},
}


def small_model(case):
    cls, options, model_type, head = CASES[case]
    given = {name: value for name, value in SMALL.items() if name in cls().field_names()}
    if model_type == "transformer":
        given["decoder_vocab_size"] = V
    config = cls().replace(**{**given, **options})
    return model_class(model_type, head)(config, seed=1)


def batch_for(model, rng, B, T):
    """-> inputs and labels, some of which are ignored: each example has its own number of targets"""
    name = type(model).__name__
    vocab = getattr(model.config, "vocab_size", V)
    ids = rng.integers(3, vocab - 1, (B, T))
    batch = {"input_ids": ids}
    labels = np.where(rng.random((B, T)) < 0.3, -100, ids)
    if name.endswith("PreTraining"):
        batch["next_sentence_label"] = rng.integers(0, 2, B)
    if name.endswith("QuestionAnswering"):
        return {**batch, "start_positions": rng.integers(0, T, B),
                "end_positions": rng.integers(0, T + 2, B)}
    if name.endswith("SequenceClassification"):
        labels = rng.integers(0, model.config.num_labels, B)
    elif name.endswith("TokenClassification"):
        labels = np.where(labels < 0, -100, labels % model.config.num_labels)
    return {**batch, "labels": labels}


def assert_like_a_loop(model, batch, rng, tolerance=1e-9, loss=None):
    """Norms and weighted sums must be those of the gradients of one example after the other."""
    loss = loss or (lambda part: model(**part).loss)
    n = len(next(iter(batch.values())))
    parameters = [parameter for parameter in model.parameters() if parameter.trainable]
    gradients = []
    for i in range(n):
        model.zero_grad()
        loss({name: value[i : i + 1] for name, value in batch.items()}).backward()
        gradients.append([np.zeros(parameter.shape) if parameter.grad is None
                          else parameter.grad.copy() for parameter in parameters])
    model.zero_grad()
    with per_example_gradients(model, n) as examples:
        loss(batch).backward()
    norms = [np.sqrt(sum((g**2).sum() for g in each)) for each in gradients]
    np.testing.assert_allclose(examples.norms(), norms, rtol=tolerance, atol=tolerance)
    weights = rng.random(n)
    for parameter, old in zip(parameters, gradients[0]):
        assert parameter.grad is None
        parameter.add_grad(np.ones_like(old))  # the sum is added to what is there
    examples.add_weighted(weights)
    for index, parameter in enumerate(parameters):
        want = 1 + sum(weight * each[index] for weight, each in zip(weights, gradients))
        np.testing.assert_allclose(parameter.grad, want, rtol=tolerance, atol=tolerance)
    assert all(parameter.grad is None for parameter in model.parameters()
               if not parameter.trainable)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=3, deadline=None)
@given(rng=generators, B=st.integers(1, 4), T=st.integers(1, 9))
def test_every_model_is_like_a_loop(case, rng, B, T):
    model = small_model(case).astype(np.float64).eval()
    assert_like_a_loop(model, batch_for(model, rng, B, T), rng)


@pytest.mark.parametrize("name", MODELS)
def test_the_checkpoints_of_hugging_face_are_like_a_loop(name):
    model, rng = base_model(name).astype(np.float64), np.random.default_rng(0)
    assert_like_a_loop(model, batch_for(model, rng, 3, 7), rng)


@pytest.mark.parametrize("case", ["gpt2 learned", "llama untied", "bert sequence_classification"])
def test_lora_and_frozen_layers_are_like_a_loop(case):
    rng = np.random.default_rng(0)
    model = small_model(case)
    model.base_model.embeddings.freeze() if "bert" in case else model.base_model.freeze()
    model.astype(np.float64).eval()
    assert_like_a_loop(model, batch_for(model, rng, 3, 5), rng)
    model = small_model(case)
    model = inject(model, LoraConfig(r=2, target_modules="all-linear"))
    for module in model.modules():
        if isinstance(module, LoRA):
            module.B.data = rng.standard_normal(module.B.shape)
    model.astype(np.float64).eval()
    assert_like_a_loop(model, batch_for(model, rng, 3, 5), rng)


def test_the_padding_of_a_batch_changes_no_example():
    model = small_model("bert sequence_classification").astype(np.float64).eval()
    rng = np.random.default_rng(0)
    batch = batch_for(model, rng, 3, 6)
    batch["attention_mask"] = (np.arange(6) < np.array([[6], [2], [4]])).astype(int)
    with per_example_gradients(model, 3) as examples:
        model(**batch).loss.backward()
    short = {name: value[1:2] for name, value in batch.items()}
    short = {name: value[:, :2] if value.ndim == 2 else value for name, value in short.items()}
    with per_example_gradients(model, 1) as alone:
        model(**short).loss.backward()
    np.testing.assert_allclose(examples.norms()[1], alone.norms()[0], rtol=1e-9)


def test_learned_positions_from_any_start_and_a_layer_that_runs_twice():
    class Twice(Module):
        def __init__(self, rng):
            self.positions = LearnedPositions(9, 4, rng=rng)
            self.linear = Linear(4, 4, rng=rng, std=0.5)

        def forward(self, x):
            x = self.positions(x, start=2)
            return self.linear(self.linear(x))

        def backward(self, dy):
            return self.positions.backward(self.linear.backward(self.linear.backward(dy)))

    rng = np.random.default_rng(0)
    model = Twice(rng).astype(np.float64)
    batch = {"x": rng.standard_normal((3, 5, 4)), "targets": rng.integers(0, 4, (3, 5))}

    def loss(part):
        return cross_entropy_loss(model, model(part["x"]), part["targets"])

    assert_like_a_loop(model, batch, rng, loss=loss)


@given(rng=generators, n=st.integers(0, 3), m=st.integers(1, 5), k=st.integers(1, 5),
       kinds=st.lists(st.sampled_from(["product", "rows", "dense"]), max_size=4))
def test_norms_of_all_mixtures_of_uses(rng, n, m, k, kinds):
    uses, matrices = [], np.zeros((n, m, k))
    for kind in kinds:
        T = int(rng.integers(0, 5))
        B = rng.standard_normal((n, T, k))
        if kind == "product":
            A = rng.standard_normal((n, T, m))
            uses.append(Product(A, B))
            matrices += A.swapaxes(1, 2) @ B
        elif kind == "rows":
            ids = rng.integers(0, m, (n, T))
            uses.append(Rows(ids, B))
            for i in range(n):
                np.add.at(matrices[i], ids[i], B[i])
        else:
            G = rng.standard_normal((n, m, k))
            uses.append(Dense(G))
            matrices += G
    np.testing.assert_allclose(squared_norms(uses, (m, k), n), (matrices**2).sum(axis=(1, 2)),
                               rtol=1e-9, atol=1e-9)


@given(rng=generators, T=st.sampled_from([1, 2, 40]), m=st.integers(1, 9), k=st.integers(1, 9))
def test_both_ways_to_a_norm_agree(rng, T, m, k):
    """T = 40 is longer than the matrix is wide, so `squared_norms` builds the matrices"""
    uses = [Product(rng.standard_normal((3, T, m)), rng.standard_normal((3, T, k)))
            for _ in range(2)]
    grams = sum(use.squared_norms() for use in uses)
    grams = grams + 2 * np.einsum("itm,itk,ism,isk->i", uses[0].A, uses[0].B, uses[1].A, uses[1].B,
                                  optimize=True)
    np.testing.assert_allclose(squared_norms(uses, (m, k), 3), grams, rtol=1e-9)


# Classes that make Parameters. Add a new one here once its backward logs, and a model with it to
# CASES; or, if it never trains privately, to REFUSES.
LOGS = {"Linear", "Embedding", "LayerNorm", "RMSNorm", "LoRA", "LearnedPositions", "RelativeBias",
        # these make tables, and give them to an OutputHead:
        "CausalLM", "BertPredictionHead", "TransformerForConditionalGeneration",
        # a bias that is frozen:
        "MarianMTModel",
        # rows for more tokens, of tables that are there:
        "PreTrainedModel"}
REFUSES = {"SparseAutoencoder"}


def test_every_class_with_parameters_is_known():
    found = set()
    for info in pkgutil.walk_packages(minillm.__path__, "minillm."):
        if info.name.split(".")[1] in ("nn", "models", "insight", "tasks", "trust"):
            module = importlib.import_module(info.name)
            found |= {name for name, cls in vars(module).items()
                      if inspect.isclass(cls) and cls.__module__ == module.__name__
                      and "Parameter(" in inspect.getsource(cls)
                      and (issubclass(cls, Module) or name == "CausalLM")}
    assert found == LOGS | REFUSES


def test_a_layer_that_does_not_log_raises():
    rng = np.random.default_rng(0)
    model = SparseAutoencoder(4, 6)
    x = rng.standard_normal((3, 4)).astype(np.float32)
    with per_example_gradients(model, 3):
        x_hat, features = model(x)
        with pytest.raises(RuntimeError, match="parameter W_d doesn't log"):
            model.backward(x_hat, features)
    assert all(parameter.grad is None and parameter.log is None
               for parameter in model.parameters())


def test_rows_that_are_no_examples_raise():
    model = Linear(4, 4, rng=np.random.default_rng(0))
    with per_example_gradients(model, 3), pytest.raises(RuntimeError, match="weight was used on"):
        model.backward(model(np.ones((2, 4), np.float32)))


def test_losses_that_compare_examples_raise():
    model = Linear(4, 4, rng=np.random.default_rng(0))
    with per_example_gradients(model, 2), pytest.raises(ValueError, match="contrastive"):
        contrastive_loss(model, {"x": np.ones((2, 4))}, {"x": np.ones((2, 4))})


def test_blocks_can_not_be_nested():
    model = Linear(4, 4, rng=np.random.default_rng(0))
    with per_example_gradients(model, 2), pytest.raises(RuntimeError, match="running already"):
        with per_example_gradients(model, 2):
            pass
