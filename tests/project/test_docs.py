"""What the documents name exists."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.cli import app
from deploy.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/actions.md",
    "docs/actuators.md",
    "docs/archive.md",
    "docs/audit.md",
    "docs/backtest.md",
    "docs/events.md",
    "docs/faults.md",
    "docs/ingest.md",
    "docs/monitor.md",
    "docs/notifications.md",
    "docs/operations.md",
    "docs/profile.md",
    "docs/schemas.md",
    "docs/signatures.md",
    "docs/verification.md",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    command = get_command(app)
    for line in re.findall(r"(?:uv run |`)homeostat ([a-z-]+)", (ROOT / document).read_text()):
        assert line in command.commands, f"homeostat {line}"  # type: ignore[attr-defined]


def test_environment_variables_of_the_readme_are_settings() -> None:
    known = {f"HOMEOSTAT_{name.upper()}" for name in Settings.model_fields} | {"MLFLOW_TRACKING_URI"}
    for name in re.findall(r"HOMEOSTAT_[A-Z_]+", (ROOT / "README.md").read_text()):
        assert name in known, name


def test_every_command_has_an_example() -> None:
    def walk(command: object, name: str) -> None:
        for child, each in getattr(command, "commands", {}).items():
            walk(each, f"{name} {child}")
        if not hasattr(command, "commands") and not getattr(command, "hidden", False):
            assert "Example" in (getattr(command, "help", "") or ""), name

    walk(get_command(app), "homeostat")
