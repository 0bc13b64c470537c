"""A finished run of a task: its scores on the test split beside the baselines', and its pictures.

    results.json        {"metrics": {name: {"value", "low", "high"}}, "baselines": {…}, …}; also the
                        scores on the validation examples, which chose the model: where examples
                        are generated, their words and patterns are those of the training
    predictions.jsonl   each test example with its prediction: read the wrong ones
    *.png               the task's pictures
"""

import json

from minillm.figures import write_figure
from minillm.files import atomic_write
from minillm.json_files import write_json
from minillm.tasks import intervals


def report(run, progress=None):
    """Measure the best model of a run -> dict of results.json; {} if nothing is held out to test

    progress(done, total): called while the test examples are predicted
    """
    task = run.task()
    model = task.load_model(run.model_folder, run.config.model_type)
    if task.examples("valid"):
        task.calibrate(model)
    examples = task.examples("test")
    if not examples:
        return {}
    predictions = task.predict(model, examples, progress)
    metrics = task.metrics(model)
    seen = task.examples("valid")
    results = {
        "task": task.name, "n_parameters": model.num_parameters(),
        "examples": {split: len(task.examples(split)) for split in ("train", "valid", "test")},
        "generated": run.settings.text is None,
        "metrics": _scores(metrics, predictions, examples),
        "validation": _scores(metrics, task.predict(model, seen), seen) if seen else {},
        "baselines": {name: _scores(metrics, fit(task.examples("train"))(examples), examples)
                      for name, fit in task.baselines().items()},
    }
    write_json(run.folder / "results.json", results)
    with atomic_write(run.folder / "predictions.jsonl", "w") as file:
        for example, prediction in zip(examples, predictions):
            line = {**example, "prediction": prediction}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    for name, figure in task.pictures(model, examples, predictions).items():
        write_figure(run.folder / name, figure)
    return results


def _scores(metrics, predictions, examples):
    return {name: intervals.score(metric, predictions, examples)._asdict()
            for name, metric in metrics.items()}


def rows(results):
    """-> rows of a table: (metric, "0.941 (0.925 – 0.954)", each baseline's value, validation)"""
    others = [*results["baselines"].values(), results["validation"]]
    return [(name, str(intervals.Score(**score)),
             *(f"{other[name]['value']:.3f}" if name in other else "–" for other in others))
            for name, score in results["metrics"].items()]
