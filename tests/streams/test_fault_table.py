"""The page about faults names tests that exist, and says truly when they run."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| .+ \| `([\w./]+\.py)::(\w+)` \| (default|soak) \| [\d ,to]*\|$",
    (ROOT / "docs" / "faults.md").read_text(),
    re.M,
)


def test_the_table_is_read() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    assert len(ROWS) == page.count(".py::") >= 30


@pytest.mark.parametrize(("file", "name", "runs"), ROWS)
def test_the_test_exists_and_runs_then(file: str, name: str, runs: str) -> None:
    module = ast.parse((ROOT / "tests" / "streams" / file).read_text())
    marks = [ast.unparse(one.value) for one in module.body if isinstance(one, ast.Assign)]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {one.name: one for one in module.body if isinstance(one, defined)}
    if name in found:
        marks += [
            ast.unparse(one) for one in found[name].decorator_list if "parametrize" not in ast.unparse(one)
        ]
    else:
        assert any(isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name for one in module.body)
    assert any("pytest.mark.soak" in mark for mark in marks) == (runs == "soak")
