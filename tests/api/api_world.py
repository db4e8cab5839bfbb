"""A small world on a real database: one model that fell ill after a release, and a ticket that waits."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine

from db.audit.proofs import Proofs
from db.audit.sequencer import Sequencer
from db.audit.verify import verify
from db.journal import SqlJournal
from db.points import SqlRecordStore
from detectors.sequential.hearing import Statement
from detectors.values import UNKNOWN_MODEL, Accounting, Alert, Evidence, MetricPoint
from remediation.approvals import decide, request, snooze
from remediation.cancellation import cancel
from remediation.changes import record_change
from remediation.config import AgentConfig
from remediation.errors import PromotionRefused
from remediation.feedback import give_feedback
from remediation.playbooks.values import Playbooks
from remediation.policy import Policy
from remediation.promotion import entitled
from remediation.silences import Link
from remediation.silencing import end_silence, set_silence
from remediation.turning import turn
from remediation.values import Action, Desired, Hypothesis, Incident, ModelVersion, Plan, Step
from remediation.watchdog import overdue
from serving.api import ApiServices, create_api
from serving.model_errors import RegistryUnreachable

SECOND_US = 1_000_000
MODEL = "credit-risk"
START_US = 1_795_000_000 * SECOND_US
"""2026-11-18: the tests' own now."""


@dataclass
class StillClock:
    """A clock that stands until it is moved."""

    at_us: int = START_US

    def now_us(self) -> int:
        return self.at_us


@dataclass
class FakeRegistry:
    """Two versions of the model, and what a test adds; may be away."""

    away: bool = False
    names: dict[str, tuple[str, ...]] = field(default_factory=lambda: {MODEL: ("1", "2")})

    def models(self) -> dict[str, list[str]]:
        if self.away:
            raise RegistryUnreachable("MLflow does not answer.")
        return {name: [*versions] for name, versions in self.names.items() if versions}

    def versions(self, model: str) -> list[ModelVersion]:
        if self.away:
            raise RegistryUnreachable("MLflow does not answer.")
        return [
            ModelVersion(
                model=model, version=name, digest=f"sha256:{name}", features=("age", "income"), rows=900
            )
            for name in self.names.get(model, ())
        ]


