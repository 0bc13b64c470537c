"""An audit of a run: what does its model remember of the text that it was trained on?

    minillm audit --run RUN

Three measurements on the run's own data, from what anyone with the model could try to what only the
owner of the data can measure:

    exposure      of the canaries that were inserted into the text         trust/exposure.py
    extraction    the model continues its training text word for word      trust/extraction.py
    membership    its losses tell training text from other text            trust/membership.py

    RUN/audit/report.json, report.html      what was found, for programs and for readers
"""

import math

import numpy as np

from minillm.json_files import plain
from minillm.models.auto import AutoModelForCausalLM, AutoModelForMaskedLM, model_class
from minillm.nn.module import inference
from minillm.tasks.intervals import wilson
from minillm.text.auto import AutoTokenizer
from minillm.text.canaries import read_canaries
from minillm.training.run import model_folder
from minillm.training.task import LABELLED
from minillm.trust.exposure import exposure
from minillm.trust.extraction import continued, extract, prefix_lengths
from minillm.trust.likelihood import MaskedReader, Reader
from minillm.trust.membership import attack, scores

LONGEST = 256  # tokens of a window
ENOUGH = 20  # windows of each group; with fewer, shorter windows are taken
EXTRACTED = 200  # windows to continue
SUFFIXES = (50, 32)  # the lengths to extract, the first that is at most half of a window


def audit(run, *, canaries=(), reference=None, n_windows=1000, n_samples=1000, seed=0,
          report=lambda message, done, total: None):
    """-> the report: a dict in JSON's terms, with the parts "exposure", "extraction", "membership"

    run: a Run;  canaries: further Canary that its text is known to have
    reference: a model's name, for membership: it has never seen the text
    n_windows: pieces of text for membership, of each group;  n_samples: secrets to rank a canary in
    report(message, done, total): called often

    A part that the run's task or data don't allow is {"skipped": why}.
    Raises FileNotFoundError for a run without a model.
    """
    facts = {"run": str(run.folder), "task": run.task_class.name,
             "architecture": run.config.model_type, "steps": run.settings.steps, "seed": seed}
    model_folder(run.folder)  # refuses a run without one
    if run.task_class.name in LABELLED:
        why = f"the task {run.task_class.name} learns labels, and its model writes no training text"
        found = {"exposure": {"skipped": why}, "extraction": {"skipped": why},
                 "membership": _membership_of_examples(run, n_windows, seed, report)}
        return plain({**facts, **found})
    reader = open_reader(run)
    inside, outside, window = _windows(run, reader, n_windows, seed)
    facts.update(parameters=reader.model.num_parameters(), window=window)
    return plain({
        **facts,
        "exposure": _exposure([*read_canaries(run.folder), *canaries], reader, n_samples, seed,
                              report),
        "extraction": _extraction(run, reader, inside, outside, seed, report),
        "membership": _membership(reader, inside, outside, reference, seed, report),
    })


def open_reader(run):
    """-> the Reader of a run's model: of decoders, or of a BERT"""
    masked = run.task_class.name == "bert_pretraining"
    auto = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model = auto.from_pretrained(run.model_folder).eval()
    limit = model.config.position_limit or math.inf
    return (MaskedReader if masked else Reader)(model, run.tokenizer(),
                                                limit if masked else limit + 1)


# ---- pieces of text


class Windows:
    """Pieces of text, each within one document.

    ids: int64 (n, W);  groups: int (n,), the number of each one's document
    """

    def __init__(self, ids, groups):
        self.ids, self.groups = ids, groups

    def __len__(self):
        return len(self.ids)

    def some(self, n, rng):
        """-> at most n of them, chosen at random"""
        rows = np.sort(rng.permutation(len(self))[:n])
        return Windows(self.ids[rows], self.groups[rows])


def windows_of(ids, separator, width):
    """-> Windows of `width` ids, end to end from the beginning of every document

    ids: (N,), documents with the id `separator` behind each
    """
    ends = np.flatnonzero(ids == separator)
    starts = np.concatenate([[0], ends + 1])
    ends = np.concatenate([ends, [len(ids)]])
    found = [(start, number) for number, (first, end) in enumerate(zip(starts, ends))
             for start in range(int(first), int(end) - width + 1, width)]
    places = np.array([start for start, _ in found], np.int64)
    return Windows(ids[places[:, None] + np.arange(width)].astype(np.int64),
                   np.array([number for _, number in found], np.int64))


