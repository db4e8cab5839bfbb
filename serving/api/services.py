"""What the API needs, given by who wires it; nothing global."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from db.audit.proofs import Proofs
from db.audit.verify import VerifyReport
from db.points import SqlRecordStore
from detectors.sequential.hearing import Saying, Statement
from remediation import delays
from remediation.approvals import Decision, Verdict
from remediation.changes import Change
from remediation.limits import Limits
from remediation.notices import Notice
from remediation.playbooks.values import Playbooks
from remediation.policy import Policy
from remediation.ports import Clock, Journal, Reader, Registry
from remediation.silences import Matcher, Silence
from remediation.silencing import Told
from remediation.switches import Switch
from remediation.values import Action, Approval, Desired, Plan


class Decide(Protocol):
    """Decides a ticket, whoever asks (see `remediation.approvals.decide`)."""

    def __call__(
        self,
        approval_id: str,
        decision: Verdict,
        *,
        by: str,
        reason: str | None,
        channel: str,
        plan_hash: str,
        identity: str | None = None,
        break_glass: bool = False,
    ) -> Decision: ...


class Snooze(Protocol):
    """Be silent about a ticket for a while (see `remediation.approvals.snooze`)."""

    def __call__(
        self, approval_id: str, *, by: str, minutes: float, channel: str, identity: str | None = None
    ) -> Decision: ...


class Cancel(Protocol):
    """Stops an action under way (see `remediation.cancellation.cancel`)."""

    def __call__(
        self, action_id: str, *, by: str, reason: str, channel: str, dry_run: bool = False
    ) -> Action: ...


class Promote(Protocol):
    """Makes a version serve (see `remediation.promotion.promote`)."""

    def __call__(
        self,
        *,
        model: str,
        version: str,
        by: str,
        reason: str,
        break_glass: bool = False,
        dry_run: bool = False,
    ) -> Awaitable[Desired]: ...


class GiveFeedback(Protocol):
    """Tells the judge what a person says about an incident (see `remediation.feedback.give_feedback`)."""

    def __call__(
        self, *, incident_id: str, said: Saying, by: str, why: str = ""
    ) -> Awaitable[tuple[Statement, ...]]: ...


class SetSilence(Protocol):
    """Silences alerts for a while (see `remediation.silencing.set_silence`)."""

    def __call__(
        self,
        *,
        matchers: tuple[Matcher, ...],
        ends_us: int,
        author: str,
        reason: str,
        starts_us: int | None = None,
        schedule: str | None = None,
        lasts_s: float | None = None,
    ) -> Told: ...


class EndSilence(Protocol):
    """Ends a silence (see `remediation.silencing.end_silence`)."""

    def __call__(self, *, silence_id: str, by: str) -> Silence: ...


class Stuck(Protocol):
    """What should have moved on and has not (see `remediation.watchdog.overdue`)."""

    def __call__(self, unit: Reader, *, now_us: int) -> Sequence[Notice]: ...


class Turn(Protocol):
    """Turns the pause or a breaker (see `remediation.turning.turn`)."""

    def __call__(self, name: str, *, on: bool, by: str, reason: str, channel: str) -> Switch: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """`health` tells each part's state by name; `token`, when set, is needed for every change;
    `environment` names the installation."""

    journal: Journal
    records: SqlRecordStore
    registry: Registry
    verify_audit: Callable[[], VerifyReport]
    proofs: Proofs
    decide: Decide
    snooze: Snooze
    promote: Promote
    cancel: Cancel
    turn: Turn
    give_feedback: GiveFeedback
    set_silence: SetSilence
    end_silence: EndSilence
    record_change: Callable[[Change], Change]
    clock: Clock
    health: Callable[[], dict[str, str]]
    stuck: Stuck
    token: str | None = None
    playbooks: Playbooks = field(default_factory=Playbooks)
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    environment: str = ""

    def delay(self, unit: Reader, plan: Plan | None, approval: Approval) -> str | None:
        """What keeps the decision of a ticket from being carried out now (see `remediation.delays.why`)."""
        return (
            delays.why(unit, self.policy, plan, approval, self.clock.now_us()) if plan is not None else None
        )
