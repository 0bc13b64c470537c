"""Sentence embeddings: those of `transformers`, their files, and a siamese gradient check."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generators

from minillm import BertModel, BertTokenizer, GPT2Config, GPT2Model, GPT2Tokenizer, SentenceEncoder
from minillm.models.safetensors_file import read_safetensors, write_safetensors
from minillm.models.sentence_encoder import SentenceDense
from minillm.nn import contrastive_loss
from minillm.ops.cosine_search import cosine_search, cosine_similarity

FOLDER = Path(__file__).parents[1] / "fixtures" / "sentence_tiny"
EXPECTED = np.load(FOLDER / "expected.npz")
TEXTS = json.loads(str(EXPECTED["texts"]))


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder.from_pretrained(FOLDER)


@pytest.fixture
def folder(tmp_path):
    """A copy of the fixture that a test may change."""
    return Path(shutil.copytree(FOLDER, tmp_path / "model"))


def change(folder, name, **fields):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **fields}))


def write_modules(folder, *steps):
    (folder / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": path, "type": kind}
         for i, (path, kind) in enumerate(steps)]))


OLD = "sentence_transformers.models"
STEPS = [("", f"{OLD}.Transformer"), ("1_Pooling", f"{OLD}.Pooling")]
DENSE = {"in_features": 12, "out_features": 5, "bias": True,
         "activation_function": "torch.nn.modules.activation.Tanh"}


def add_dense(folder, **changes):
    (folder / "2_Dense").mkdir()
    shutil.copy(folder / "dense.safetensors", folder / "2_Dense" / "model.safetensors")
    change(folder, "2_Dense/config.json", **{**DENSE, **changes})
    write_modules(folder, *STEPS, ("2_Dense", f"{OLD}.Dense"),
                  ("3_Normalize", f"{OLD}.Normalize"))


def assert_equal(actual, name):
    np.testing.assert_allclose(actual, EXPECTED[name], atol=1e-5)


# ---- the numbers of transformers


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
def test_embeddings_equal_transformers_and_a_pooling_by_hand(how):
    encoder = SentenceEncoder.from_pretrained(FOLDER, pooling=how)
    embeddings = encoder.encode(TEXTS, batch_size=3)
    assert embeddings.dtype == np.float32
    assert_equal(embeddings, how)


def test_without_normalization(folder):
    write_modules(folder, *STEPS)
    assert_equal(SentenceEncoder.from_pretrained(folder).encode(TEXTS), "unnormalized")
    assert_equal(SentenceEncoder.from_pretrained(folder, normalize=True).encode(TEXTS), "mean")


def test_a_dense_layer(folder):
    add_dense(folder)
    encoder = SentenceEncoder.from_pretrained(folder)
    assert encoder.width == 5
    assert_equal(encoder.encode(TEXTS), "dense")
    change(folder, "2_Dense/config.json",
           activation_function="torch.nn.modules.linear.Identity")
    write_modules(folder, *STEPS, ("2_Dense", f"{OLD}.Dense"))
    assert_equal(SentenceEncoder.from_pretrained(folder).encode(TEXTS), "linear")


def test_the_names_of_release_6(folder):
    here = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    write_modules(folder, ("", "sentence_transformers.base.modules.transformer.Transformer"),
                  ("1_Pooling", here), ("2_N", "sentence_transformers.base.modules.normalize."
                                               "Normalize"))
    (folder / "1_Pooling" / "config.json").unlink()
    change(folder, "1_Pooling/config.json", embedding_dimension=12, pooling_mode="lasttoken",
           include_prompt=True)
    change(folder, "sentence_bert_config.json", transformer_task="feature-extraction",
           module_output_name="token_embeddings",
           modality_config={"text": {"method": "forward",
                                     "method_output_name": "last_hidden_state"}})
    assert_equal(SentenceEncoder.from_pretrained(folder).encode(TEXTS), "last")


def test_the_model_in_a_subfolder(folder):
    inside = folder / "0_Transformer"
    inside.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                 "sentence_bert_config.json"):
        (folder / name).rename(inside / name)
    write_modules(folder, ("0_Transformer", f"{OLD}.Transformer"), *STEPS[1:],
                  ("2_Normalize", f"{OLD}.Normalize"))
    assert_equal(SentenceEncoder.from_pretrained(folder).encode(TEXTS), "mean")


def test_a_plain_checkpoint_gets_the_normalized_mean(folder):
    (folder / "modules.json").unlink()
    encoder = SentenceEncoder.from_pretrained(folder, max_length=10)
    assert_equal(encoder.encode(TEXTS), "mean")
    assert SentenceEncoder.from_pretrained(folder).max_length == 16  # the tokenizer's


@pytest.mark.filterwarnings("error")
def test_bert_without_a_pooler(folder):
    tensors = read_safetensors(folder / "model.safetensors")
    write_safetensors(folder / "model.safetensors", {
        name: array for name, array in tensors.items() if "pooler" not in name})
    encoder = SentenceEncoder.from_pretrained(folder)
    assert_equal(encoder.encode(TEXTS), "mean")
    assert encoder.model.pooler is None


def test_lower_case_and_a_prompt(folder):
    change(folder, "sentence_bert_config.json", do_lower_case=True)
    change(folder, "tokenizer_config.json", do_lower_case=False)
    change(folder, "config_sentence_transformers.json", default_prompt_name="query",
           prompts={"query": "where is "})
    encoder = SentenceEncoder.from_pretrained(folder)
    np.testing.assert_allclose(encoder.encode("my PARCEL?"), EXPECTED["mean"][0], atol=1e-5)


# ---- saved and opened again


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [False, True])
def test_saved_files_open_as_the_same_encoder(tmp_path, encoder, how, normalize):
    rng = np.random.default_rng(0)
    dense = [SentenceDense(rng.standard_normal((12, 7)).astype(np.float32), None),
             SentenceDense(rng.standard_normal((7, 6)).astype(np.float32),
                           np.ones(6, np.float32), "tanh")]
    ours = SentenceEncoder(encoder.model, encoder.tokenizer, how, normalize, 9, dense=dense,
                           lower_case=True, prompt="so: ").eval()
    ours.save_pretrained(tmp_path)
    again = SentenceEncoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.encode(TEXTS), ours.encode(TEXTS))
    assert (again.max_length, again.prompt, again.lower_case) == (9, "so: ", True)


def test_a_decoder_is_saved_and_opened_too(tmp_path):
    tokenizer = GPT2Tokenizer.from_pretrained("pydoc-tiny")
    model = GPT2Model.from_pretrained("pydoc-tiny")
    ours = SentenceEncoder(model, tokenizer, "last")
    ours.save_pretrained(tmp_path)
    np.testing.assert_array_equal(SentenceEncoder.from_pretrained(tmp_path).encode(TEXTS),
                                  ours.encode(TEXTS))


# ---- what every encoder does


@settings(max_examples=8)
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=6), size=st.integers(1, 4))
def test_an_embedding_depends_on_its_text_alone(encoder, texts, size):
    embeddings = encoder.encode(texts, batch_size=size)
    for text, embedding in zip(texts, embeddings):
        np.testing.assert_allclose(embedding, encoder.encode(text), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_a_decoder_takes_any_text_even_an_empty_one():
    encoder = SentenceEncoder(GPT2Model.from_pretrained("pydoc-tiny"),
                              GPT2Tokenizer.from_pretrained("pydoc-tiny"))
    embeddings = encoder.encode(["", "a class", "x" * 2000])
    assert np.isfinite(embeddings).all() and not embeddings[0].any()
    np.testing.assert_allclose(encoder.encode("a class"), embeddings[1], atol=1e-5)


def test_encoding_keeps_the_mode_and_reports(encoder):
    seen = []
    encoder.train()
    encoder.encode(TEXTS, batch_size=3, report=lambda *done: seen.append(done))
    assert encoder.training and encoder.model.training and seen == [(3, 8), (6, 8), (8, 8)]
    encoder.eval()
    assert encoder.encode([]).shape == (0, 12)


def test_similarity_of_texts_and_of_embeddings(encoder):
    scores = encoder.similarity(TEXTS, TEXTS[:2])
    assert scores.shape == (8, 2) and scores[0, 0] == pytest.approx(1)
    E = encoder.encode(TEXTS)
    np.testing.assert_allclose(encoder.similarity(E, E[:2]), scores, atol=1e-6)
    np.testing.assert_allclose(encoder.similarity(TEXTS[0], E)[0], E @ E[0], atol=1e-6)


@pytest.mark.parametrize("base, how", [("bert", "mean"), ("gpt2", "last")])
def test_gradients_of_contrastive_training(base, how):
    rng = np.random.default_rng(0)
    if base == "bert":
        model, tokenizer = BertModel.from_pretrained(FOLDER), BertTokenizer.from_pretrained(FOLDER)
    else:
        tokenizer = GPT2Tokenizer.train("where is my parcel? " * 3, 260)
        model = GPT2Model(GPT2Config(vocab_size=260, n_positions=16, n_embd=8, n_layer=1, n_head=2,
                                     initializer_range=0.3))
    dense = [SentenceDense(rng.standard_normal((model.config.hidden_size, 6)), np.zeros(6), "tanh")]
    encoder = SentenceEncoder(model, tokenizer, how, max_length=8, dense=dense).astype(np.float64)
    encoder.eval()
    sides = encoder.tokens(["where is my parcel", "parcel"]), encoder.tokens(["my", "is it", "a"])

    def loss():
        return contrastive_loss(encoder, *sides, temperature=0.5)

    loss().backward()
    learned = [pair for pair in encoder.named_parameters() if pair[1].grad is not None]
    learned = dict(learned[::4] + learned[-2:])
    check_gradients(lambda: loss().item(), {name: each.data for name, each in learned.items()},
                    {name: each.grad.copy() for name, each in learned.items()}, rng, 1e-5)


# ---- search


@given(rng=generators, n=st.integers(1, 4), N=st.integers(0, 30), k=st.integers(1, 9),
       chunk=st.integers(1, 40))
def test_search_finds_the_highest_cosines_whatever_the_chunk(rng, n, N, k, chunk):
    queries, vectors = rng.standard_normal((n, 3)), rng.standard_normal((N, 3))
    vectors[N // 2 :] = vectors[: N - N // 2]  # ties
    scores, indices = cosine_search(queries, vectors, k, chunk)
    cosines = np.array([[q @ v / np.linalg.norm(q) / np.linalg.norm(v) for v in vectors]
                        for q in queries]).reshape(n, N)
    order = np.argsort(-cosines.round(12), axis=1, kind="stable")[:, :k]
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, order, axis=1), atol=1e-9)
    for row, found in enumerate(indices):
        assert len(set(found)) == min(k, N)
        np.testing.assert_allclose(cosines[row, found], scores[row], atol=1e-9)


def test_equal_scores_come_in_order():
    _, indices = cosine_search(np.eye(2), np.eye(2)[[1, 0, 0, 1, 0]], k=5, chunk=2)
    assert indices.tolist() == [[1, 2, 4, 0, 3], [0, 3, 1, 2, 4]]


def test_a_vector_of_zeros_is_similar_to_nothing():
    assert not cosine_similarity(np.zeros((1, 3)), np.eye(3)).any()


@pytest.mark.parametrize("options, message", [
    ({"k": 0}, "k is 0, wanted at least 1"),
    ({"chunk": 0}, "chunk is 0, wanted at least 1"),
    ({"vectors": np.zeros((3, 4))}, r"vectors has shape \(3, 4\), wanted \('any', 2\)"),
])
def test_errors_of_the_search(options, message):
    with pytest.raises(ValueError, match=message):
        cosine_search(**{"queries": np.eye(2), "vectors": np.eye(2), **options})


# ---- what isn't there is refused by name


@pytest.mark.parametrize("name, fields, message", [
    ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "the pooling is 'mean \\+ max'|"
     "the pooling is 'max \\+ mean'"),
    ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "the pooling is 'weightedmean', "
     "wanted one of mean, cls, lasttoken"),
    ("1_Pooling/config.json", {"word_embedding_dimension": 384}, "word_embedding_dimension is 384, "
     "but the model's vectors have 12 numbers"),
    ("1_Pooling/config.json", {"word_embedding_dimension": "12"}, "word_embedding_dimension is "
     "'12', wanted an integer"),
    ("1_Pooling/config.json", {"new_option": 1}, "new_option is a field that minillm doesn't know"),
    ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length is 0, wanted at least 1"),
    ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task is "
     "'fill-mask', but only 'feature-extraction' is implemented"),
    ("sentence_bert_config.json", {"query_length": 32}, "query_length is 32"),
    ("config_sentence_transformers.json", {"similarity_fn_name": "euclidean"},
     "similarity_fn_name is 'euclidean', but only 'cosine' is implemented"),
    ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "model_type is "),
    ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "default_prompt_name is "
     "'q', which is not one of the prompts"),
])
def test_options_that_are_refused(folder, name, fields, message):
    change(folder, name, **fields)
    with pytest.raises(ValueError, match=message) as error:
        SentenceEncoder.from_pretrained(folder)
    assert name.split("/")[-1] in str(error.value) and "\n" not in str(error.value)


def test_a_prompt_that_pooling_leaves_out(folder):
    change(folder, "1_Pooling/config.json", include_prompt=False)
    SentenceEncoder.from_pretrained(folder)
    change(folder, "config_sentence_transformers.json", default_prompt_name="q",
           prompts={"q": "query: "})
    with pytest.raises(ValueError, match="include_prompt is False"):
        SentenceEncoder.from_pretrained(folder)


@pytest.mark.parametrize("steps, message", [
    ([*STEPS, ("2_X", f"{OLD}.LayerNorm")], r"\[2\].type is 'sentence_transformers.models."
     "LayerNorm', wanted one of Transformer"),
    ([STEPS[0], ("1_Pooling", "my_code.Pooling")], r"\[1\].type is 'my_code.Pooling'"),
    ([STEPS[1], STEPS[0]], "the modules are Pooling, Transformer, wanted Transformer, Pooling"),
    (STEPS[:1], "the modules are Transformer, wanted"),
    ([*STEPS, ("", f"{OLD}.Normalize"), ("2_Dense", f"{OLD}.Dense")],
     "wanted Transformer, Pooling"),
    ([("../other", f"{OLD}.Transformer"), STEPS[1]], r"\[0\].path is '../other', wanted a folder"),
])
def test_modules_that_are_refused(folder, steps, message):
    write_modules(folder, *steps)
    with pytest.raises(ValueError, match=message):
        SentenceEncoder.from_pretrained(folder)


@pytest.mark.parametrize("content", ["{}", "3", "[3]", '[{"path": ""}]', "[", "[]"])
def test_a_broken_list_of_modules(folder, content):
    (folder / "modules.json").write_text(content)
    with pytest.raises(ValueError, match="modules.json"):
        SentenceEncoder.from_pretrained(folder)


@pytest.mark.parametrize("changes, message", [
    ({"activation_function": "torch.nn.modules.activation.ReLU"}, "activation_function is"),
    ({"use_residual": True}, "use_residual is True, but only False is implemented"),
    ({"in_features": 5}, r"linear.weight has shape \(5, 12\)"),
    ({"bias": False}, "model.safetensors has "),
    ({"module_input_name": "token_embeddings"}, "module_input_name is 'token_embeddings'"),
])
def test_dense_layers_that_are_refused(folder, changes, message):
    add_dense(folder, **changes)
    with pytest.raises(ValueError, match=message):
        SentenceEncoder.from_pretrained(folder)


def test_arguments_out_of_range(encoder):
    for options, message in (({"pooling": "max"}, "pooling is 'max'"),
                             ({"max_length": 2}, "max_length is 2, wanted at least 3")):
        with pytest.raises(ValueError, match=message):
            SentenceEncoder(encoder.model, encoder.tokenizer, **options)
    with pytest.raises(TypeError, match="texts contains a int, wanted str"):
        encoder.encode(["a", 3])
    with pytest.raises(ValueError, match="batch_size is 0"):
        encoder.encode(["a"], batch_size=0)


def test_an_encoder_decoder_is_refused(encoder):
    from minillm import MarianModel

    folder = FOLDER.parent / "marian_tiny"
    with pytest.raises(ValueError, match="model is a MarianModel, an encoder-decoder"):
        SentenceEncoder(MarianModel.from_pretrained(folder), encoder.tokenizer)
