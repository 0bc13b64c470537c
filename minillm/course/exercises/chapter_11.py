"""The exercises of chapter 11, Loading and fine-tuning."""

import json

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 11.1 tensor_place


def _header(data):
    N = int.from_bytes(data[:8], "little")
    return N, json.loads(data[8 : 8 + N])


def _tensor_place(data, name, *, start=lambda N: 8 + N):
    N, header = _header(data)
    begin, end = header[name]["data_offsets"]
    return start(N) + begin, start(N) + end


def _place_from(start):
    return lambda data, name: _tensor_place(data, name, start=start)


def _file(tensors, padding=0):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape,
                        "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode() + b" " * padding
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in tensors.values())


def _place_cases(rng):
    tensors = {name: rng.normal(size=shape).astype(np.float32)
               for name, shape in (("wte", (5, 3)), ("h.0.bias", (7,)), ("ln_f", (2, 2, 2)))}
    return [(_file(tensors), "h.0.bias"), (_file(tensors, 5), "wte"), (_file(tensors, 2), "ln_f")]


_PLACE_MISTAKES = [
    Mistake("You return the offsets as they stand in the header. They count from the end of the "
            "header; the exercise asks for places in the file.", wrong=_place_from(lambda N: 0)),
    Mistake("You forget the eight bytes in front of the header, which hold its length.",
            wrong=_place_from(lambda N: N)),
    Mistake("You forget the header itself: the numbers begin after its N bytes.",
            wrong=_place_from(lambda N: 8)),
    Mistake("You count the eight bytes twice: the header's length N doesn't include them, and "
            "they stand in the file once.", wrong=_place_from(lambda N: 16 + N)),
    Mistake("The numbers begin right after the header, not one byte later.",
            wrong=_place_from(lambda N: 9 + N)),
    Mistake("The end is the byte after the last one, as the header gives it. Don't subtract 1.",
            wrong=lambda data, name: (_tensor_place(data, name)[0],
                                      _tensor_place(data, name)[1] - 1)),
    Mistake("You return the begin and the length. The exercise asks for the begin and the end.",
            wrong=lambda data, name: (_tensor_place(data, name)[0],
                                      np.subtract(*_tensor_place(data, name)[::-1]).item())),
    Mistake("Only the begin is counted from the start of the file. Move the end as well.",
            wrong=lambda data, name: (_tensor_place(data, name)[0],
                                      _header(data)[1][name]["data_offsets"][1])),
    Mistake("The two are the wrong way around: begin first, then end.",
            wrong=lambda data, name: _tensor_place(data, name)[::-1]),
    Mistake("You return the begin alone. The end is wanted too.",
            when=lambda got, want, *rest: np.isscalar(got) and got == want[0]),
    Mistake("You begin at the end of the header, whatever the tensor: its own begin is missing.",
            wrong=lambda data, name: (8 + _header(data)[0], _tensor_place(data, name)[1])),
    Mistake("You measure the header after parsing it. In the file it may be longer, with spaces "
            "at its end: use N.",
            wrong=lambda data, name: tuple(8 + len(json.dumps(_header(data)[1])) + offset for offset
                                           in _header(data)[1][name]["data_offsets"])),
    Mistake("You return the begin and the number of entries. The exercise asks for the end, in "
            "bytes.",
            wrong=lambda data, name: (_tensor_place(data, name)[0],
                                      int(np.prod(_header(data)[1][name]["shape"])))),
    Mistake("You count tensors or numbers, but the offsets are in bytes: four for each float32.",
            wrong=lambda data, name: tuple(
                8 + _header(data)[0] + offset // 4
                for offset in _header(data)[1][name]["data_offsets"])),
]

# ---- 11.2 total_perplexity


def _total_perplexity(losses, counts):
    return np.exp(np.sum(losses * counts) / np.sum(counts))


