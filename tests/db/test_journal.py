"""Remediation's journal over both databases: conditional writes, pages, and an entry for every write."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from db.audit import Sequencer, verify
from db.audit.leaves import told
from db.engine import reading
from db.errors import StoreError
from db.journal import SqlJournal
from db.points import SqlRecordStore
from db.tables import LeafRow
from remediation.ports import Journal
from remediation.silences import Link
from remediation.values import AuditEntry, Hypothesis, Step, Vote
from tests.db.values import action, alert, approval, desired, incident, plan, point
from tests.patience import PATIENCE_S

ACTOR = "agent"


@pytest.fixture
def seeded(journal: SqlJournal) -> SqlJournal:
    """Incident i1 with plan p1 and its approval a1."""
    with journal.transaction() as unit:
        unit.add_incident(incident(), actor=ACTOR)
        unit.add_plan(plan(), approval(plan()), actor=ACTOR)
    return journal


def leaves(engine: Engine) -> list[AuditEntry]:
    with reading(engine) as connection:
        rows = connection.execute(select(LeafRow.leaf, LeafRow.personal).order_by(LeafRow.position)).all()
    return [told(leaf, personal, index=None, hash_hex="") for leaf, personal in rows]


def test_it_is_a_journal(journal: SqlJournal) -> None:
    port: Journal = journal
    with port.transaction() as unit:
        assert unit.incidents() == []


def test_an_incident_comes_back_as_it_went(journal: SqlJournal) -> None:
    original = incident(
        hypotheses=(Hypothesis(cause="bad_release", confidence=0.9, reasons=("née \u2713", "b")),),
        confidence=0.9,
    )
    with journal.transaction() as unit:
        unit.add_incident(original, actor=ACTOR)
    with journal.reading() as reader:
        assert reader.incident("i1") == original
        assert reader.incident("i2") is None
    with pytest.raises(StoreError, match="refused"), journal.transaction() as unit:
        unit.add_incident(original, actor=ACTOR)


def test_a_number_that_json_lacks_is_refused(journal: SqlJournal) -> None:
    with (
        pytest.raises(ValueError, match=r"Incident 'i1' .*confidence.*finite"),
        journal.transaction() as unit,
    ):
        unit.add_incident(incident(confidence=float("nan")), actor=ACTOR)


def test_saving_is_conditional(seeded: SqlJournal) -> None:
    with seeded.transaction() as unit:
        diagnosed = incident(state="diagnosed", cause="bad_release")
        assert unit.save_incident(diagnosed, expected="open", actor=ACTOR, why="release")
        assert not unit.save_incident(diagnosed, expected="open", actor=ACTOR, why="again")
        assert unit.save_incident(
            msgspec.structs.replace(diagnosed, summary="x"), expected="diagnosed", actor=ACTOR, why="told"
        )
    with seeded.transaction() as unit:
        kept = unit.incident("i1")
        assert kept is not None
        assert (kept.state, kept.summary) == ("diagnosed", "x")
        with pytest.raises(ValueError, match="'i7' is not in incidents"):
            unit.save_incident(incident(7), expected="open", actor=ACTOR, why="")


def test_two_takers_of_one_lease(seeded: SqlJournal, engine: Engine) -> None:
    """The state stays `executing`, so only the row's revision shows the second taker that it is too late."""
    with seeded.transaction() as unit:
        assert unit.add_action(action(plan(), state="executing"), actor=ACTOR)
    if engine.dialect.name == "sqlite":
        with seeded.transaction() as unit:
            assert [one.id for one in unit.actions(states=["executing"])] == ["x1"]
            first, second = (action(plan(), state="executing", lease_by=name) for name in "ab")
            assert unit.save_action(first, expected="executing", actor="a")
            assert unit.save_action(second, expected="executing", actor="a"), (
                "its own write is not a stranger's"
            )
        return
    with seeded.transaction() as mine:
        assert mine.actions(states=["executing"])
        with seeded.transaction() as other:
            assert other.action("x1") is not None
            taken = action(plan(), state="executing", lease_by="other")
            assert other.save_action(taken, expected="executing", actor="other")
        late = action(plan(), state="executing", lease_by="mine")
        assert not mine.save_action(late, expected="executing", actor="mine")


def test_an_exception_rolls_back_state_and_entry(journal: SqlJournal, engine: Engine) -> None:
    def fail_late() -> None:
        with journal.transaction() as unit:
            unit.add_incident(incident(), actor=ACTOR)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()
    with journal.reading() as reader:
        assert reader.incidents() == []
    assert leaves(engine) == []


