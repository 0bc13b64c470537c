"""The class for a tokenizer's files, and registered algorithms."""

import json

import pytest
from word_level import WordLevel

from minillm.text import auto
from minillm.text.auto import AutoTokenizer, tokenizer_class
from minillm.text.gpt2_tokenizer import GPT2Tokenizer
from minillm.text.normalizers import Lowercase
from minillm.text.pre_tokenizers import Whitespace
from minillm.text.tokenizer import PreTrainedTokenizer
from minillm.text.tokenizer_files import check_vocab, read_vocab_lines

VOCAB = {"[UNK]": 0, "the": 1, "cat": 2, "\u2028": 3}


class WordTokenizer(PreTrainedTokenizer):
    classes = ("WordTokenizer",)
    vocabulary_files = ("vocab.txt",)
    own_options = {"do_lower_case": bool | None}

    def __init__(self, vocab, *, do_lower_case=True, pre_tokenizer=None, **options):
        self.do_lower_case = do_lower_case
        if do_lower_case:
            options["normalizer"] = Lowercase()
        super().__init__(vocab, WordLevel(vocab), pre_tokenizer or Whitespace(), **options)

    @classmethod
    def _from_files(cls, path, files):
        return {"vocab": check_vocab(path, files.model.get("vocab"))}

    def _model_to_json(self):
        return {"type": "WordLevel", "vocab": self._vocab, "unk_token": "[UNK]"}

    def _options_to_json(self):
        return {"do_lower_case": self.do_lower_case}

    def _join(self, ids):
        return " ".join(self.convert_ids_to_tokens(ids))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tokenizer of another algorithm, which is registered, in its files."""
    monkeypatch.setattr(auto, "TOKENIZERS", dict(auto.TOKENIZERS))
    auto.register("WordLevel", WordTokenizer)
    WordTokenizer(VOCAB, do_lower_case=False).save_pretrained(tmp_path)
    return tmp_path


def test_files_and_options_of_another_algorithm(folder):
    assert {path.name for path in folder.iterdir()} == {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"}
    assert (folder / "vocab.txt").read_bytes().decode() == "[UNK]\nthe\ncat\n\u2028\n"
    for kept in ("tokenizer.json", "vocab.txt"):  # either is enough
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert type(tokenizer) is WordTokenizer and tokenizer.get_vocab() == VOCAB
        assert tokenizer.encode("the cat The") == [1, 2, 0]
        assert AutoTokenizer.from_pretrained(folder, do_lower_case=True).encode("The") == [1]
        (folder / "tokenizer.json").unlink(missing_ok=True)


def test_two_files_that_differ(folder):
    (folder / "vocab.txt").write_text("[UNK]\nthe\n")
    with pytest.raises(ValueError, match="vocab.txt: its vocabulary is not that of tokenizer.json"):
        AutoTokenizer.from_pretrained(folder)
    (folder / "vocab.txt").write_text("[UNK]\nthe\nthe\n")
    assert read_vocab_lines(folder / "vocab.txt") == {"[UNK]": 0, "the": 2}
    (folder / "vocab.txt").write_bytes(b"\xef\xbb\xbf[UNK]\r\nthe\r\n")
    assert read_vocab_lines(folder / "vocab.txt") == {"[UNK]": 0, "the": 1}


def test_ids_that_are_no_line_numbers_have_no_vocab_txt(folder):
    for path in folder.iterdir():
        path.unlink()
    WordTokenizer({"the": 5, "cat": 2}).save_pretrained(folder)
    assert not (folder / "vocab.txt").exists()
    assert AutoTokenizer.from_pretrained(folder).encode("the cat") == [5, 2]


def test_the_tokenizer_that_ships():
    tokenizer = AutoTokenizer.from_pretrained("pydoc-tiny", padding_side="left")
    assert type(tokenizer) is GPT2Tokenizer and tokenizer.padding_side == "left"


def test_what_no_class_reads(tmp_path, folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["type"] = "Unigram"
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="tokenizer.json: model.type is 'Unigram', wanted one of "
                                         "'BPE', 'WordPiece', 'WordLevel'$"):
        tokenizer_class(folder)
    with pytest.raises(ValueError, match="^algorithm is 'BPE', which has a class already$"):
        auto.register("BPE", WordTokenizer)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no tokenizer.json there, and no vocab.json and"):
        AutoTokenizer.from_pretrained(folder)
