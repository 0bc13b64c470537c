"""The options of `generate`, as a checkpoint stores its defaults for them."""

from dataclasses import asdict, dataclass, fields

from minillm.json_files import read_json, write_json


@dataclass
class GenerationConfig:
    """Defaults for `generate`, in Hugging Face's generation_config.json. None means "not set".

    The meaning of each option is told at `minillm.generation.generate`. Every model has one as
    `model.generation_config`; its attributes may be set.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    num_return_sequences: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | str | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list | None = None
    pad_token_id: int | None = None

    @classmethod
    def read(cls, path):
        """From a generation_config.json; options that minillm doesn't have are passed over."""
        stored = read_json(path)
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def write(self, path):
        given = {name: value for name, value in asdict(self).items() if value is not None}
        write_json(path, given)
