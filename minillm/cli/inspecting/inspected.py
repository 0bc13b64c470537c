"""The model of `minillm inspect` and its text; a picture and a file of numbers."""

from dataclasses import replace

from minillm.cli.generation import read_stdin
from minillm.cli.opening import open_trained
from minillm.cli.terminal import say
from minillm.cli.visible import visible
from minillm.files import require_folder_of
from minillm.insight.anatomy import Anatomy, stacks_of
from minillm.insight.export import export, require_picture
from minillm.insight.subject import Subject
from minillm.insight.target import Likeness, Logit


class Inspected(Subject):
    """The model of --model, and the text of the command line as it reads it.

    reading: a Reading; its position is that of the prediction to explain
    of: "encoder", "decoder" or "cross", what is looked at;  stack: the name of the list of blocks
    tokens: of the vectors in that stack;  position: the one to look at
    """

    @classmethod
    def open_for(cls, options):
        """-> Inspected, without a text; refuses at once what could only be refused at the end"""
        if options.picture:
            require_picture(options.picture, "--picture")
        for name in ("picture", "json", "save"):
            path = getattr(options, name, None)
            if path:
                require_folder_of(path, f"--{name}")
        subject = cls.open(options.model, open_trained)
        subject.of = getattr(options, "stack", None) or "decoder"
        stacks = list(stacks_of(subject.model))
        if getattr(options, "stack", None) and not subject.is_encoder_decoder:
            raise ValueError(f"--stack is {options.stack!r}, but {options.model} is a "
                             f"{subject.architecture}, which has one stack of blocks")
        subject.stack = stacks[0] if subject.of == "encoder" else stacks[-1]
        return subject

    @classmethod
    def of_text(cls, options):
        subject = cls.open_for(options)
        text = options.text if options.text is not None else read_stdin("text")
        reading = subject.read(text, options.target_text)
        subject.tokens = reading.source_tokens if subject.of == "encoder" else reading.tokens
        position = getattr(options, "position", None)
        if subject.of == "encoder" and not options.needs_target:
            subject.position = place_of(-1 if position is None else position, subject.tokens)
        else:  # what is explained is a prediction, which is the decoder's
            place = reading.position if position is None else position
            reading = replace(reading, position=place_of(place, reading.tokens))
            subject.position = reading.position
        subject.reading = reading
        mask = subject.tokenizer.mask_token
        if (options.needs_target and subject.says == "token" and position is None
                and not subject.is_causal and mask not in reading.tokens):
            raise ValueError(f"the text has no {mask}, wanted one: it is what a "
                             f"{subject.model.config.model_type!r} model predicts")
        return subject

    @property
    def is_causal(self):
        return Anatomy(self.model).blocks[-1].module.attention.causal

    @property
    def anatomy(self):
        return Anatomy(self.model, self.stack)

    def names(self, ids):
        return [visible(name) for name in super().names(ids)]

    def answer_names(self, ids):
        return [visible(name) for name in super().answer_names(ids)]

    def target(self, options):
        """-> what is explained: --token against --against, or the likeness to --like"""
        if self.says == "vector":
            given = next((name for name in ("token", "against") if getattr(options, name)), None)
            if given is not None:
                raise ValueError(f"--{given} is {getattr(options, given)!r}, but a "
                                 f"{self.architecture} says no token: it makes a vector of a text; "
                                 "wanted --like TEXT")
            return super().target(self.reading, options.like and self.read(options.like))
        if options.like:
            raise ValueError(f"--like is {options.like!r}, wanted none: a {self.architecture} "
                             "makes no vector of a text, it says something")
        return super().target(self.reading, self._spelled("token", options.token),
                              self._spelled("against", options.against))

    def _spelled(self, name, text):
        return None if text is None else self.token(f"--{name}", text)

    def describe(self, target):
        """-> what a target is, in words"""
        if isinstance(target, Likeness):
            return "the likeness of the text's vector"
        ids = [getattr(target, "token", getattr(target, "label", None)), target.other]
        names = " - ".join(f"{name!r}" for name in self.answer_names(
            [id for id in ids if id is not None]))
        if not isinstance(target, Logit):
            return f"the score of {names}"
        where = f"{self.reading.tokens[target.position]!r}"
        if self.says != "token" or not self.is_causal:
            return f"the score of {names} at {where}"
        return f"the logit of {names} after {where}"

    def facts(self):
        """-> dict: what every file of numbers says about the text"""
        reading = self.reading
        source = {} if reading.source_tokens is None else {"source_tokens": reading.source_tokens}
        return {"tokens": reading.tokens, **source, "position": reading.position}


def place_of(position, tokens, name="--position"):
    """-> position, counted from the front; ValueError for one outside the text"""
    n = len(tokens)
    if not -n <= position < n:
        raise ValueError(f"{name} is {position}, wanted 0 … {n - 1} (or -1, the last): the text "
                         f"has {n} tokens")
    return position % n


def head_named(subject, name, given):
    """given: "layer.head", or None -> the head's name in a trace"""
    if given is None:
        return None
    heads = {f"{block.index}.{h}": block.head(h) for block, h in subject.anatomy.heads()}
    if given not in heads:
        raise ValueError(f"{name} is {given!r}, wanted LAYER.HEAD, one of {next(iter(heads))} … "
                         f"{list(heads)[-1]}")
    return heads[given]


def write(options, plot, data):
    """Write the picture and the numbers where the command line asks for them."""
    if options.picture:
        say(f"picture: {export(options.picture, plot())}")
    if options.json:
        export(options.json, {"model": str(options.model), **data})
        say(f"numbers: {options.json}")
