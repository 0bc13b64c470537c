"""Every exercise: the right answer passes, and each mistake gets its own sentence."""

from copy import deepcopy

import numpy as np
import pytest

from minillm.course.chapters import list_chapters
from minillm.course.checking import check, load_exercises

EXERCISES = [exercise for chapter in list_chapters()
             for exercise in load_exercises(chapter.number).values()]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.number)


@every_exercise
def test_the_right_answer_passes(exercise):
    assert check(exercise.number, exercise.reference), check(exercise.number, exercise.reference)


@every_exercise
def test_an_unsolved_stub_is_told_so_kindly(exercise):
    stub = None if exercise.is_value else lambda *arguments: None
    report = check(exercise.number, stub)
    assert not report and report.is_empty


@every_exercise
def test_each_mistake_is_recognized_by_its_own_sentence(exercise):
    assert exercise.mistakes
    for mistake in exercise.mistakes:
        assert mistake.sentence[0].isupper() and mistake.sentence[-1] in ".?)"
        if mistake.wrong is not None:
            report = check(exercise.number, mistake.wrong)
            assert not report
            assert report.message == mistake.sentence, report
        else:
            assert mistake.when is not None


@every_exercise
def test_the_cases_tell_right_from_hard_coded(exercise):
    if exercise.is_value:
        return
    cases = exercise.cases(np.random.default_rng(0))
    assert len(cases) >= 2
    for case in cases:
        before = deepcopy(case)
        exercise.reference(*case)
        np.testing.assert_equal(case, before)


def test_numbers_belong_to_their_chapters():
    numbers = [exercise.number for exercise in EXERCISES]
    assert len(set(numbers)) == len(numbers)
