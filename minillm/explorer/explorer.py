"""The explorer: the models that a page shows, and the one place where its questions are answered."""

import threading

from minillm.explorer.views import load_views


class Cancelled(Exception):
    """Raised by `report` inside a long view whose page doesn't wait for the answer any more"""


class Explorer:
    """The state behind a page.

    subjects: list of Subjects; the page calls them "a", "b", … The training view adds "trained".
    text: what the page shows first
    practice: belongs to the training view;  kept: a dict for what other views keep between questions

    Questions may come from several threads; they take turns, because a model runs one pass at a time.
    """

    def __init__(self, subjects, text=""):
        self.subjects = dict(zip("abcdefgh", subjects))
        self.text = text
        self.practice = None
        self.kept = {}
        self._turns = Turns()
        self._views = load_views()

    def view(self, name):
        """-> the View of this name; ValueError if there is none"""
        if name not in self._views:
            raise ValueError(f"there is no view {name[:80]!r}")
        return self._views[name]

    def ask(self, name, fields, report=None):
        """Answer a question -> what the view returns

        fields: {argument: JSON value}; for its Subjects their keys, by default the first
        report(done, total, partial=None): called during long views; it may raise Cancelled

        Raises ValueError for a question that has no answer.
        """
        view, fields = self.view(name), dict(fields)
        keys = {"subject": fields.pop("model", None)}
        keys.update((name, fields.pop(name, None)) for name in view.subjects if name != "subject")
        if not view.needs("text"):
            fields.pop("text", None)  # the page sends its model and text with every question
        arguments = view.arguments(fields)
        with self._turns:
            arguments.update((name, self.subject(keys[name])) for name in view.subjects)
            if view.needs("explorer"):
                arguments["explorer"] = self
            if view.is_long:
                arguments["report"] = self._between_turns(report)
            return view.function(**arguments)

    def subject(self, key):
        """-> the Subject of this key; None: the first"""
        if key is None:
            return next(iter(self.subjects.values()))
        if not isinstance(key, str) or key not in self.subjects:
            raise ValueError(f"model is {key!r:.80}, wanted one of {', '.join(self.subjects)}")
        return self.subjects[key]

    def _between_turns(self, report):
        def call(done, total, partial=None):
            if report is not None:
                report(done, total, partial)
            self._turns.give_way()
        return call


class Turns:
    """A lock whose waiters get it in the order in which they came."""

    def __init__(self):
        self._changed = threading.Condition()
        self._last = self._now = 0  # tickets: the last one given out, the one that is served

    def __enter__(self):
        with self._changed:
            mine, self._last = self._last, self._last + 1
            self._changed.wait_for(lambda: self._now == mine)

    def __exit__(self, *exception):
        with self._changed:
            self._now += 1
            self._changed.notify_all()

    def give_way(self):
        """Let those who wait have a turn each, then go on."""
        with self._changed:
            someone_waits = self._last > self._now + 1
        if someone_waits:
            self.__exit__()
            self.__enter__()