_PERPLEXITY_MISTAKES = [
    Mistake("You return a perplexity for each text. One for all of them together is wanted.",
            when=lambda got, want, losses, counts: np.shape(got) == losses.shape),
    Mistake("You take the perplexity of the hardest text alone.",
            wrong=lambda losses, counts: np.exp(np.max(losses))),
    Mistake("You average the losses of the texts, each with the same weight. A loss is a mean "
            "over tokens, so a long text counts for more: weight each by its tokens.",
            wrong=lambda losses, counts: np.exp(np.mean(losses))),
    Mistake("You average perplexities. Average the losses, and take the exponential at the end.",
            wrong=lambda losses, counts: np.mean(np.exp(losses))),
    Mistake("You average perplexities, weighted by tokens. Average the losses instead, and take "
            "the exponential at the end.",
            wrong=lambda losses, counts: np.sum(np.exp(losses) * counts) / np.sum(counts)),
    Mistake("That is the mean loss. The perplexity is e to that power.",
            wrong=lambda losses, counts: np.sum(losses * counts) / np.sum(counts)),
    Mistake("The losses are in nats, so the base is e, not 2.",
            wrong=lambda losses, counts: 2 ** (np.sum(losses * counts) / np.sum(counts))),
    Mistake("You turn nats into bits and then take e to that power. Either 2 to the bits or e to "
            "the nats.",
            wrong=lambda losses, counts: np.exp(np.sum(losses * counts) / np.sum(counts)
                                                / np.log(2))),
    Mistake("The base is e, not 10.",
            wrong=lambda losses, counts: 10 ** (np.sum(losses * counts) / np.sum(counts))),
    Mistake("You forget to divide by the number of all tokens.",
            when=lambda got, want, losses, counts: not np.isfinite(got) or np.isclose(
                got, np.exp(np.sum(losses * counts)))),
    Mistake("You divide by the number of texts. Divide by the number of all tokens.",
            wrong=lambda losses, counts: np.exp(np.sum(losses * counts) / len(losses))),
    Mistake("The sign: losses are already minus the logarithm, so the perplexity is above 1.",
            wrong=lambda losses, counts: np.exp(-np.sum(losses * counts) / np.sum(counts))),
    Mistake("You divide by the counts: the mean losses are already per token. Multiply by them to "
            "get sums.",
            wrong=lambda losses, counts: np.exp(np.sum(losses / counts) / np.sum(1 / counts))),
    Mistake("You add the losses up. Their weighted mean is wanted.",
            wrong=lambda losses, counts: np.exp(np.sum(losses))),
]

# ---- 11.3 trained_names


def _trained(names, frozen):
    return [name for name in names if not name.startswith(tuple(frozen))]


def _trained_names(names, k):
    return _trained(names, ["transformer.wte.", "transformer.wpe.",
                            *(f"transformer.h.{i}." for i in range(k))])


def _layers(names):
    return 1 + max(int(name.split(".")[2]) for name in names if ".h." in name)


def _blocks(numbers, *others):
    return [*others, *(f"transformer.h.{i}." for i in numbers)]


_TABLES = ("transformer.wte.", "transformer.wpe.")


def _names(n_layer):
    parts = ("norm1.weight", "attention.qkv.weight", "attention.qkv.bias", "feed_forward.expand.weight")
    return ["transformer.wte.weight", "transformer.wpe.weight",
            *(f"transformer.h.{i}.{part}" for i in range(n_layer) for part in parts),
            "transformer.ln_f.weight", "transformer.ln_f.bias"]


_TRAINED_MISTAKES = [
    Mistake("The bug is still there. Which names of a model with twelve blocks begin with "
            "\"transformer.h.1\"?",
            wrong=lambda names, k: _trained(names, [
                *_TABLES, *(f"transformer.h.{i}" for i in range(k))])),
    Mistake("You freeze one block too many: the lowest k are the numbers 0 … k - 1.",
            wrong=lambda names, k: _trained(names, _blocks(range(k + 1), *_TABLES))),
    Mistake("You leave block 0 trainable: the lowest k blocks are the numbers 0 … k - 1.",
            wrong=lambda names, k: _trained(names, _blocks(range(1, k + 1), *_TABLES))),
    Mistake("You freeze one block too few: the lowest k are the numbers 0 … k - 1.",
            wrong=lambda names, k: _trained(names, _blocks(range(k - 1), *_TABLES))),
    Mistake("You freeze only the block with the number k, not those below it.",
            wrong=lambda names, k: _trained(names, _blocks([k], *_TABLES))),
    Mistake("You return the frozen names. The others are wanted.",
            wrong=lambda names, k: [name for name in names if name not in _trained_names(names, k)]),
    Mistake("You freeze the upper blocks. The lowest k, near the embeddings, are meant.",
            wrong=lambda names, k: _trained(names, _blocks(range(_layers(names) - k, _layers(names)),
                                                           *_TABLES))),
    Mistake("You leave the embeddings trainable; they are frozen too.",
            wrong=lambda names, k: _trained(names, _blocks(range(k)))),
    Mistake("You leave the position table wpe trainable; both embeddings are frozen.",
            wrong=lambda names, k: _trained(names, _blocks(range(k), "transformer.wte."))),
    Mistake("You leave the token table wte trainable; both embeddings are frozen.",
            wrong=lambda names, k: _trained(names, _blocks(range(k), "transformer.wpe."))),
    Mistake("You freeze the last layer norm, ln_f, as well. It learns.",
            wrong=lambda names, k: _trained(names, _blocks(range(k), *_TABLES, "transformer.ln_f"))),
    Mistake("Return the names as they are, with \"transformer.\" in front.",
            when=lambda got, want, *rest: len(got) > 0
            and all(not name.startswith("transformer.") for name in got)),
    Mistake("Nothing is frozen: you return all names.",
            when=lambda got, want, names, k: len(got) == len(names)),
    Mistake("Everything is frozen: you return no names.",
            when=lambda got, want, names, k: len(got) == 0),
    Mistake("Return the list of the names, not their number.",
            when=lambda got, want, names, k: np.isscalar(got)),
    Mistake("The names are right, but you return a set. The exercise asks for a list, in order.",
            when=lambda got, want, *rest: isinstance(got, (set, frozenset)) and got == set(want)),
    Mistake("The right names in another order: keep that of `names`.",
            when=lambda got, want, *rest: sorted(got) == sorted(want)),
    Mistake("An embedding still learns in your answer: wte and wpe are both frozen.",
            when=lambda got, want, names, k: any(name.startswith(_TABLES) for name in got)),
    Mistake("The last layer norm, ln_f, learns. It isn't in your answer.",
            when=lambda got, want, names, k: not {name for name in names if "ln_f" in name}
            <= set(got)),
    Mistake("A block below k still learns in your answer: the numbers 0 … k - 1 are frozen.",
            when=lambda got, want, names, k: any(
                name.startswith(tuple(_blocks(range(k)))) for name in got)),
    Mistake("You freeze a block that should learn: only the numbers 0 … k - 1 are frozen. Compare "
            "the whole number of a block, 10 as well as 1.",
            when=lambda got, want, names, k: len(set(want) - set(got)) > 0),
]

