"""A model card: what a model is for, what it was made of, and what was measured about it.

(Mitchell et al. 2019, "Model Cards for Model Reporting", section 4.) Every finished run gets one,
RUN/model/README.md, the place where Hugging Face shows it. `minillm card RUN` writes it anew, with
what has been measured since. All numbers come from the files of the run; what isn't there is said
to be missing, and what only a person can know is marked as such.
"""

from pathlib import Path

from minillm.files import atomic_write
from minillm.json_files import read_json
from minillm.models.auto import AutoConfig, model_class
from minillm.training.metrics import read_metrics
from minillm.training.settings import Settings
from minillm.training.task import LABELLED
from minillm.trust.cost.of_run import run_cost

OWN_TEXT = "the topics of Python's help(), the language reference that every CPython carries"
NOT_SHOWN = {"text", "model", "log_every", "keep", "checkpoint_every", "eval_every", "snapshots"}


def write_card(run):
    """Write RUN/model/README.md, atomically -> its Path

    run: a Run whose model is saved
    """
    path = run.model_folder / "README.md"
    text = card(run)
    with atomic_write(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return path


def card(run):
    """-> the card of a run, in Markdown"""
    facts = read_json(run.folder / "run.json")
    sections = [
        ("Model details", _details(run)),
        ("Intended use", _use(run)),
        ("Training data", _data(run)),
        ("Training", _training(run)),
        ("Metrics", _metrics(run)),
        ("Cost", _cost(run)),
        ("Privacy", _privacy(facts)),
        ("What it remembers", _audit(_read(run.folder / "audit" / "report.json"))),
        ("Bias", _fairness(_read(run.folder / "fairness" / "report.json"))),
        ("Limits", _limits(run)),
    ]
    head = f"---\nlibrary_name: transformers\ntags:\n- minillm\n- {run.config.model_type}\n---\n"
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections)
    return f"{head}\n# {run.folder.resolve().name}\n\n{body}\n"


def _details(run):
    config = AutoConfig.from_pretrained(run.model_folder)
    return _table(("", ""), [
        ("architecture", config.model_type), ("task", run.task_class.name),
        ("parameters", f"{_n_parameters(run, config):,}"),
        ("vocabulary", f"{config.vocab_size:,} tokens"),
        ("context", f"{run.settings.block_size} tokens"),
        ("made with", "minillm; the files are in Hugging Face's format"),
        *([("fine-tuned from", run.settings.model)] if run.settings.model else []),
    ])


def _n_parameters(run, config):
    return model_class(config.model_type, run.task_class.head)(
        config, draw_weights=False).num_parameters()


def _use(run):
    task = run.task_class.name
    if task in LABELLED:
        return (f"To {LABELLED[task]}, in texts like those that it was trained on. Not for "
                "decisions about people.")
    what = ("filling in masked words" if task == "bert_pretraining" else "continuing text")
    return (f"Study, and experiments with {what} of the kind that it was trained on. Not for "
            "advice, facts, or decisions about people.")


def _data(run):
    source = run.settings.text or (
        "examples that its task generates" if run.task_class.name in LABELLED else OWN_TEXT)
    rows = [(split, *(f"{facts[name]:,}" if name in facts else "–"
                      for name in ("examples", "documents", "tokens", "bytes")))
            for split, facts in run.data.items() if isinstance(facts, dict)]
    parts = [f"Source: {source}.",
             _table(("split", "examples", "documents", "tokens", "bytes"), rows)]
    if (run.folder / "data" / "manifest.json").is_file():
        parts.append("`data/manifest.json` names every source file by its SHA-256, and what was "
                     "removed before training.")
    if (run.folder / "data" / "canaries.json").is_file():
        parts.append("Canaries, made-up secrets to measure memory by, were inserted into the "
                     "training text: `data/canaries.json`.")
    return "\n\n".join(parts)


def _training(run):
    usual = Settings()
    rows = [(name, f"{value}") for name, value in run.settings.to_dict().items()
            if name not in NOT_SHOWN and (value != getattr(usual, name)
                                          or name in ("steps", "batch_size", "lr", "seed"))]
    rest = "All other settings are the defaults; `run.json` has them all."
    return _table(("setting", "value"), rows) + "\n\n" + rest


def _metrics(run):
    results = _read(run.folder / "results.json") or {}
    parts = []
    if "metrics" in results:
        rows = [(name, f"{each['value']:.3f}", f"{each['low']:.3f} – {each['high']:.3f}",
                 *(_value(others.get(name)) for others in results.get("baselines", {}).values()))
                for name, each in results["metrics"].items()]
        parts.append(_table(("test metric", "value", "95 % interval",
                             *results.get("baselines", {})), rows))
        if results.get("generated"):
            parts.append("The test examples are generated; real ones may be harder.")
    for split, values in results.get("splits", {}).items():
        rows = [(name.replace("_", " "), _shown(value)) for name, value in values.items()]
        parts.append(_table((f"{split} text", ""), rows))
    if not parts:
        records, _ = read_metrics(run.folder / "metrics.jsonl")
        held_out = [record for record in records
                    if any(name.startswith("valid") for name in record)]
        if not held_out:
            return "Nothing was held out, so nothing is known about other text."
        best = min(held_out, key=lambda record: next(
            value for name, value in record.items() if name.startswith("valid")))
        parts.append(_table(("validation", f"after step {best['step']:,}"),
                            [(name, f"{value:.4g}") for name, value in best.items()
                             if name != "step"]))
    return "\n\n".join(parts)


