"""Who may give which command: each of the tree reads, sets this machine up, asks the API, or asks the policy."""

import asyncio
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from db.audit import Sequencer
from db.audit.note import Verifier
from db.engine import connect, reading
from deploy.cli import app, deadletters, measure, schemas
from deploy.cli.client import ApiClient
from deploy.errors import UserError
from streams.deadletters_replay import Replayed
from streams.store import LocalStore
from tests.databases import migrate
from tests.streams.archive_parts import fill
from tests.streams.test_backtest import frame
from tests.streams.test_monitor_file import Bus

POLICY = """
people:
  mira: {roles: [operator]}
  otto: {roles: [approver]}
rules:
  - {models: "*", actions: [promote], roles: [operator]}
operators: [operator]
"""

READS = {
    "actions list",
    "agent status",
    "approvals list",
    "approvals show",
    "archive check",
    "archive export",
    "archive files",
    "archive retention",
    "archive status",
    "audit export",
    "audit list",
    "audit prove",
    "audit verify",
    "backtest",
    "changes list",
    "deadletters list",
    "deadletters show",
    "doctor",
    "incidents list",
    "incidents postmortem",
    "incidents show",
    "init",
    "models keys list",
    "models list",
    "models show",
    "models trends",
    "models verify",
    "monitors list",
    "monitors schema",
    "monitors show",
    "notify channels",
    "playbooks backtest",
    "playbooks lint",
    "playbooks plan",
    "playbooks schema",
    "playbooks show",
    "policy lint",
    "replay",
    "reports make",
    "schemas diff",
    "schemas infer",
    "schemas list",
    "schemas show",
    "silences list",
    "slices",
    "status",
    "tokens list",
    "tune",
}
"""They change nothing but files that the person names."""
SETS_UP = {"db upgrade", "demo", "down", "notify test", "supervise", "up", "worker"}
"""Whoever may start processes here may give these; they decide nothing about a model."""
WHY = ("--reason", "because")
ASKS_THE_API = {
    "actions cancel": ("act-1", *WHY),
    "agent pause": WHY,
    "agent reset-breaker": ("retrain", *WHY),
    "agent resume": WHY,
    "approvals approve": ("apr-1", *WHY),
    "approvals reject": ("apr-1", *WHY),
    "approvals snooze": ("apr-1",),
    "changes add": ("release", "spring"),
    "incidents feedback": ("inc-1", "--expected"),
    "models promote": ("churn", "7", *WHY),
    "silences end": ("sil-1",),
    "silences set": ("model=churn", "--for", "2h", *WHY),
}
"""The API asks the policy, about the name that each of them sends."""
ASKS_THE_POLICY = {
    "archive compact": ("--all",),
    "archive erase": ("--model", "churn", "--id", "e1"),
    "audit redact": ("0", "--field", "actor", *WHY),
    "audit restored": ("--no-topic", *WHY),
    "audit rotate": WHY,
    "deadletters replay": ("--all",),
    "models keys end": ("0f3a91c2", *WHY),
    "models keys revoke": ("0f3a91c2", *WHY),
    "models keys rotate": WHY,
    "models keys trust": ("some+key", *WHY),
    "models register": ("churn", "--onnx", "churn.onnx", "--monitor", "churn.yaml", *WHY),
    "models sign": ("churn", "1", *WHY),
    "monitors apply": ("churn.yaml",),
    "schemas register": ("churn.yaml",),
    "tokens create": ("mira", "--scope", "decide"),
    "tokens revoke": ("3f2a91c2d4e5",),
}
"""They write without the API."""


WRITES = {
    "archive compact": "archive.compacted",
    "archive erase": "archive.erased",
    "audit redact": "audit.redacted",
    "audit rotate": "audit.key_rotated",
    "deadletters replay": "deadletters.replayed",
    "models keys end": "signing_key.ended",
    "models keys revoke": "signing_key.revoked",
    "models keys rotate": "signing_key.rotated",
    "models keys trust": "signing_key.trusted",
    "tokens create": "token.created",
    "tokens revoke": "token.revoked",
}
"""What the audit log says last once a command is carried out."""
WRITES_ELSEWHERE = {
    "audit restored": "tests/db/test_audit_keeping.py",
    "models register": "tests/serving/test_models_register.py",
    "models sign": "tests/serving/test_signatures.py",
    "monitors apply": "below",
    "schemas register": "below",
}
"""Where it is looked at for the others."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a database and an archive, under a policy, of somebody whom that does not know."""
    for name in ("ARCHIVE", "DATABASE_URL", "BROKER", "API_TOKEN"):
        monkeypatch.delenv(f"HOMEOSTAT_{name}", raising=False)
    home = tmp_path / "home"
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.setenv("HOMEOSTAT_HOME", str(home))
    monkeypatch.setenv("HOMEOSTAT_POLICY", str(tmp_path / "policy.yaml"))
    monkeypatch.setenv("LOGNAME", "eve")
    home.mkdir()
    migrate(f"sqlite:///{home / 'homeostat.db'}")
    fill(LocalStore(home / "archive"), 2)
    return home


