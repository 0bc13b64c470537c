"""The architecture as a test: a file of minillm imports only from its own floor or from below."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minillm"

FLOORS = [
    {"checks", "energy", "figures", "files", "hardware", "hub", "json_files", "local_server",
     "process_memory", "signals"},
    {"kernels"},
    {"ops"},
    {"nn"},
    {"text", "generation"},
    {"models", "training"},
    {"tasks", "insight", "trust", "preparing"},
    {"explorer", "course", "serving"},
    {"cli"},
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE
               or path.stem in FLOOR_OF)


def imported_rooms(path):
    """-> the rooms (first names below minillm) of everything that a file imports, also in functions"""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "minillm":
            parts = node.module.split(".")[1:]
            yield from [parts[0]] if parts else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "minillm" and len(parts) > 1:
                    yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    above = {other for other in imported_rooms(path)
             if other in FLOOR_OF and FLOOR_OF[other] > FLOOR_OF[room]}
    assert not above, f"{path} of floor {FLOOR_OF[room]} imports from above: {sorted(above)}"