def test_a_plan_is_bound_to_its_approval(seeded: SqlJournal) -> None:
    with seeded.transaction() as unit:
        assert unit.plan("p1") == plan()
        assert unit.plan("p2") is None
        assert unit.plans("i1") == [plan()]
        assert unit.plans("i2") == []
        other = plan(2, to_version="3")
        with pytest.raises(ValueError, match=r"approval 'a1' is bound to .*'p1'.*, not to plan 'p2'"):
            unit.add_plan(other, approval(plan()), actor=ACTOR)
        moved = msgspec.structs.replace(approval(plan()), plan_hash=other.hash, state="approved")
        with pytest.raises(ValueError, match="cannot be moved"):
            unit.save_approval(moved, expected="pending", actor="ann")
    of_nothing = plan(3, incident_id="i99")
    with pytest.raises(StoreError, match="refused"), seeded.transaction() as unit:
        unit.add_plan(of_nothing, approval(of_nothing, 3), actor=ACTOR)


def test_an_approval_is_decided_once(seeded: SqlJournal) -> None:
    approved = approval(plan(), state="approved", decided_by="ann", decided_us=5, channel="slack")
    rejected = approval(plan(), state="rejected", decided_by="bob", reason="no")
    with seeded.transaction() as unit:
        assert unit.approval("a1") == approval(plan())
        assert unit.save_approval(approved, expected="pending", actor="ann")
    with seeded.transaction() as unit:
        assert not unit.save_approval(rejected, expected="pending", actor="bob")
        assert unit.approval("a1") == approved
        assert unit.approvals(state="pending") == []
        assert unit.approvals(state="approved", incident_id="i1") == [approved]


DECIDE = """
import sys
from db.engine import connect
from db.journal import SqlJournal
from tests.db.values import TickingClock, approval, plan

engine = connect(sys.argv[1])
journal = SqlJournal(engine, TickingClock())
print("ready", flush=True)
sys.stdin.readline()
won = 0
for number in range(1, 21):
    of = plan(number)
    mine = approval(of, number, state="approved", decided_by=sys.argv[2])
    with journal.transaction() as unit:
        unit.approval(mine.id)
        won += unit.save_approval(mine, expected="pending", actor=sys.argv[2])
print(won)
engine.dispose()
"""


def test_a_vote_is_told_as_one_also_where_an_earlier_one_counts_no_more(
    seeded: SqlJournal, engine: Engine
) -> None:
    for by in ("mira", "otto"):
        with seeded.transaction() as unit:
            before = unit.approval("a1")
            assert before is not None
            votes = (Vote(by=by, channel="cli", at_us=1),)
            assert unit.save_approval(
                msgspec.structs.replace(before, quorum=2, votes=votes), expected="pending", actor=by
            )
    assert [each.action for each in leaves(engine)][-2:] == ["approval.voted", "approval.voted"]


def test_two_processes_decide_the_same_approvals(journal: SqlJournal, engine: Engine, url: str) -> None:
    with journal.transaction() as unit:
        unit.add_incident(incident(), actor=ACTOR)
        for number in range(1, 21):
            unit.add_plan(plan(number), approval(plan(number), number), actor=ACTOR)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DECIDE, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for name in ("ann", "bob")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    won = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=PATIENCE_S)
        won.append(int(out))
    assert sum(won) == 20
    decided = [entry for entry in leaves(engine) if entry.action == "approval.approved"]
    assert len({entry.subject for entry in decided}) == len(decided) == 20
    with journal.reading() as reader:
        by = {one.id: one.decided_by for one in reader.approvals()}
    assert {entry.subject.removeprefix("approval/"): entry.actor for entry in decided} == by


def test_an_action_is_intended_once(seeded: SqlJournal) -> None:
    intended = action(plan())
    with seeded.transaction() as unit:
        assert unit.add_action(intended, actor=ACTOR)
        assert not unit.add_action(intended, actor=ACTOR)
        moved = action(plan(), state="executing", steps=(Step(name="swap", state="intended", at_us=3),))
        assert unit.save_action(moved, expected="intended", actor=ACTOR)
        assert not unit.save_action(moved, expected="intended", actor=ACTOR)
        assert unit.action("x1") == moved
        assert unit.actions(model="churn", states=["executing", "verifying"]) == [moved]
        assert unit.actions(incident_id="i1", states=["failed"]) == []
        assert unit.actions(model="other") == []
        assert unit.actions(kind=moved.kind, since_us=moved.started_us) == [moved]
        assert unit.actions(kind="shadow") == []
        assert unit.actions(since_us=moved.started_us + 1) == []