def contents(home: Path) -> dict[str, str]:
    """Every file but what SQLite keeps beside its own."""
    files = (
        path
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm")
    )
    return {str(path.relative_to(home)): sha256(path.read_bytes()).hexdigest() for path in files}


def refused(*words: str) -> str:
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 1, found.output
    assert isinstance(found.exception, UserError), found.exception
    return str(found.exception)


def test_every_command_is_in_one_of_the_tables() -> None:
    tables: tuple[Any, ...] = (READS, SETS_UP, ASKS_THE_API, ASKS_THE_POLICY)
    known = sorted(name for table in tables for name in table)
    assert sorted(commands(typer.main.get_command(app))) == known


@pytest.mark.parametrize("command", ASKS_THE_POLICY)
def test_what_writes_without_the_api_asks_the_policy_first(command: str, home: Path) -> None:
    words, before = (*command.split(), *ASKS_THE_POLICY[command]), contents(home)
    assert "eve is nobody whom the policy knows. Nothing was changed. Without --by" in refused(*words)
    assert "otto may not do this: it needs one of operator (mira)" in refused(*words, "--by", "otto")
    assert contents(home) == before


@pytest.mark.parametrize("command", ASKS_THE_API)
def test_what_goes_over_the_api_says_who_asks(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    def post(_: ApiClient, path: str, body: dict[str, Any]) -> Any:
        sent.append(body)
        raise UserError(f"{path} was not to be answered")

    monkeypatch.setenv("HOMEOSTAT_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LOGNAME", "eve")
    monkeypatch.setattr(ApiClient, "get", lambda *_, **__: {"plan_hash": "0" * 64, "plan": {}})
    monkeypatch.setattr(ApiClient, "post", post)
    monkeypatch.setattr(ApiClient, "post_list", post)
    refused(*command.split(), *ASKS_THE_API[command])
    refused(*command.split(), *ASKS_THE_API[command], "--by", "mira")
    assert [body["by"] for body in sent] == ["eve", "mira"]


def test_it_is_known_of_every_command_what_it_leaves_in_the_audit_log() -> None:
    assert sorted((*WRITES, *WRITES_ELSEWHERE)) == sorted(ASKS_THE_POLICY)


@pytest.mark.parametrize("command", WRITES)
def test_what_writes_without_the_api_is_in_the_audit_log(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def replayed(*_: object, **__: object) -> Replayed:
        return Replayed(sent=[4, 5], refused={6: "the topic is gone"})

    def replay(work: Any) -> Any:
        return asyncio.run(work("broker"))

    monkeypatch.setattr(deadletters, "_run", replay)
    monkeypatch.setattr("streams.deadletters_replay.replay_deadletters", replayed)
    words = [*command.split(), *(_needed(command, home) or ASKS_THE_POLICY[command]), "--by", "mira"]
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), (done.output, done.exception)
    actor, action = _audited(home)[-1][:2]
    assert (actor, action) == ("mira", WRITES[command])


def _needed(command: str, home: Path) -> tuple[str, ...]:
    """What has to be there first; the words that name it."""
    if command.startswith("audit"):
        made = CliRunner().invoke(app, ["tokens", "create", "otto", "--scope", "decide", "--by", "mira"])
        assert made.exit_code == 0, made.output
        Sequencer(connect(f"sqlite:///{home / 'homeostat.db'}"), home / "audit").run_once()
    if command == "tokens revoke":
        made = CliRunner().invoke(app, ["tokens", "create", "otto", "--scope", "decide", "--by", "mira"])
        return (made.output.split()[1],)
    if command in ("models keys end", "models keys revoke", "models keys trust"):
        key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        foreign = (Verifier("ci", 1, key).text, *WHY)
        if command == "models keys trust":
            return foreign
        made = CliRunner().invoke(app, ["models", "keys", "trust", *foreign, "--by", "mira"])
        assert made.exit_code == 0, (made.output, made.exception)
        listed = json.loads(CliRunner().invoke(app, ["models", "keys", "list", "--json"]).stdout)
        return (next(each["id"] for each in listed["items"] if each["is"] == "trusted"), *WHY)
    return ()


def _audited(home: Path) -> list[tuple[Any, ...]]:
    """Who did what about what, in order."""
    engine = connect(f"sqlite:///{home / 'homeostat.db'}")
    with reading(engine) as connection:
        query = "SELECT actor, action, subject FROM audit_leaves ORDER BY position"
        told = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return told


def test_who_has_the_role_is_on_record_by_the_name_of_the_policy(home: Path) -> None:
    made = CliRunner().invoke(app, ["tokens", "create", "otto", "--scope", "decide", "--by", "mira"])
    assert made.exit_code == 0, made.output
    listed = json.loads(CliRunner().invoke(app, ["tokens", "list", "--json"]).stdout)["items"]
    assert [(each["person"], each["made by"]) for each in listed] == [("otto", "mira")]


def test_which_monitor_and_schema_was_published_is_on_record(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Bus()

    def with_bus(work: Any) -> Any:
        return asyncio.run(work(bus))

    monkeypatch.setattr(measure, "_with_bus", with_bus)
    monkeypatch.setattr(schemas, "_with_bus", with_bus)
    frame(1_000, 7).to_csv(home / "good.csv", index=False)
    columns = "{score: score, prediction: said, label: truth, id: id, time: at}"
    monitor, schema = home / "loan.yaml", home / "schema.yaml"
    monitor.write_text(f"model: loan\ncolumns: {columns}\nreference: {{file: good.csv}}\n")
    infer = ("schemas", "infer", str(home / "good.csv"), "--model", "loan", "--version", "2")
    schema.write_text(CliRunner().invoke(app, infer).stdout)
    for words in (("monitors", "apply", str(monitor)), ("schemas", "register", str(schema))):
        for more in (("--dry-run",), ()):
            done = CliRunner().invoke(app, [*words, "--by", "mira", *more])
            assert done.exit_code == 0, (done.output, done.exception)
    for words in (("monitors", "apply", str(monitor)), ("schemas", "register", str(schema))):
        again = CliRunner().invoke(app, [*words, "--by", "mira"])
        assert (again.exit_code, "nchanged" in again.output) == (0, True), again.output
    schema.write_text(schema.read_text().replace("task: binary", "task: regression"))
    refused_one = CliRunner().invoke(app, ["schemas", "register", str(schema), "--by", "mira"])
    assert refused_one.exit_code == 1, refused_one.output
    assert _audited(home) == [
        ("mira", "monitor.apply_intended", "monitor/loan"),
        ("mira", "monitor.applied", "monitor/loan"),
        ("mira", "schema.register_intended", "schema/loan/2"),
        ("mira", "schema.registered", "schema/loan/2"),
        ("mira", "monitor.apply_intended", "monitor/loan"),
        ("mira", "monitor.unchanged", "monitor/loan"),
        ("mira", "schema.register_intended", "schema/loan/2"),
        ("mira", "schema.unchanged", "schema/loan/2"),
        ("mira", "schema.register_intended", "schema/loan/2"),
        ("mira", "schema.register_refused", "schema/loan/2"),
    ]


@pytest.mark.parametrize("command", ASKS_THE_POLICY)
def test_no_command_is_given_in_the_name_of_a_part_of_homeostat(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOMEOSTAT_POLICY")
    words, before = (*command.split(), *ASKS_THE_POLICY[command]), contents(home)
    assert "agent is the name in which Homeostat signs what it does by itself" in refused(
        *words, "--by", "agent"
    )
    assert contents(home) == before


def test_no_token_is_made_for_a_part_of_homeostat(home: Path) -> None:
    told = refused("tokens", "create", "Agent", "--scope", "decide", "--by", "mira")
    assert "Agent is the name in which Homeostat signs what it does by itself" in told


def test_without_people_in_the_policy_nobody_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOMEOSTAT_POLICY")
    assert CliRunner().invoke(app, ["tokens", "create", "otto", "--scope", "decide"]).exit_code == 0
