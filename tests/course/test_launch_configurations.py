"""The configurations for debugging in VS Code name things that exist."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from minillm.cli.arguments import parse_arguments

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".vscode"
CONFIGURATIONS = json.loads((FOLDER / "launch.json").read_text())["configurations"]


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda each: each["name"])
def test_it_runs_something_that_exists(configuration):
    assert configuration["type"] in ("debugpy", "cppdbg", "lldb")
    assert configuration["request"] in ("launch", "attach")
    if "module" in configuration:
        assert importlib.util.find_spec(configuration["module"])
    if configuration.get("module") == "minillm":
        parse_arguments(configuration["args"])
    for text in (configuration.get("program", ""), *configuration.get("args", [])):
        if text.startswith("${workspaceFolder}/"):
            assert (ROOT / text.removeprefix("${workspaceFolder}/")).is_file()
    for rule in configuration.get("rules", []):
        assert list(ROOT.glob(rule["path"].removeprefix("**/")))


def test_the_chapter_names_them_all():
    chapter = next((ROOT / "notebooks_md").glob("12-*.md")).read_text(encoding="utf-8")
    for configuration in CONFIGURATIONS:
        first_words = " ".join(configuration["name"].split()[:3])
        assert f"**{first_words}" in chapter


def test_breakpoints_can_be_set_in_chapters():
    settings = json.loads((FOLDER / "settings.json").read_text())
    assert settings["debug.allowBreakpointsEverywhere"] is True


def test_the_program_that_the_chapter_follows():
    run = subprocess.run([sys.executable, FOLDER / "generate.py"], capture_output=True, text=True,
                         cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("The class statement")
