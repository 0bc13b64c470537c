"""The README keeps its word: its programs run, and what it points at is there."""

import re
from pathlib import Path

import pytest

from minillm.course.chapters import list_chapters

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.splitlines()[0])
def test_a_program_runs_and_prints_what_its_comments_say(program, capsys):
    exec(compile(program, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert printed
    for line in re.findall(r"^# +(\w+ looks at .*)$", program, re.MULTILINE):
        assert line in printed


def test_there_is_a_worked_example_and_a_tutorial_program():
    assert len(PROGRAMS) >= 2


def test_pictures_and_folders_exist():
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).exists(), path
    for folder in re.findall(r"^\| \d? ?\| `([\w/]+)/` \|", README, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_files_of_the_table_exist():
    rows = re.findall(r"^\|[^|]+\|[^|]*\d{4}[^|]*\| (`.*`) \|$", README, re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        folder = None
        for path in re.findall(r"`([\w/.]+)`", row):
            if "/" in path:
                folder = path.rpartition("/")[0]
            else:
                path = f"{folder}/{path}"
            assert (ROOT / path).exists() or (ROOT / "minillm" / path).exists(), path


def test_every_chapter_of_the_course_is_listed_with_what_it_teaches():
    for chapter in list_chapters():
        assert (f"| {chapter.number} | [{chapter.title}](notebooks_md/{chapter.path.name}) | "
                f"{chapter.teaches.rstrip('.')} |") in README
