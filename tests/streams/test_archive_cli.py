"""`homeostat archive ...`."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from db.engine import connect
from db.migrate import upgrade
from deploy.cli import app
from deploy.cli.archived import archived
from deploy.errors import UserError
from deploy.settings import Settings
from streams.control.monitor_build import reference_of
from streams.files.guess import guess
from streams.files.monitor import MonitorFile
from streams.files.tables import TableFile
from streams.store import LocalStore
from tests.streams.archive_parts import fill, globbed, predictions, write

RUN = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ARCHIVE", "DATABASE_URL"):
        monkeypatch.delenv(f"HOMEOSTAT_{name}", raising=False)
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    return tmp_path


def _run(*command: str, code: int = 0) -> str:
    result = RUN.invoke(app, ["archive", *command])
    assert result.exit_code == code, result.output
    return result.stdout


def test_status_files_and_compaction(home: Path) -> None:
    assert "empty" in _run("status")
    fill(LocalStore(home / "archive"), 4)
    write(LocalStore(home / "archive"), [predictions(0, 3, "other")], 50)
    found = json.loads(_run("status", "--json"))["models"]
    assert [(one["model"], one["kind"], one["files"], one["rows"]) for one in found] == [
        ("churn", "labels", 4, 12),
        ("churn", "predictions", 4, 60),
        ("other", "predictions", 1, 3),
    ]
    assert "churn" not in _run("status", "--model", "other")
    assert len(_run("files", "--model", "churn").split()) == 4
    before = sorted((home / "archive").rglob("*"))
    assert "8 files would be merged into 2" in _run("compact", "--all", "--dry-run")
    assert sorted((home / "archive").rglob("*")) == before
    assert "into 2" in _run("compact", "--all")
    [path] = json.loads(_run("files", "--model", "churn", "--kind", "labels", "--json"))
    assert Path(path).exists()
    _run("files", "--model", "churn", "--kind", "guesses", code=2)


def test_damage_is_shown_and_named(home: Path) -> None:
    assert "is empty" in _run("check")
    fill(LocalStore(home / "archive"), 2)
    assert "4 files are sound, 0 are damaged" in _run("check")
    assert "It knows churn" in _run("check", "--model", "chrun")
    [path, _] = _run("files", "--model", "churn").split()
    Path(path).write_bytes(Path(path).read_bytes()[:-1])
    assert Path(path).name in _run("check", code=1)
    found = json.loads(_run("check", "--json", code=1))
    assert (found["sound_files"], len(found["damaged"])) == (3, 1)
    for command in (["status"], ["compact", "--all"]):
        result = RUN.invoke(app, ["archive", *command])
        assert (result.exit_code, Path(path).name in result.stderr) == (0, True), result.output


def test_retention_is_shown_and_done(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(LocalStore(home / "archive"), [predictions(-20 * 365 * 100, 1, "old"), predictions(0, 1)])
    assert "None" in _run("retention")
    monkeypatch.setenv("HOMEOSTAT_ARCHIVE_RETENTION_DAYS", "3650")
    monkeypatch.setenv("HOMEOSTAT_ARCHIVE_RETENTION_OF", '{"churn": 4000}')
    assert "model=old" in _run("retention")
    assert "1 retired" in _run("compact")
    assert [one["model"] for one in json.loads(_run("status", "--json"))["models"]] == ["churn"]


def test_erasing_prints_a_receipt_and_enters_the_audit_log(home: Path) -> None:
    ids = fill(LocalStore(home / "archive"), 4)
    listed = home / "ids.txt"
    listed.write_text("e5\n\ne6\n")
    wish = json.loads(_run("erase", "--model", "churn", "--ids-file", str(listed), "--dry-run", "--json"))
    assert (wish["predictions"], wish["verified"]) == (2, False)
    assert globbed(home / "archive") == ids
    receipt = _run("erase", "--model", "churn", "--id", "e4", "--ids-file", str(listed), "--by", "mira")
    assert "3 predictions and 0 labels of 3 ids erased" in receipt
    assert "Verified" in receipt
    assert globbed(home / "archive") == [one for one in ids if one not in ("e4", "e5", "e6")]

    upgrade(Settings().database)
    told = json.loads(_run("erase", "--model", "churn", "--id", "e7", "--by", "mira", "--json"))
    assert told["audited"] is True
    with connect(Settings().database).connect() as connection:
        leaves = connection.exec_driver_sql(
            "SELECT actor, action, subject, leaf FROM audit_leaves ORDER BY position"
        ).fetchall()
    assert [leaf[:3] for leaf in leaves] == [
        ("mira", "archive.erase_intended", "model/churn"),
        ("mira", "archive.erased", "model/churn"),
    ]
    leaf = leaves[-1].leaf
    assert json.loads(leaf)["detail"]["id_hashes"] == told["id_hashes"]
    assert not any('"e7"' in each.leaf for each in leaves)
    _run("erase", "--model", "churn", code=2)


def test_a_stretch_is_exported_as_a_reference(home: Path) -> None:
    """Each event once, with its label where it has one, under the names that people use."""
    fill(LocalStore(home / "archive"), 4)
    assert "no events of model 'chrun'" in str(
        RUN.invoke(app, ["archive", "export", str(home / "no.parquet"), "--model", "chrun"]).exception
    )
    _run("export", str(home / "good.parquet"), "--model", "churn")
    found = pd.read_parquet(home / "good.parquet")
    assert (len(found), int(found["label"].notna().sum())) == (60, 12)
    assert found["id"].is_unique
    assert found["time"].is_monotonic_increasing
    assert list(found.columns[:7]) == ["id", "time", "version", "prediction", "score", "label", "label_time"]
    assert not [name for name in found.columns if name.startswith("f.")]
    guessed = guess(TableFile(home / "good.parquet"))
    assert (guessed.of("id"), guessed.of("time"), guessed.of("label")) == ("id", "time", "label")


def test_a_stretch_is_the_reference_of_a_monitor(home: Path) -> None:
    fill(LocalStore(home / "archive"), 4)
    fields = {"model": "churn", "columns": {"segments": ["city"]}}
    file = MonitorFile.model_validate(
        fields | {"reference": {"archive": {"from": "2020-01-01"}, "version": "7"}}
    )
    _run("export", str(home / "good.parquet"), "--model", "churn")
    exported = pd.read_parquet(home / "good.parquet")
    versions = exported["version"].tolist()
    version, rows = str(versions[0]), versions.count(versions[0])
    file = file.model_copy(update={"reference": file.reference.model_copy(update={"version": version})})
    with archived(file, Settings()) as source:
        assert source is not None
        reference, _ = reference_of(source)
    assert (reference.rows, reference.version) == (rows, version)
    assert "city" not in [part.spec.name for part in reference.features]
    nowhere = file.model_copy(update={"model": "chrun"})
    with pytest.raises(UserError, match="no events of model 'chrun'"), archived(nowhere, Settings()):
        pass