# ---- 11.4 early_stop


def _early_stop(losses, patience, *, better=lambda new, old: new < old, at=lambda p: p,
                result=lambda best, i: best):
    best = 0
    for i in range(len(losses)):
        if better(losses[i], losses[best]):
            best = i
        if i - best >= at(patience):
            break
    return int(result(best, i))


def _stop_with(**changes):
    return lambda losses, patience: _early_stop(losses, patience, **changes)


def _restart_when_rising(losses, patience):
    """Counts evaluations that are worse than the one before, not than the best."""
    best, waited = 0, 0
    for i in range(1, len(losses)):
        if losses[i] < losses[best]:
            best = i
        waited = waited + 1 if losses[i] >= losses[i - 1] else 0
        if waited >= patience:
            break
    return best


def _never_reset(losses, patience):
    """Counts all evaluations without progress, in a row or not."""
    best, waited = 0, 0
    for i in range(1, len(losses)):
        if losses[i] < losses[best]:
            best = i
        else:
            waited += 1
        if waited >= patience:
            break
    return best


def _last_minimum_before_rise(losses, patience):
    """Stops at the first rise."""
    for i in range(1, len(losses)):
        if losses[i] >= losses[i - 1]:
            return i - 1
    return len(losses) - 1


def _stop_cases(rng):
    return [
        (np.array([5.0, 4.0, 3.0, 3.2, 3.1, 2.9, 3.0, 3.3, 3.4, 2.0]), 3),
        (np.array([5.0, 4.0, 4.0, 3.9, 3.95, 3.8, 3.8, 3.9, 3.1]), 2),
        (np.array([3.0, 2.0, 1.0]), 1),
        (np.array([2.0, 2.5, 2.4, 2.3, 1.0]), 4),
        (np.array([4.0, 3.0, 3.5, 2.0, 2.5, 1.5, 1.6, 1.7, 1.8, 1.0]), 3),
        (np.array([6.0, 5.0, 5.5, 5.2, 5.1, 4.0]), 3),
        (np.array([4.0, 3.0, 2.5, 2.7, 2.6, 2.9, 3.0]), 6),
        (np.array([3.0, 2.0, 2.5, 2.6, 1.5, 1.6, 1.7, 1.8, 1.9, 1.0]), 2),
    ]