def test_one_epoch_after_the_other(journal: SqlJournal) -> None:
    with journal.transaction() as unit:
        assert unit.desired("churn") is None
        assert unit.set_desired(desired(1, "1"), expected_epoch=0, actor=ACTOR)
        assert not unit.set_desired(desired(1, "9"), expected_epoch=0, actor=ACTOR)
        assert unit.set_desired(desired(2, "2"), expected_epoch=1, actor=ACTOR)
        assert not unit.set_desired(desired(3, "9"), expected_epoch=1, actor=ACTOR)
        assert unit.set_desired(desired(5, "1"), expected_epoch=2, actor=ACTOR)
        assert unit.set_desired(desired(1, "1", "loans"), expected_epoch=0, actor=ACTOR)
        with pytest.raises(ValueError, match="epoch must grow: got 5 after 5"):
            unit.set_desired(desired(5, "2"), expected_epoch=5, actor=ACTOR)
        assert unit.desired("churn") == desired(5, "1")
        assert unit.deployments("churn") == [desired(1, "1"), desired(2, "2"), desired(5, "1")]


def test_an_alert_is_linked_once(seeded: SqlJournal) -> None:
    links = [Link(alert=alert(2), incident_id="i1"), Link(alert=alert(3))]
    with seeded.transaction() as unit:
        assert unit.link_alerts(links) == 2
        assert unit.link_alerts([*links, Link(alert=alert(1), incident_id="i1")]) == 1
        assert unit.link_alerts([Link(alert=alert(3), incident_id="i1")]) == 0
        assert unit.alerts("i1") == [alert(1), alert(2)]


