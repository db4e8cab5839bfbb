"""Rooms import one way (ARCHITECTURE.md): the contracts stand in pyproject.toml."""

from importlinter import cli


def test_rooms_import_one_way() -> None:
    assert cli.lint_imports(no_cache=True) == 0
