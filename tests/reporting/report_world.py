"""A stretch of a model's life in a real database: two incidents, each found, approved, acted on and cured."""

import random
from dataclasses import dataclass
from pathlib import Path

from db.engine import connect
from db.journal import SqlJournal
from db.points import SqlRecordStore
from detectors.values import Accounting, Alert, AlertKind, Evidence, MetricPoint
from remediation.silences import Link
from remediation.values import Action, ActionKind, Approval, Cause, Desired, Incident, Plan, Step
from tests.databases import migrate

SECOND_US = 1_000_000
START_US = 1_795_248_000 * SECOND_US  # 2026-11-21 08:00 UTC
MODEL = "breast-cancer"
FEATURES = (
    *("mean radius", "mean texture", "mean perimeter", "mean area", "mean smoothness", "mean concavity"),
    *("worst radius", "worst texture", "worst area", "worst concave points", "mean symmetry", "area error"),
    "fractal dimension error",
)
PATIENT = ("mean radius", "mean perimeter", "mean area", "worst radius", "worst area")


def at(second: float) -> int:
    """Seconds after the start, as a time."""
    return START_US + int(second * SECOND_US)


@dataclass
class SteadyClock:
    """Always the same time: only audit lines need it here."""

    def now_us(self) -> int:
        return at(3_000)


@dataclass
class World:
    """The stores over one database file."""

    url: str
    journal: SqlJournal
    records: SqlRecordStore


def empty_world(folder: Path) -> World:
    """A migrated database without a row."""
    url = f"sqlite:///{folder / 'homeostat.db'}"
    migrate(url)
    engine = connect(url)
    return World(url, SqlJournal(engine, SteadyClock()), SqlRecordStore(engine))


def lived_world(folder: Path, *, seed: int = 7) -> World:
    """Version 1 serves; 2 is a bad release, rolled back; then the population shifts and 3 is trained."""
    world = empty_world(folder)
    rng = random.Random(seed)
    world.records.upsert_points(_performance(rng) + _drift(rng) + _quality(rng))
    world.records.upsert_accounting(_accounting())
    with world.journal.transaction() as unit:
        for epoch, (version, second, who, why) in enumerate(_DEPLOYED, start=1):
            desired = Desired(
                model=MODEL,
                version=version,
                digest=f"sha256:{version * 64}",
                epoch=epoch,
                decided_by=who,
                reason=why,
                at_us=at(second),
            )
            unit.set_desired(desired, expected_epoch=epoch - 1, actor=who)
    release = "accuracy is 71.4 % (reference 96.2 %, alarm below 91.0 %; 500 rows)"
    _incident(world, 1, "2", "bad_release", "rollback", 620, release, "1", "mira")
    shift = "the distribution of worst radius moved by a PSI of 1.84 (alarm above 0.20; 1000 rows)"
    _incident(world, 2, "1", "population_shift", "retrain", 1_500, shift, "3", "jonas")
    return world


_DEPLOYED = (
    ("1", 0, "mira", "first release"),
    ("2", 600, "release-bot", "spring release"),
    ("1", 760, "agent", "roll back"),
    ("3", 1_700, "agent", "retrained on labelled events since the shift"),
)


def _serving(second: float) -> str:
    return next(version for version, since, _, _ in reversed(_DEPLOYED) if second >= since)


def _level(second: float) -> float:
    if 600 <= second < 760:
        return 0.71
    if 1_500 <= second < 1_700:
        return 0.83
    return 0.955


def _performance(rng: random.Random) -> list[MetricPoint]:
    found: list[MetricPoint] = []
    for second in range(0, 2_400, 40):
        level = _level(second)
        for measure, offset, limit in (("accuracy", 0, 0.91), ("f1", -0.02, 0.89), ("auc", 0.02, 0.93)):
            value = min(1.0, level + offset + rng.gauss(0, 0.008))
            found.append(_point(second, 40, "label", measure, None, value, 0.962 + offset, limit, rows=500))
    return found


def _drift(rng: random.Random) -> list[MetricPoint]:
    found: list[MetricPoint] = []
    for second in range(0, 2_400, 60):
        moved = 1_500 <= second < 1_700
        for index, feature in enumerate(FEATURES):
            far = moved and feature in PATIENT
            psi = abs(rng.gauss(1.2 + 0.15 * index if far else 0.04, 0.02))
            ks = abs(rng.gauss(0.38 if far else 0.03, 0.01))
            found.append(_point(second, 60, "event", "psi", feature, psi, None, 0.2))
            found.append(_point(second, 60, "event", "ks", feature, ks, None, 0.1))
        rate = 0.58 if moved else 0.37
        found.append(_point(second, 60, "event", "positive_rate", None, rng.gauss(rate, 0.01), 0.37, 0.47))
    return found


def _quality(rng: random.Random) -> list[MetricPoint]:
    found: list[MetricPoint] = []
    for second in range(0, 2_400, 60):
        for feature in FEATURES:
            outside = 0.31 if 1_500 <= second < 1_700 and feature == "worst area" else 0.002
            missing = max(0.0, rng.gauss(0.001, 0.0005))
            found.append(_point(second, 60, "event", "missing_rate", feature, missing, 0.0, 0.02))
            found.append(_point(second, 60, "event", "out_of_range_rate", feature, outside, 0.0, 0.02))
    found.append(
        _point(60, 60, "event", "point_mass", "area error", None, None, None, because="no value repeats")
    )
    return found


