"""One plan of every kind of action but retraining, a world in which an incident asks for it, and its end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec

from remediation.actions import RULES
from remediation.agent import Agent, Ports
from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.plans import NoPlan
from remediation.playbooks.proposal import Proposal, Tried
from remediation.policy import Policy
from remediation.values import (
    CLOSED_INCIDENTS,
    Action,
    ActionKind,
    Arrangement,
    Desired,
    Hypothesis,
    Incident,
    Plan,
)
from remediation.verification import Observed, Verdict
from tests.remediation.counted import CountedActuator, CountedCaller
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import (
    FakeArchive,
    FakeBus,
    FakeNotifier,
    FakeRegistry,
    FakeScorer,
    FakeTrainer,
    Faults,
    ManualClock,
    digest_of,
)

MODEL = "churn"
INCIDENT = "inc-1"
Ending = Literal["helps", "does not help", "does not load"]
BEFORE = Arrangement(detailed=True)

ARRANGED: dict[ActionKind, Arrangement] = {
    "rollback": BEFORE,
    "promote": BEFORE,
    "shift_traffic": BEFORE,
    "shadow": Arrangement(detailed=True, shadows=("1",), digests={"1": digest_of(b"good")}),
    "fall_back": Arrangement(constant=0.5),
    "quarantine_feature": Arrangement(imputed={"radius": None}),
    "pause_model": Arrangement(paused=True),
    "raise_log_detail": Arrangement(detailed=True),
    "scale_replicas": Arrangement(replicas=4),
}
MOVES: tuple[ActionKind, ...] = ("rollback", "promote", "shift_traffic")
CALLS: tuple[ActionKind, ...] = ("open_issue", "http_call", "run_command", "refresh_reference")
KINDS: tuple[ActionKind, ...] = (*ARRANGED, *CALLS)


@dataclass
class Clinic:
    """The agent and what it acts on. `turn` is one second of its life."""

    kind: ActionKind
    ending: Ending = "helps"
    parameters: dict[str, Any] = field(default_factory=dict)
    then: Callable[[Facts, Sequence[Tried]], Proposal | NoPlan] | None = None
    needs_people: bool = False
    policy: Policy = field(default_factory=Policy)
    remembers: Callable[[ManualClock, Faults], Any] = FakeJournal

    def __post_init__(self) -> None:
        self.clock, self.faults = ManualClock(), Faults()
        self.journal = self.remembers(self.clock, self.faults)
        self.registry = FakeRegistry(self.faults, self.clock)
        self.actuator = CountedActuator(self.faults, self.clock)
        self.caller = CountedCaller(self.faults)
        self.bus = FakeBus(self.faults)
        self.agents = 0
        for version, rule in (("1", "good"), ("2", "bad")):
            self.registry.add(MODEL, version, rule)
        self._admit()
        self.agent = self.new_agent()

    def _admit(self) -> None:
        """Version 2 serves in epoch 2, and its incident is diagnosed."""
        for epoch, version, rule in ((1, "1", b"good"), (2, "2", b"bad")):
            decided = Desired(
                model=MODEL,
                version=version,
                digest=digest_of(rule),
                epoch=epoch,
                decided_by="ada",
                reason="release",
                at_us=self.clock.now_us(),
                arrangement=BEFORE,
            )
            with self.journal.transaction() as unit:
                assert unit.set_desired(decided, expected_epoch=epoch - 1, actor="ada")
            self.actuator.states[epoch] = decided
            self.clock.advance(60)
        now_us = self.clock.now_us()
        ill = Incident(
            id=INCIDENT,
            model=MODEL,
            version="2",
            state="diagnosed",
            cause="bad_release",
            hypotheses=(Hypothesis(cause="bad_release", confidence=0.9),),
            change_us=now_us,
            opened_us=now_us,
            diagnosed_us=now_us,
        )
        with self.journal.transaction() as unit:
            unit.add_incident(ill, actor="agent")
        if self.ending == "does not load":
            self.actuator.unloadable.add(3)

    def new_agent(self) -> Agent:
        """A fresh process: no memory."""
        self.agents += 1
        ports = Ports(
            journal=cast(Any, self.journal),
            bus=self.bus,
            registry=self.registry,
            trainer=FakeTrainer(self.faults),
            archive=FakeArchive(0),
            scorer=FakeScorer(),
            publisher=cast(Any, None),
            notifier=FakeNotifier(),
            clock=self.clock,
            actuators={"counted": self.actuator},
            caller=self.caller,
        )
        names = {"alerts_topic": "a", "acknowledgements_topic": "b", "desired_topic": "c"}
        config = AgentConfig(agent_id=f"agent-{self.agents}", policy=self.policy, **names)
        return Agent(ports, config)

    def arm(self, faults: Faults) -> None:
        """Number the calls anew."""
        self.faults = faults
        for part in (self.journal, self.registry, self.actuator, self.caller):
            part.faults = faults

    def next_step(self, facts: Facts, past: Sequence[Tried], *_: Any, **__: Any) -> Proposal | NoPlan:
        """In place of the playbooks: this kind, and then nothing."""
        if self.then is not None:
            return self.then(facts, past)
        return NoPlan(reason="nothing is left to try") if past else self.proposal(facts)

    def proposal(self, facts: Facts, **changes: Any) -> Proposal:
        """The plan of this kind from the state that is in force."""
        assert facts.desired is not None
        step = len(self.journal.state.plans)
        plan = Plan(
            id=f"plan-{step}",
            incident_id=facts.incident.id,
            action=self.kind,
            model=MODEL,
            from_version=facts.desired.version,
            from_digest=facts.desired.digest,
            from_arrangement=facts.desired.arrangement,
            to_version="1" if self.kind in MOVES else None,
            to_digest=digest_of(b"good") if self.kind in MOVES else None,
            epoch=facts.desired.epoch,
            parameters=self.parameters,
            created_us=facts.now_us,
            arrangement=ARRANGED.get(self.kind, Arrangement()),
            actuator="counted",
            playbook="test",
            step=step,
            risky=self.needs_people,
        )
        plan = msgspec.structs.replace(plan, **changes)
        return Proposal(plan=plan, approval_needed=plan.risky)

    def verdict(self, observed: Observed, *_: Any) -> Verdict:
        """In place of the statistics; a version does well with its share, whatever comes after that."""
        if self.ending == "helps" or observed.arrangement.shares:
            return Verdict(outcome="pass", sentence="it is well again")
        return Verdict(outcome="fail", sentence="it is as ill as before")

    async def turn(self, agent: Agent | None = None) -> None:
        """One second."""
        self.clock.advance(1)
        working = agent or self.agent
        await working.sweep()
        await working.idle()

    async def run(self, turns: int = 300) -> None:
        """Until the incident is closed."""
        for _ in range(turns):
            if self.incident.state in CLOSED_INCIDENTS:
                return
            await self.turn()
        raise AssertionError(f"no end: {self.incident}, {list(self.journal.state.actions.values())}")

    @property
    def incident(self) -> Incident:
        return self.journal.state.incidents[INCIDENT]

    @property
    def action(self) -> Action:
        (action,) = self.journal.state.actions.values()
        return action

    @property
    def desired(self) -> Desired:
        return self.journal.state.desired[MODEL]

    def use(self, patch: Any) -> None:
        """Put this clinic's planner and verdict in the place of the real ones."""
        patch.setattr("remediation.lifecycle.next_step", self.next_step)
        patch.setattr("remediation.proving.verify", self.verdict)


