"""A small world around the agent: a model with versions, inference servers, labels that come back, people who
decide."""

from collections.abc import Callable
from typing import Any, cast

from detectors.values import Alert, AlertKind, Axis, Evidence, MetricPoint
from remediation.agent import Agent, Ports
from remediation.approvals import Decision, Verdict, decide
from remediation.config import AgentConfig, RetrainingConfig, VerificationConfig
from remediation.promotion import promote
from remediation.publisher import BusPublisher
from remediation.values import CLOSED_INCIDENTS, Desired, Incident
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import (
    FakeArchive,
    FakeBus,
    FakeNotifier,
    FakeRegistry,
    FakeScorer,
    FakeServing,
    FakeTrainer,
    Faults,
    ManualClock,
    S,
)

MODEL = "cancer"


def alert(
    kind: AlertKind = "performance",
    *,
    version: str = "2",
    at_us: int,
    change_us: int | None = None,
    state: str = "firing",
    evidence: tuple[Evidence, ...] | None = None,
    model: str = MODEL,
    length_s: float = 5,
    name: str = "",
) -> Alert:
    """An alert of the window that ends at `at_us`."""
    axis: Axis = "label" if kind in ("performance", "concept_drift") else "event"
    start_us = at_us - round(length_s * S)
    return Alert(
        id=f"{model}/{version}/{kind}/{state}/{at_us}{name}",
        model=model,
        version=version,
        kind=kind,
        state=cast(Any, state),
        axis=axis,
        window=f"w{at_us}",
        start_us=start_us,
        end_us=at_us,
        change_us=start_us if change_us is None else change_us,
        rows=500,
        reason=f"{kind} of version {version} left its reference",
        evidence=evidence if evidence is not None else default_evidence(kind),
    )


def default_evidence(kind: AlertKind) -> tuple[Evidence, ...]:
    """What the judge would show for this kind."""
    shown = {
        "performance": Evidence(
            measure="accuracy", value=0.7, reference=0.95, threshold=0.92, rows=500, effect=8
        ),
        "concept_drift": Evidence(
            measure="error_rate", value=0.3, reference=0.05, threshold=0.1, rows=500, effect=5
        ),
        "data_drift": Evidence(
            measure="psi", feature="radius", value=1.4, reference=0.0, threshold=0.2, rows=1000, effect=7
        ),
        "data_quality": Evidence(
            measure="missing_rate",
            feature="texture",
            value=0.98,
            reference=0.01,
            threshold=0.03,
            rows=1000,
            effect=40,
        ),
        "prediction_drift": Evidence(
            measure="positive_rate", value=0.8, reference=0.4, threshold=0.5, rows=1000, effect=4
        ),
    }
    return (shown[kind],)


def point(
    version: str,
    *,
    end_us: int,
    value: float,
    axis: Axis = "label",
    breach: bool = False,
    length_s: float = 2.0,
    **more: Any,
) -> MetricPoint:
    """One point; accuracy on the label axis unless said otherwise."""
    measure = more.pop("measure", "accuracy" if axis == "label" else "psi")
    model = more.pop("model", MODEL)
    return MetricPoint(
        id=f"{model}/{version}/{axis}/{measure}/{more.get('feature')}/{end_us}",
        model=model,
        version=version,
        axis=axis,
        window=f"{axis}{end_us}",
        start_us=end_us - round(length_s * S),
        end_us=end_us,
        rows=500,
        measure=measure,
        value=value,
        verdict="breach" if breach else "ok",
        **more,
    )


