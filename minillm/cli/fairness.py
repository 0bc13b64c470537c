"""`minillm fairness`: the report about a model, remedies before and after, and swapped texts."""

from minillm.cli.opening import open_trained
from minillm.cli.terminal import for_stream, progress_bar, say, table
from minillm.files import expand, require_folder_of
from minillm.insight.export import export, require_picture
from minillm.insight.subject import Subject
from minillm.tasks.examples import read_examples, read_splits
from minillm.trust.fairness import biased_reviews, mending, mending_text
from minillm.trust.fairness.augmentation import augment_file
from minillm.trust.fairness.pairs import read_pairs
from minillm.trust.fairness.report import HEADINGS, LIMITS, fairness_report, plot, table_rows

HELD_OUT = 0.2  # of the user's examples, to measure on


def fairness(options):
    _check(options)
    if options.augment:
        n, written = augment_file(options.augment, options.out, options.kind)
        say(f"{options.out}: {n:,} texts, and {written - n:,} in which a group was swapped")
    elif options.mend:
        _mend(options)
    else:
        _report(options)


def _check(options):
    if options.picture:
        require_picture(options.picture, "--picture")
    for name in ("picture", "json"):  # before anything is measured
        if getattr(options, name):
            require_folder_of(getattr(options, name), f"--{name}")
    for name, least in (("texts", 1), ("examples", 10), ("steps", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} is {getattr(options, name)}, wanted at least {least}")
    if bool(options.augment) != bool(options.out):
        raise ValueError("--augment FILE and --out FILE belong together, wanted both")
    if options.augment and options.mend:
        raise ValueError("--augment writes a text and --mend trains, wanted one of the two")
    if options.data and not options.mend:
        raise ValueError("--data is for --mend, wanted both")
    if options.data and options.on == "text":
        raise ValueError("--data has labels, which --on text doesn't learn; wanted --on labels")
    if options.on == "text" and options.kind != "gender":
        raise ValueError(f"--kind is {options.kind}, but --on text is about pronouns, "
                         "wanted gender")
    if options.pairs and (options.mend or options.augment):
        raise ValueError("--pairs is for the report on a model, wanted no --mend and no --augment")


def _report(options):
    pairs = read_pairs(options.pairs) if options.pairs else None
    subject = Subject.open(options.model, open_trained)
    with progress_bar("probing, percent", 100) as advance:
        found = fairness_report(subject, pairs, options.texts, options.seed, options.languages,
                                lambda done, total: advance(100 * done // total))
    table(f"fairness of {options.model}, a {found.architecture}", table_rows(found), HEADINGS,
          left=(0, 1, 5))
    for probe, why in found.skipped.items():
        print(for_stream(f"no {probe}: it {why}"))
    print(LIMITS)
    run = expand(options.model)
    if (run / "run.json").is_file():
        (run / "fairness").mkdir(exist_ok=True)
        export(run / "fairness" / "report.png", plot(found))
        say(f"wrote {export(run / 'fairness' / 'report.json', found.as_dict())}")
    if options.picture:
        say(f"wrote {export(options.picture, plot(found))}")
    if options.json:
        say(f"wrote {export(options.json, found.as_dict())}")


def _mend(options):
    if options.on == "text":
        trial = mending_text.TextMending(
            mending_text.generate(options.examples, options.seed, options.bias), options.steps,
            options.seed)
    else:
        splits = _own_examples(options) if options.data else biased_reviews.generate(
            options.examples, options.seed, options.bias, options.kind)
        trial = mending.Mending(splits, options.kind, options.steps, options.seed)
    methods = list(dict.fromkeys(options.mend))
    names = ["before", *(method for method in methods if method != "project")]
    with progress_bar("training", options.steps * len(names)) as advance:

        def report(name, done, total):
            advance(names.index(name) * total + done, name)

        found = trial.try_all(methods, report)
    rows = [(field.replace("_", " "), *(str(getattr(each, field)) for each in found.values()))
            for field in found["before"]._fields]
    made = "sentences" if options.on == "text" else "reviews"
    what = options.data or f"generated {made} with a bias of {options.bias:g}"
    table(f"{what}: {len(trial.splits['test']):,} test examples, quality above, bias below",
          rows, ("", *found))
    print("Quality and bias are of one small model, one seed and one kind of text each; the "
          f"intervals are those of the test examples. {LIMITS}")
    if options.picture:
        draw = mending_text.plot_text if options.on == "text" else mending.plot
        say(f"wrote {export(options.picture, draw(found))}")
    if options.json:
        numbers = {"of": str(what), "kind": options.kind, "models": found}
        say(f"wrote {export(options.json, numbers)}")


def _own_examples(options):
    """-> {"train": …, "test": …} of the user's file or folder"""
    def read(path):
        rows = read_examples(path, dict.fromkeys(("text", "label", "group"), str), ("group",))
        return [{**row, "group": row["group"] or None} if "group" in row else row for row in rows]

    return read_splits(options.data, read, ("text",), 0, HELD_OUT, options.seed)