def _windows(run, reader, n, seed):
    """-> Windows of the training text, Windows of the held-out text, their width

    The held-out text is both, validation and test: with 0.1 % of false alarms to measure, every
    window counts. (The validation text has chosen the best model, a bias of one choice in a few.)
    """
    separator = getattr(reader.tokenizer, f"{run.task_class.separator}_id")
    training = run.dataset("train").ids
    held_out = np.concatenate([run.dataset(split).ids for split in ("valid", "test")])
    width = min(run.settings.block_size, LONGEST, reader.limit)
    if reader.kind == "masked":
        width = min(width, 32) - 2  # a forward for each token;  [CLS] and [SEP]
    best = None
    while width >= 8:
        found = [windows_of(ids, separator, width) for ids in (training, held_out)]
        fewest = min(map(len, found))
        if best is None or fewest > min(map(len, best[:2])):
            best = *found, width
        if fewest >= ENOUGH:
            break
        width //= 2
    if best is None:
        raise ValueError(f"block_size is {run.settings.block_size}, wanted at least 8 to audit")
    inside, outside, width = best
    rng = np.random.default_rng(seed)
    return inside.some(n, rng), outside.some(n, rng), width


# ---- the three measurements


def _exposure(canaries, reader, n_samples, seed, report):
    if not canaries:
        return {"skipped": "the run's text has no canaries; to insert some, train with --canaries "
                           "1,4,16, or a file of your own formats"}
    rng, found = np.random.default_rng(seed), []
    if reader.kind == "masked":
        n_samples = max(1, n_samples // 5)  # a forward for each token
    for number, canary in enumerate(canaries):
        each = exposure(canary, reader, rng, n_samples,
                        lambda done, total: report("exposure", number + done / total,
                                                   len(canaries)))
        found.append({"format": canary.format.text, "secret": canary.secret, "times": canary.times,
                      **each._asdict(), "greedy": says_greedily(canary, reader)})
    times = sorted({each["times"] for each in found})
    return {"canaries": found,
            "by_times": [{"times": n, "bits": float(np.mean([each["bits"] for each in found
                                                             if each["times"] == n])),
                          "greedy": sum(bool(each["greedy"]) for each in found
                                        if each["times"] == n),
                          "canaries": sum(each["times"] == n for each in found)} for n in times],
            "unseen_bits": 1 / math.log(2)}


def says_greedily(canary, reader):
    """-> whether the model continues the text before the secret with the secret; None for a BERT,
    and for a text that is longer than the model reads
    """
    if reader.kind == "masked":
        return None
    prefix = canary.format.prefix
    # The space before a secret is the beginning of its token.
    rows = reader.rows_of([prefix.rstrip(), canary.text])
    start, whole = map(np.array, rows)
    n = len(whole) - len(start)
    if n <= 0 or len(whole) > reader.limit:
        return None
    said = continued(reader.model, start[None].astype(np.int64), n)[0]
    text = reader.tokenizer.decode(np.concatenate([start[1:], said]))
    secret_end = canary.text.rfind(canary.format.secret(canary.number)[-1])
    end = secret_end + len(canary.format.secret(canary.number)[-1])
    return text.strip().startswith(canary.text[:end])


def _extraction(run, reader, inside, outside, seed, report):
    if reader.kind == "masked":
        return {"skipped": "a BERT fills in masks and continues no text"}
    if not len(inside):
        return {"skipped": "the text has no document as long as the model reads"}
    width = inside.ids.shape[1]
    suffix = next((n for n in SUFFIXES if 2 * n <= width), width // 2)
    training, rng = run.dataset("train").ids, np.random.default_rng(seed)
    groups = {"training": inside.some(EXTRACTED, rng), "held_out": outside.some(EXTRACTED, rng)}
    lengths = prefix_lengths(width, suffix)
    rows, longest = [], (0, None)
    for number, prefix in enumerate(lengths):
        row = {"prefix": prefix, "held_out": None}
        for part, (name, windows) in enumerate(groups.items()):
            if not len(windows):  # nothing is held out
                continue

            def progress(done, total, at=number + part / 2):
                report("extraction", at + done / total / 2, len(lengths))

            found = extract(reader.model, windows.ids, prefix, suffix, training,
                            name == "training", progress)
            right = int(found.exact.sum())
            row[name] = {"share": right / len(windows), "interval": wilson(right, len(windows)),
                         "elsewhere": float(found.elsewhere.mean()),
                         "matched": float(found.matched.mean()),
                         "longest": int(found.matched.max()), "windows": len(windows)}
            best = int(found.matched.argmax())
            if name == "training" and found.matched[best] > longest[0]:
                ids = windows.ids[best, -(prefix + suffix):]
                longest = int(found.matched[best]), [
                    reader.tokenizer.decode(part) for part in
                    (ids[:prefix], ids[prefix : prefix + int(found.matched[best])])]
        rows.append(row)
    return {"suffix": suffix, "prefixes": rows, "longest": longest[0],
            "longest_text": longest[1] and {"prefix": longest[1][0], "continuation": longest[1][1]}}


def _membership(reader, inside, outside, reference, seed, report):
    if not len(inside) or not len(outside):
        return {"skipped": "the text has no long documents, or nothing is held out"}
    ids = [*inside.ids.tolist(), *outside.ids.tolist()]
    texts = [reader.tokenizer.decode(row) for row in ids]
    if reader.kind == "masked":
        first, last = reader.tokenizer.cls_token_id, reader.tokenizer.sep_token_id
        ids = [[first, *row, last] for row in ids]
    share = 1 if reference is None else 2
    losses = reader.losses(ids, lambda done, total: report("membership", done, share * total))
    others = None
    if reference is not None:
        if reader.kind == "masked":
            raise ValueError("reference compares decoders, and this run is a BERT, wanted none")
        folder = model_folder(reference)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        other = Reader(model, AutoTokenizer.from_pretrained(folder),
                       (model.config.position_limit or math.inf) + 1)
        others = other.losses(other.rows_of(texts),
                              lambda done, total: report("membership", total + done, 2 * total))
    found = scores(losses, texts, others)
    return _attacks(found, len(inside), len(outside), inside.groups, outside.groups, seed)


def _attacks(found, n, m, member_groups=None, other_groups=None, seed=0):
    attacks = {name: attack(each[:n], each[n:], member_groups, other_groups, seed)
               for name, each in found.items()}
    return {"members": n, "others": m, "attacks": {
        name: {"auc": each.auc, "interval": each.auc_interval,
               "tpr": {str(level): {"value": value, "interval": each.tpr_interval[level]}
                       for level, value in each.tpr.items()},
               "fpr": _thinned(each.fpr), "tpr_curve": _thinned(each.tpr_curve)}
        for name, each in attacks.items()}}


def _thinned(values, n=400):
    """-> at most 2 n of the values, for a plot: the first n, where the FPR is low, and n others"""
    if len(values) > 2 * n:
        rest = np.linspace(n, len(values) - 1, n).astype(int)
        values = values[np.concatenate([np.arange(n), rest])]
    return values.round(6)


def _membership_of_examples(run, n, seed, report):
    """The losses of single examples. Validation examples are the others: those of the test may have
    other words and patterns, which a score would take for a sign of not being a member.
    """
    task, rng = run.task(), np.random.default_rng(seed)
    groups = [task.examples(split) for split in ("train", "valid")]
    groups = [[group[row] for row in np.sort(rng.permutation(len(group))[:n])] for group in groups]
    if not all(groups):
        return {"skipped": "nothing is held out"}
    model = model_class(run.config.model_type, run.task_class.head).from_pretrained(
        run.model_folder)
    examples, losses = [*groups[0], *groups[1]], []
    with inference(model):
        for example in examples:
            losses.append(np.array([task.loss(model, [example]).item()]))
            report("membership", len(losses), len(examples))
    texts = ["\n".join(str(example[name]) for name in task.question if name in example)
             for example in examples]
    found = scores(losses, texts)
    del found["min-k"]  # an example has one loss
    return _attacks(found, len(groups[0]), len(groups[1]), seed=seed)


def worst(report):
    """-> {"auc", "extracted", "exposure"}: the worst of each that a report found, or None

    auc: the largest of all scores that ask the model;  extracted: the largest share;  exposure: the
    largest, in bits
    """
    attacks = report["membership"].get("attacks", {})
    rows = report["extraction"].get("prefixes", [])
    canaries = report["exposure"].get("canaries", [])
    return {
        "auc": max((each["auc"] for name, each in attacks.items() if name != "blind"),
                   default=None),
        "extracted": max((row["training"]["share"] for row in rows), default=None),
        "exposure": max((each["bits"] for each in canaries), default=None),
    }