class World:
    """`run` lets time pass in steps of 0.5 s: labels come back for the version that serves, the agent works,
    and `person` decides about whatever is pending."""

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        models: tuple[str, ...] = (MODEL,),
        journal: Any = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.faults = Faults()
        self.journal = journal or FakeJournal(self.clock, self.faults)
        self.bus = FakeBus(self.faults)
        self.registry = FakeRegistry(self.faults, self.clock)
        self.serving = FakeServing(self.bus, self.registry, self.clock, ("s1", "s2"))
        self.trainer: Any = FakeTrainer(self.faults)
        self.archive: Any = FakeArchive(self.clock.now_us())
        self.scorer: Any = FakeScorer()
        self.notifier = FakeNotifier()
        self.publisher = BusPublisher(
            self.bus, self.registry, desired_topic="desired", announce=self._announce
        )
        self.config = config or {}
        self.models = models
        self.ill: set[tuple[str, str]] = set()
        self.verdict: Verdict | None = "approve"
        self.agents = 0
        self.labels = True
        self.agent = self.new_agent()

    async def _announce(self, desired: Desired) -> None:
        self.faults("announce")

    def new_agent(self, agent_id: str | None = None) -> Agent:
        """A fresh process: no memory."""
        self.agents += 1
        settings: dict[str, Any] = {
            "alerts_topic": "alerts",
            "acknowledgements_topic": "acknowledgements",
            "desired_topic": "desired",
            "agent_id": agent_id or f"agent-{self.agents}",
            "retraining": RetrainingConfig(collect_s=20),
            "verification": VerificationConfig(windows=2, limit_s=60),
        }
        ports = Ports(
            journal=cast(Any, self.journal),
            bus=self.bus,
            registry=self.registry,
            trainer=self.trainer,
            archive=self.archive,
            scorer=self.scorer,
            publisher=self.publisher,
            notifier=self.notifier,
            clock=self.clock,
        )
        return Agent(ports, AgentConfig(**(settings | self.config)))

    async def deploy(self, version: str, model: str = MODEL, by: str = "release-manager") -> Desired:
        """Promote a version."""
        return await promote(
            cast(Any, self.journal),
            self.registry,
            self.publisher,
            self.clock,
            model=model,
            version=version,
            by=by,
            reason="release",
        )

    async def healthy_release(self, model: str = MODEL) -> None:
        """Version 1 serves healthily for a minute."""
        self.registry.add(model, "1", "good")
        await self.deploy("1", model)
        self.pass_time(60, model)

    async def bad_release(self, model: str = MODEL) -> Alert:
        """Version 2 replaces the healthy version 1 and is ill from its first window."""
        await self.healthy_release(model)
        self.registry.add(model, "2", "bad")
        self.ill.add((model, "2"))
        await self.deploy("2", model)
        self.pass_time(6, model)
        return alert(at_us=self.clock.now_us(), model=model, change_us=self.clock.now_us() - 6 * S)

    async def shifted_world(self) -> Alert:
        """Version 1 is ill because the world moved: the archive has labels of the new one."""
        self.registry.add(MODEL, "1", "bad")
        await self.deploy("1")
        self.pass_time(60)
        change_us = self.clock.now_us()
        self.archive = FakeArchive(change_us)
        self.agent = self.new_agent()
        self.ill.add((MODEL, "1"))
        self.pass_time(6)
        return alert("data_drift", version="1", at_us=self.clock.now_us(), change_us=change_us)

    def pass_time(self, duration_s: float, model: str | None = None) -> None:
        """Labels come back in windows of 2 s, for what the servers serve, and at once."""
        for _ in range(int(duration_s)):
            self.clock.advance(1)
            now_us = self.clock.now_us()
            for name in (model,) if model else self.models:
                served = self.serving.serves.get(name)
                if served is None or not self.labels or (now_us // S) % 2:
                    continue
                ill = (name, served.version) in self.ill
                axes: tuple[Axis, ...] = ("label", "event")
                for axis in axes:
                    self.record(
                        point(
                            served.version,
                            end_us=now_us,
                            value=0.7 if ill else 0.95,
                            breach=ill,
                            axis=axis,
                            measure="accuracy",
                            model=name,
                        )
                    )

    async def round(self) -> None:
        """One second of the agent's life."""
        self.pass_time(1)
        for said in self.serving.acknowledgements:
            self.agent.acknowledge(said)
        await self.agent.sweep()
        await self.agent.idle()
        await self.agent.deliver()
        if self.verdict is not None:
            self.click(self.verdict)

    def record(self, measured: MetricPoint) -> None:
        """What the recorder would write."""
        self.journal.state.points.append(measured)

    def click(self, verdict: Verdict) -> None:
        """Decide about everything that is pending."""
        with self.journal.transaction() as unit:
            pending = unit.approvals(state="pending")
        for approval in pending:
            self.say(approval.id, verdict)

    def say(
        self, approval_id: str, verdict: Verdict, by: str = "ada", plan_hash: str | None = None
    ) -> Decision:
        """A person decides."""
        with self.journal.transaction() as unit:
            approval = unit.approval(approval_id)
        shown = plan_hash if plan_hash is not None else approval.plan_hash if approval else ""
        journal = cast(Any, self.journal)
        return decide(
            journal,
            self.clock,
            approval_id,
            verdict,
            by=by,
            reason="looks right",
            channel="cli",
            plan_hash=shown,
        )

    async def run(self, until: Callable[[], bool] | None = None, rounds: int = 200) -> None:
        """Until every incident is closed (or `until` holds)."""
        for _ in range(rounds):
            if until() if until else self.all_closed():
                await self.agent.deliver()
                return
            await self.round()
        raise AssertionError(f"no end after {rounds} rounds: {self.incidents()}")

    def incidents(self) -> list[Incident]:
        """All, oldest first."""
        with self.journal.transaction() as unit:
            return unit.incidents()[::-1]

    def all_closed(self) -> bool:
        """Nothing is open."""
        return bool(self.incidents()) and all(each.state in CLOSED_INCIDENTS for each in self.incidents())

    def serves(self, model: str = MODEL) -> str:
        """The version that the servers run."""
        return self.serving.serves[model].version