def _point(
    second: int,
    length_s: int,
    axis: str,
    measure: str,
    feature: str | None,
    value: float | None,
    reference: float | None,
    threshold: float | None,
    *,
    rows: int = 1_000,
    because: str | None = None,
) -> MetricPoint:
    version = _serving(second)
    ill = False
    if value is not None and threshold is not None:
        ill = value < threshold if (reference or 0) > threshold else value > threshold
    return MetricPoint(
        id=f"{MODEL}|{version}|{axis}|{second}|{measure}|{feature}",
        model=MODEL,
        version=version,
        axis=axis,  # pyright: ignore[reportArgumentType]
        window=f"{axis}-{second}",
        start_us=at(second),
        end_us=at(second + length_s),
        rows=rows,
        measure=measure,
        feature=feature,
        value=value,
        reference=reference,
        threshold=threshold,
        verdict="undefined" if value is None else "breach" if ill else "ok",
        undefined=because,
    )


def _incident(
    world: World,
    number: int,
    version: str,
    cause: Cause,
    kind: ActionKind,
    change_s: float,
    reason: str,
    to_version: str,
    by: str,
) -> None:
    name = f"inc-{number:04d}"
    opened_s, decided_s = change_s + 41.5, change_s + 96.0
    acted_s, closed_s = (760 if number == 1 else 1_700) + 1.4, (760 if number == 1 else 1_700) + 180.0
    opened = Incident(
        id=name,
        model=MODEL,
        version=version,
        severity="critical",
        change_us=at(change_s),
        opened_us=at(opened_s),
    )
    plan = Plan(
        id=f"plan-{number}",
        incident_id=name,
        action=kind,
        model=MODEL,
        from_version=version,
        from_digest=f"sha256:{version * 64}",
        to_version=to_version if kind == "rollback" else None,
        to_digest=None,
        epoch=number + 1,
        evidence=(reason,),
        blast_radius="all traffic of the model",
        undo=f"promote version {version} again",
        created_us=at(opened_s + 5),
    )
    ticket = Approval(
        id=f"apr-{number}",
        plan_id=plan.id,
        plan_hash=plan.hash,
        incident_id=name,
        model=MODEL,
        requested_us=at(opened_s + 5),
        expires_us=at(opened_s + 3_600),
    )
    action = Action(
        id=f"act-{number}",
        plan_id=plan.id,
        incident_id=name,
        kind=kind,
        model=MODEL,
        started_us=at(decided_s + 0.5),
    )
    kinds: tuple[AlertKind, ...] = ("performance",) if number == 1 else ("data_drift", "performance")
    alerts = [
        _alert(number, version, each, state, change_s, reason)
        for each in kinds
        for state in ("firing", "cleared")
    ]
    world.records.upsert_alerts(alerts)
    from msgspec.structs import replace

    with world.journal.transaction() as unit:
        unit.add_incident(opened, actor="agent")
        unit.link_alerts([Link(alert=alert, incident_id=name) for alert in alerts])
        unit.add_plan(plan, ticket, actor="agent")
        approved = replace(
            ticket,
            state="approved",
            decided_us=at(decided_s),
            decided_by=by,
            channel="console",
            reason="agreed",
        )
        unit.save_approval(approved, expected="pending", actor=by)
        unit.add_action(action, actor="agent")
        done = replace(
            action,
            state="succeeded",
            to_version=to_version,
            finished_us=at(closed_s),
            outcome=f"version {to_version} is healthy: accuracy 95.6 % over 2,000 rows",
            steps=tuple(
                Step(name=step, state="done", at_us=at(decided_s + i))
                for i, step in enumerate(("desire", "publish", "acknowledge", "verify"))
            ),
        )
        unit.save_action(done, expected="intended", actor="agent")
        closed = replace(
            opened,
            state="resolved",
            cause=cause,
            confidence=0.93,
            summary=f"{MODEL} version {version}: {reason}",
            diagnosed_us=at(opened_s + 3),
            approved_us=at(decided_s),
            acted_us=at(acted_s),
            closed_us=at(closed_s),
            outcome=f"version {to_version} is healthy: accuracy 95.6 % over 2,000 rows",
        )
        unit.save_incident(closed, expected="open", actor="agent", why="verified")


def _alert(number: int, version: str, kind: AlertKind, state: str, change_s: float, reason: str) -> Alert:
    second = change_s + (40 if state == "firing" else 300)
    measure = "psi" if kind == "data_drift" else "accuracy"
    return Alert(
        id=f"al-{number}-{kind}-{state}",
        model=MODEL,
        version=version,
        kind=kind,
        state=state,  # pyright: ignore[reportArgumentType]
        axis="label" if kind == "performance" else "event",
        window=f"w-{second}",
        start_us=at(second - 40),
        end_us=at(second),
        change_us=at(change_s),
        rows=500,
        reason=reason,
        evidence=(Evidence(measure=measure, value=0.71, threshold=0.91, rows=500, effect=4.9),),
    )


def _accounting() -> list[Accounting]:
    return [
        Accounting(
            model=MODEL,
            stage="profile",
            partition=partition,
            received=10_020,
            profiled=10_000,
            late=12,
            deadlettered=5,
            duplicates=3,
            label_received=7_500,
            joined=7_420,
            waiting=70,
            orphaned=10,
        )
        for partition in range(4)
    ]