def _value(score):
    return "–" if score is None else f"{score['value']:.3f}"


def _cost(run):
    try:
        found = run_cost(run)
    except (OSError, ValueError, TypeError) as error:
        return f"Not known: {error}."
    rows = [("steps", _shown(found["steps"])), ("tokens", _shown(found["tokens"])),
            ("FLOPs", f"{found['flops']:.2e}")]
    if found["seconds"] is not None:
        rows += [("seconds", f"{found['seconds']:,.0f}"), ("hardware", found["hardware"]),
                 (f"joules, {found['energy_is']}", f"{found['joules']:,.0f}")]
    return _table(("training", ""), rows)


def _privacy(facts):
    found = facts.get("privacy")
    if not isinstance(found, dict):
        return ("Trained without differential privacy: nothing bounds what the model may give away "
                "of single documents.")
    rows = [(name.replace("_", " "), _shown(value)) for name, value in found.items()
            if not isinstance(value, (dict, list)) and value is not None]
    rows += [(f"{name}, {key}", _shown(value)) for name, values in found.items()
             if isinstance(values, dict) for key, value in values.items()]
    parts = ["Trained with differential privacy (DP-SGD):", _table(("", ""), rows)]
    limits = found.get("not_covered")
    if limits:
        parts.append("The promise doesn't cover:\n\n" + "\n".join(f"- {each}" for each in limits))
    return "\n\n".join(parts)


def _audit(report):
    if report is None:
        return "Not measured. `minillm audit --run RUN` does."
    parts = []
    rows = report["exposure"].get("by_times")
    if rows:
        parts.append("Exposure of inserted secrets; one that was never seen has "
                     f"{report['exposure']['unseen_bits']:.1f} bits on average.\n\n" + _table(
                         ("inserted", "mean exposure, bits", "said greedily"),
                         [(f"{each['times']}", f"{each['bits']:.1f}",
                           f"{each['greedy']} of {each['canaries']}") for each in rows]))
    rows = report["extraction"].get("prefixes")
    if rows:
        suffix = report["extraction"]["suffix"]
        parts.append(f"Continuations of {suffix} tokens that are those of the text, word for word."
                     "\n\n" + _table(("prefix, tokens", "training text", "held-out text"),
                              [(f"{each['prefix']}", f"{each['training']['share']:.1%}",
                                f"{each['held_out']['share']:.1%}" if each["held_out"] else "–")
                               for each in rows]))
    attacks = report["membership"].get("attacks")
    if attacks:
        parts.append("Telling training text from held-out text by a score; `blind` doesn't ask the "
                     "model.\n\n" + _table(
                         ("score", "AUC", "95 %", "TPR at 1 % FPR", "at 0.1 %"),
                         [(name, f"{each['auc']:.3f}",
                           f"{each['interval'][0]:.3f} – {each['interval'][1]:.3f}",
                           *(f"{tpr['value']:.1%}" for tpr in each["tpr"].values()))
                          for name, each in attacks.items()]))
    parts += [f"Not measured ({name}): {part['skipped']}." for name, part in report.items()
              if isinstance(part, dict) and "skipped" in part]
    return "\n\n".join(parts)


def _fairness(report):
    if report is None:
        return "Not measured. `minillm fairness --model RUN` does."
    rows = [(probe, of, _shown(each.get("value")),
             f"{_shown(each['low'])} – {_shown(each['high'])}" if "low" in each else "–",
             _shown(each.get("without bias", "–")))
            for probe, found in report.get("probes", {}).items()
            for of, each in found.items() if isinstance(each, dict)]
    parts = [_table(("probe", "of", "value", "95 % interval", "without bias"), rows)]
    parts += [f"Not measured ({name}): {why}." for name, why in report.get("skipped", {}).items()]
    limits = report.get("limits", "Templates can show a bias, and never its absence.")
    return "\n\n".join([*parts, limits if isinstance(limits, str) else " ".join(limits)])


def _limits(run):
    small = "It is small, and was trained on little text: it knows nothing beyond it."
    return (f"{small} Whoever publishes it adds here: whom the texts are about and how they were "
            "collected, which uses were tried, and whom to ask.")


def _shown(value):
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _read(path):
    """-> the JSON object at `path`; None if there is no file, or it isn't one"""
    try:
        return read_json(Path(path))
    except (FileNotFoundError, ValueError):
        return None


def _table(headings, rows):
    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ")
                                 for cell in cells) + " |"

    return "\n".join([line(headings), line(["---"] * len(headings)), *map(line, rows)])