@dataclass
class World:
    """The database with what is in it, and the application over it."""

    engine: Engine
    folder: Path
    clock: StillClock = field(default_factory=StillClock)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    policy: Policy = field(default_factory=Policy)
    playbooks: Playbooks = field(default_factory=Playbooks)
    promoted: list[dict[str, str]] = field(default_factory=list)
    told: list[Statement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = SqlJournal(self.engine, self.clock)
        self.records = SqlRecordStore(self.engine)
        self.sequencer = Sequencer(self.engine, self.folder)

    def services(self, token: str | None = None) -> ApiServices:
        return ApiServices(
            journal=self.journal,
            records=self.records,
            registry=self.registry,  # type: ignore[arg-type]
            verify_audit=partial(verify, self.engine, self.folder),
            proofs=Proofs(self.engine, self.folder),
            decide=partial(decide, self.journal, self.clock, policy=self.policy),
            snooze=partial(snooze, self.journal, self.clock, policy=self.policy),
            promote=self.promote,
            cancel=partial(cancel, self.journal, self.clock, policy=self.policy),
            turn=partial(turn, self.journal, self.clock, policy=self.policy),
            give_feedback=partial(give_feedback, self.journal, self.tell, self.clock),
            set_silence=partial(set_silence, self.journal, self.clock),
            end_silence=partial(end_silence, self.journal, self.clock),
            record_change=partial(record_change, self.journal, self.clock),
            clock=self.clock,
            playbooks=self.playbooks,
            policy=self.policy,
            health=lambda: {"kafka": "healthy", "agent": "healthy"},
            stuck=partial(
                overdue, config=AgentConfig(alerts_topic="a", acknowledgements_topic="k", desired_topic="d")
            ),
            token=token,
        )

    def app(self, token: str | None = None) -> FastAPI:
        return create_api(self.services(token))

    async def promote(
        self,
        *,
        model: str,
        version: str,
        by: str,
        reason: str,
        break_glass: bool = False,
        dry_run: bool = False,
    ) -> Desired:
        by = entitled(self.policy, model, by, "rest", now_us=self.clock.now_us(), break_glass=break_glass)
        if version not in ("1", "2"):
            raise PromotionRefused(f"{model} has no version {version} with a digest; registered are: 1, 2")
        if not dry_run:
            self.promoted.append({"model": model, "version": version, "by": by, "reason": reason})
        return _desired(3, version, START_US)

    async def tell(self, statement: Statement) -> None:
        self.told.append(statement)

    def sequence(self) -> None:
        """Give audit leaves their places, as the agent's sequencer does twice a second."""
        self.sequencer.run_once()

    def fall_ill(self, number: int = 1, policy: Policy | None = None) -> Plan:
        """Points, an alert, an incident with a plan and a pending ticket."""
        opened_us = START_US - 60 * SECOND_US
        fired = alert(number, opened_us)
        self.records.upsert_points(_points())
        self.records.upsert_alerts([fired])
        self.records.upsert_accounting(
            [
                Accounting(model=MODEL, stage="profile", partition=0, received=9_000, profiled=9_000),
                Accounting(model=UNKNOWN_MODEL, stage="gate", partition=0, received=3, deadlettered=3),
            ]
        )
        incident, plan = _incident(number, opened_us), _plan(number)
        with self.journal.transaction() as unit:
            if unit.desired(MODEL) is None:
                unit.set_desired(_desired(1, "1", START_US - 900 * SECOND_US), expected_epoch=0, actor="mira")
                unit.set_desired(_desired(2, "2", START_US - 200 * SECOND_US), expected_epoch=1, actor="mira")
            unit.add_incident(incident, actor="agent")
            unit.link_alerts([Link(alert=fired, incident_id=incident.id)])
            unit.add_plan(plan, request(plan, now_us=START_US, ttl_s=3_600, policy=policy), actor="agent")
        self.sequence()
        return plan

    def act(self, plan: Plan) -> Action:
        """An action in the middle of its steps."""
        action = Action(
            id=f"act-{plan.hash[:16]}",
            plan_id=plan.id,
            incident_id=plan.incident_id,
            kind=plan.action,
            model=MODEL,
            state="awaiting_ack",
            steps=(
                Step(name="decide", state="done", at_us=START_US + SECOND_US, detail="epoch 3"),
                Step(name="acknowledge", state="intended", at_us=START_US + 2 * SECOND_US),
            ),
            started_us=START_US + SECOND_US,
            to_version="1",
            to_digest="sha256:1",
        )
        with self.journal.transaction() as unit:
            unit.add_action(action, actor="agent")
        self.sequence()
        return action


def _desired(epoch: int, version: str, at_us: int) -> Desired:
    return Desired(
        model=MODEL,
        version=version,
        digest=f"sha256:{version}",
        epoch=epoch,
        previous_version="1" if version == "2" else None,
        decided_by="mira",
        reason="spring release",
        at_us=at_us,
    )


def _points() -> list[MetricPoint]:
    values = [0.905, 0.912, 0.898, 0.91, 0.903, 0.917, 0.901, 0.713, 0.694, 0.702]
    found: list[MetricPoint] = []
    for place, value in enumerate(values):
        version = "1" if place < 7 else "2"
        for measure, shift in (("accuracy", 0.0), ("f1", -0.03), ("auc", 0.05)):
            end_us = START_US - (600 - 55 * place) * SECOND_US
            found.append(
                MetricPoint(
                    id=f"{MODEL}|{version}|{place}|{measure}",
                    model=MODEL,
                    version=version,
                    axis="label",
                    window=f"w{place}",
                    start_us=end_us - 50 * SECOND_US,
                    end_us=end_us,
                    rows=500,
                    measure=measure,
                    value=value + shift,
                    reference=0.905 + shift,
                    threshold=0.85 + shift,
                    verdict="ok" if value > 0.85 else "breach",
                )
            )
    return found


def alert(number: int, opened_us: int) -> Alert:
    return Alert(
        id=f"alert-{number}",
        model=MODEL,
        version="2",
        kind="performance",
        state="firing",
        axis="label",
        window="w8",
        start_us=opened_us - 60 * SECOND_US,
        end_us=opened_us,
        change_us=opened_us - 100 * SECOND_US,
        rows=500,
        reason="accuracy fell from 90.5 % to 69.4 % (threshold 85.0 %, 500 labelled rows)",
        evidence=(
            Evidence(measure="accuracy", value=0.694, reference=0.905, threshold=0.85, rows=500, effect=3.8),
            Evidence(measure="f1", value=0.664, reference=0.875, threshold=0.82, rows=500, effect=3.8),
        ),
    )


def _incident(number: int, opened_us: int) -> Incident:
    return Incident(
        id=f"inc-{number}",
        model=MODEL,
        version="2",
        state="awaiting_approval",
        severity="critical",
        cause="bad_release",
        confidence=0.93,
        summary=f"{MODEL} version 2: accuracy fell from 90.5 % to 69.4 %",
        hypotheses=(
            Hypothesis(
                cause="bad_release", confidence=0.93, reasons=("the drop began 8 s after the release",)
            ),
            Hypothesis(cause="population_shift", confidence=0.05, reasons=("no input drifted",)),
        ),
        change_us=opened_us - 100 * SECOND_US,
        opened_us=opened_us,
        diagnosed_us=opened_us + 3 * SECOND_US,
    )


def _plan(number: int) -> Plan:
    return Plan(
        id=f"plan-{number}-1",
        incident_id=f"inc-{number}",
        action="rollback",
        model=MODEL,
        from_version="2",
        from_digest="sha256:2",
        to_version="1",
        to_digest="sha256:1",
        epoch=2,
        evidence=(
            "the drop began 8 s after version 2 was made to serve",
            "inputs <b>did not</b> drift, so the world is as it was",
            "version 1 was in order in its last 2 windows of labels",
        ),
        blast_radius="Every prediction of credit-risk comes from version 1 instead of 2, within seconds.",
        undo="Promote version 2 again; its artifact stays registered.",
        created_us=START_US,
    )