def expected(clinic: Clinic) -> Mapping[str, object]:
    """How it must end, whatever happens on the way."""
    kind, ending, rule = clinic.kind, clinic.ending, RULES[clinic.kind]
    stages = len(clinic.parameters.get("shares", (1.0,)))
    serves = kind in ARRANGED
    failed = ending == "does not load" or (ending == "does not help" and rule.verified)
    undone = serves and failed and (ending == "does not load" or rule.undone)
    undone = undone or (failed and "undo" in clinic.parameters)
    decided = (1 if ending == "does not load" else stages) if serves else 0
    return {
        "incident": "resolved" if rule.verified and not failed else "escalated",
        "action": "reverted" if undone else "failed" if failed else "succeeded",
        "epoch": 2 + decided + (1 if undone and serves else 0),
        "version": "1" if kind in MOVES and not undone else "2",
        "arrangement": BEFORE if undone or not serves else ARRANGED[kind],
    }


def ended_well(clinic: Clinic) -> None:
    """The effect came about once, the record says what is true, the incident is over."""
    action, desired, incident = clinic.action, clinic.desired, clinic.incident
    found = {
        "incident": incident.state,
        "action": action.state,
        "epoch": desired.epoch,
        "version": desired.version,
        "arrangement": desired.arrangement,
    }
    assert found == expected(clinic)
    state = clinic.journal.state
    assert clinic.actuator.in_force == desired
    assert sorted(clinic.actuator.states) == list(range(1, desired.epoch + 1))
    assert [each.epoch for each in state.deployments] == list(range(1, desired.epoch + 1))
    keys = [action.id] if clinic.kind in CALLS else []
    keys += [f"{action.id}.undo"] if action.state == "reverted" and clinic.kind in CALLS else []
    assert clinic.caller.effects == keys
    lines = [(each.action, each.subject) for each in state.audit]
    assert lines.count(("action.intended", action.id)) == 1
    assert lines.count((f"action.{action.state}", action.id)) == 1
    assert lines.count((f"incident.{incident.state}", INCIDENT)) == 1
    assert sum(what == "model.desired" for what, _ in lines) == desired.epoch
    assert action.outcome
    assert action.finished_us
    assert not action.lease_by
    assert {each.state for each in action.steps} <= {"done", "failed"}
    assert len(state.plans) == len(state.approvals) == 1