def test_pages_and_filters_of_incidents(journal: SqlJournal) -> None:
    with journal.transaction() as unit:
        for number in range(1, 26):
            # Pairs with the same time: the id decides.
            unit.add_incident(
                incident(number, opened_us=number // 2, model="ab"[number % 2], cause="unknown"), actor=ACTOR
            )
    with journal.reading() as reader:
        seen: list[str] = []
        cursor = None
        while page := reader.incidents(before=cursor, limit=4):
            seen += [one.id for one in page]
            cursor = page[-1].id
        assert seen == [one.id for one in reader.incidents(limit=100)]
        assert len(set(seen)) == 25
        times = [one.opened_us for one in reader.incidents()]
        assert times == sorted(times, reverse=True)
        assert {one.model for one in reader.incidents(model="a")} == {"a"}
        assert len(reader.incidents(states=["open"], cause="unknown")) == 25
        assert reader.incidents(states=[]) == []
        assert reader.incidents(cause="bad_release") == []
        with pytest.raises(ValueError, match="before='nobody' names nothing in incidents"):
            reader.incidents(before="nobody")
        for limit in (0, -1, 1_000_000):
            with pytest.raises(ValueError, match=f"limit must be between 1 and 10000, got {limit}"):
                reader.incidents(limit=limit)


def test_pages_of_actions_and_approvals(journal: SqlJournal) -> None:
    with journal.transaction() as unit:
        unit.add_incident(incident(), actor=ACTOR)
        for number in range(1, 8):
            unit.add_plan(plan(number), approval(plan(number), number), actor=ACTOR)
            unit.add_action(action(plan(number), number), actor=ACTOR)
    with journal.reading() as reader:
        assert [one.id for one in reader.approvals(limit=3)] == ["a7", "a6", "a5"]
        assert [one.id for one in reader.approvals(before="a5", limit=3)] == ["a4", "a3", "a2"]
        assert [one.id for one in reader.actions(limit=3)] == ["x7", "x6", "x5"]
        assert [one.id for one in reader.actions(before="x2")] == ["x1"]


def test_points_are_read_through_the_journal(journal: SqlJournal, engine: Engine) -> None:
    SqlRecordStore(engine).upsert_points([point(number, "psi") for number in range(1, 6)])
    with journal.reading() as reader:
        ends = [
            one.end_us // 1_000_000 for one in reader.points("churn", measures=["psi", "ks"], axis="event")
        ]
        assert ends == [2, 3, 4, 5, 6]
        newest = reader.points("churn", limit=2)
        assert [one.window for one in newest] == ["w4", "w5"]
        between = reader.points("churn", since_us=3_000_000, until_us=5_000_000)
        assert [one.window for one in between] == ["w2", "w3"]
        assert reader.points("churn", version="2") == []
        assert reader.points("churn", measures=["ks"]) == []


def test_every_write_has_an_entry(seeded: SqlJournal, engine: Engine, tmp_path: Path) -> None:
    approved = approval(plan(), state="approved", decided_by="ann", reason="looks right", channel="api")
    with seeded.transaction() as unit:
        unit.save_incident(incident(state="awaiting_approval"), expected="open", actor=ACTOR, why="asked")
        unit.save_approval(approved, expected="pending", actor="ann")
        unit.save_approval(
            msgspec.structs.replace(approved, slack_ts="1.2"), expected="approved", actor=ACTOR
        )
        unit.add_action(action(plan()), actor=ACTOR)
        step = Step(name="swap", state="done", at_us=3)
        unit.save_action(
            action(plan(), state="executing", steps=(step,), outcome="ok"), expected="intended", actor=ACTOR
        )
        unit.set_desired(desired(1, "1"), expected_epoch=0, actor=ACTOR)
        unit.link_alerts([Link(alert=alert(), incident_id="i1")])
        unit.audit(actor="ann", action="login", subject="person/ann", detail={"from": "console"})
    entries = leaves(engine)
    assert [(entry.action, entry.subject, entry.actor) for entry in entries] == [
        ("incident.open", "incident/i1", ACTOR),
        ("plan.proposed", "plan/p1", ACTOR),
        ("approval.requested", "approval/a1", ACTOR),
        ("incident.awaiting_approval", "incident/i1", ACTOR),
        ("approval.approved", "approval/a1", "ann"),
        ("approval.updated", "approval/a1", ACTOR),
        ("action.intended", "action/x1", ACTOR),
        ("action.executing", "action/x1", ACTOR),
        ("model.desired", "model/churn", ACTOR),
        ("alert.linked", "alert/alert-1", ACTOR),
        ("login", "person/ann", "ann"),
    ]
    assert entries[1].detail["hash"] == plan().hash
    assert list(entries[1].detail["rows"]) == ["plans/p1"]
    assert entries[4].detail["reason"] == "looks right"
    assert entries[7].detail["step"]["name"] == "swap"
    assert len({entry.id for entry in entries}) == len(entries)
    assert Sequencer(engine, tmp_path).run_once() == len(entries)
    assert verify(engine, tmp_path).problems == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"actor": ""}, "actor of an audit entry must be"),
        ({"subject": "a\x00b"}, "subject of an audit entry must be"),
        ({"detail": {"rows": {}}}, "'rows' in an audit entry's detail is reserved"),
    ],
)
def test_a_wrong_entry_is_refused(journal: SqlJournal, broken: dict[str, object], words: str) -> None:
    fields = {"actor": "ann", "action": "login", "subject": "person/ann", "detail": {}, **broken}
    with pytest.raises(ValueError, match=words), journal.transaction() as unit:
        unit.audit(**fields)  # pyright: ignore[reportArgumentType]


def test_pages_and_filters_of_the_audit_log(journal: SqlJournal, engine: Engine, tmp_path: Path) -> None:
    with journal.transaction() as unit:
        for number in range(20):
            unit.audit(actor=f"p{number % 2}", action="look", subject=f"s{number % 5}", detail={"n": number})
        assert unit.audit_entries() == [], "unsequenced entries have no index yet"
    Sequencer(engine, tmp_path).run_once()
    with journal.reading() as reader:
        indices: Callable[..., list[int | None]] = lambda **how: [  # noqa: E731
            entry.index for entry in reader.audit_entries(**how)
        ]
        assert indices() == list(range(19, -1, -1))
        assert indices(newest_first=False, after=3, before=8) == [4, 5, 6, 7]
        assert indices(before=8, limit=3) == [7, 6, 5]
        assert indices(actor="p0", subject="s0") == [10, 0]
        assert indices(action="none") == []
        entry = reader.audit_entries(limit=1)[0]
        assert (entry.detail, len(entry.leaf_hash)) == ({"n": 19}, 64)
        with pytest.raises(ValueError, match="got 0"):
            reader.audit_entries(limit=0)


def test_the_count_of_leaves_is_the_count_of_writes(seeded: SqlJournal, engine: Engine) -> None:
    with seeded.transaction() as unit:
        assert not unit.save_incident(incident(), expected="resolved", actor=ACTOR, why="late")
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(LeafRow)) == 3