_STOP_MISTAKES = [
    Mistake("You look at all losses. Early stopping sees nothing after the stop, even if it is "
            "lower.",
            wrong=lambda losses, patience: int(np.argmin(losses))),
    Mistake("You return the evaluation at which you stop. Return the best one before it.",
            wrong=_stop_with(result=lambda best, i: i)),
    Mistake("You return the last evaluation.", wrong=lambda losses, patience: len(losses) - 1),
    Mistake("You stop one evaluation too late: stop at the one that is the patience-th without a "
            "new minimum.", wrong=_stop_with(at=lambda p: p + 1)),
    Mistake("You stop one evaluation too early: with patience p, the p-th without a new minimum "
            "ends the run, not the one before.", wrong=_stop_with(at=lambda p: p - 1)),
    Mistake("You count an equal loss as a new minimum. Keep the earlier one: it has forgotten "
            "less.",
            wrong=_stop_with(better=lambda new, old: new <= old)),
    Mistake("You look for the highest loss.", wrong=_stop_with(better=lambda new, old: new > old)),
    Mistake("You compare each loss with the one before. Compare it with the best so far: a loss "
            "that falls a little after a rise is no progress yet.", wrong=_restart_when_rising),
    Mistake("You count all evaluations without progress. Only those in a row count: a new minimum "
            "sets the count to 0.", wrong=_never_reset),
    Mistake("You stop at the first rise, whatever the patience is.",
            wrong=_last_minimum_before_rise),
    Mistake("You return the loss. The index of the evaluation is wanted.",
            wrong=lambda losses, patience: float(losses[_early_stop(losses, patience)])),
    Mistake("You return the index and the loss. The index alone is wanted.",
            when=lambda got, want, *rest: isinstance(got, tuple) and got[0] == want),
    Mistake("Your first minimum is 0, and no loss is below it: start with the first loss, or with "
            "infinity.", wrong=lambda losses, patience: 0),
    Mistake("You look at the first `patience` evaluations only. After each new minimum the "
            "waiting starts again.",
            wrong=lambda losses, patience: int(np.argmin(losses[:patience]))),
    Mistake("You look at the first `patience` + 1 evaluations only. After each new minimum the "
            "waiting starts again.",
            wrong=lambda losses, patience: int(np.argmin(losses[: patience + 1]))),
    Mistake("You count back from the end of the list. The run may stop long before it.",
            wrong=lambda losses, patience: max(len(losses) - 1 - patience, 0)),
    Mistake("You count from 1. The index of the first evaluation is 0.",
            wrong=_stop_with(result=lambda best, i: best + 1)),
]

# ---- 11.5 trained_parameters

_D = 768
_ONE_BLOCK = 12 * _D * _D + 13 * _D

_COUNT_MISTAKES = [
    Mistake("The last layer norm is missing: a weight and a bias of 768 numbers.",
            wrong=_ONE_BLOCK),
    Mistake("The last layer norm has a weight and a bias; you count one of them.",
            wrong=_ONE_BLOCK + _D),
    Mistake("You leave out all biases and norms of the block.", wrong=12 * _D * _D + 2 * _D),
    Mistake("You leave out all biases and norms.", wrong=12 * _D * _D),
    Mistake("You leave out the biases of the block's four linear maps, 9 d numbers.",
            wrong=12 * _D * _D + 4 * _D + 2 * _D),
    Mistake("You leave out the block's own two layer norms, 4 d numbers.",
            wrong=12 * _D * _D + 9 * _D + 2 * _D),
    Mistake("You count the head as well. It is the token table, and stays frozen here.",
            wrong=_ONE_BLOCK + 2 * _D + 50257 * _D),
    Mistake("That is all of GPT-2. Only one of its twelve blocks learns, and the last norm.",
            wrong=124439808),
    Mistake("You count all twelve blocks.", wrong=12 * _ONE_BLOCK + 2 * _D),
    Mistake("You count all twelve blocks, and no last norm.", wrong=12 * _ONE_BLOCK),
    Mistake("That is the token table. It is frozen.", wrong=50257 * _D),
    Mistake("You count the position table as well. It is frozen.",
            wrong=_ONE_BLOCK + 2 * _D + 1024 * _D),
    Mistake("That is a block of pydoc-tiny. Here d is 768.", wrong=12 * 128**2 + 15 * 128),
    Mistake("Give the exact number, not millions.",
            when=lambda got, *rest: 7.0 < float(got) < 7.2),
    Mistake("That is the feed-forward network alone. The block also has attention.",
            wrong=8 * _D * _D + 5 * _D),
    Mistake("That is attention alone. The block also has a feed-forward network.",
            wrong=4 * _D * _D + 4 * _D),
    Mistake("You count one of the two matrices of the feed-forward network.",
            wrong=8 * _D * _D + 9 * _D + 2 * _D),
]

EXERCISES = [
    Exercise("11.1", "tensor_place", reference=_tensor_place, cases=_place_cases,
             mistakes=_PLACE_MISTAKES),
    Exercise("11.2", "total_perplexity", reference=_total_perplexity,
             cases=lambda rng: [(np.array([2.0, 4.0]), np.array([3, 1])),
                                (rng.uniform(1, 5, size=4), rng.integers(1, 9, size=4))],
             mistakes=_PERPLEXITY_MISTAKES),
    Exercise("11.3", "trained_names", reference=_trained_names,
             cases=lambda rng: [(_names(12), 2), (_names(4), 1), (_names(12), 3)],
             mistakes=_TRAINED_MISTAKES),
    Exercise("11.4", "early_stop", reference=_early_stop, cases=_stop_cases,
             mistakes=_STOP_MISTAKES),
    Exercise("11.5", "trained_parameters", reference=_ONE_BLOCK + 2 * _D, mistakes=_COUNT_MISTAKES,
             tolerance=0),
]
