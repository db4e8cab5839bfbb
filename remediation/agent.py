"""The agent: follows alerts and acknowledgements, and takes every open incident one step further, again and
again.

Everything that matters is in the journal. Killed at any moment, a new agent goes on from there.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import structlog

from detectors.values import Alert
from remediation import actions
from remediation.acknowledgements import Acknowledgements
from remediation.actuation import HOMEOSTAT, OwnServing
from remediation.bus import Bus, Message
from remediation.cleanup import clean_up
from remediation.clock import seconds
from remediation.config import AgentConfig
from remediation.executing.parts import Parts
from remediation.executor import Executor
from remediation.hearings import Hearings
from remediation.incidents import AGENT, OPEN_STATES
from remediation.ledger import Ledger
from remediation.lifecycle import Lifecycle
from remediation.looks import Looks
from remediation.outbox import Outbox
from remediation.ports import (
    Actuator,
    Archive,
    Caller,
    Clock,
    Journal,
    Notifier,
    Publisher,
    Registry,
    Scorer,
    Trainer,
)
from remediation.reception import receive_alerts, release_alerts
from remediation.reconciliation import Reconciliation
from remediation.repeats import repeats
from remediation.training_run import TrainingRuns
from remediation.values import Acknowledgement, Action, Incident, IncidentState
from remediation.watchdog import watch, written
from remediation.witness import Witness

log = structlog.get_logger()

_T = TypeVar("_T")
_ACTING = ("executing", "verifying")
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 10.0
_ALERTS_AT_ONCE = 500
_MOST_INCIDENTS = 10_000
_PACE_S = 0.01
"""An incident that waits for somebody is looked at again after so long for each that is open: looking costs the same
whether few wait or many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the agent needs from the outside. `actuators` reach models that are served elsewhere, by the name that plans
    give them; `caller` has effects outside of serving."""

    journal: Journal
    bus: Bus
    registry: Registry
    trainer: Trainer
    archive: Archive
    scorer: Scorer
    publisher: Publisher
    notifier: Notifier
    clock: Clock
    channels: Mapping[str, Notifier] = field(default_factory=dict[str, Notifier])
    """Where people are told besides, by the names of the policy's channels."""

    actuators: Mapping[str, Actuator] = field(default_factory=dict[str, Actuator])
    caller: Caller | None = None


class Agent:
    """One agent. Several may run: an action is leased by one of them at a time."""

    def __init__(self, ports: Ports, config: AgentConfig) -> None:
        self._ports = ports
        self._config = config
        self._acknowledgements = Acknowledgements()
        own = OwnServing(ports.publisher, self._acknowledgements, config.execution)
        looks = Looks(ports.registry, ports.clock, seconds(config.execution.look_s))
        executor = Executor(
            Parts(
                journal=ports.journal,
                ledger=Ledger(ports.journal, ports.clock, config),
                registry=ports.registry,
                looks=looks,
                runs=TrainingRuns(
                    ports.registry, ports.archive, ports.trainer, ports.scorer, ports.clock, config.retraining
                ),
                actuators={HOMEOSTAT: own, **ports.actuators},
                caller=ports.caller,
                clock=ports.clock,
                config=config,
            )
        )
        self._executor = executor
        hearings = Hearings(Witness(ports.archive, ports.registry, ports.scorer))
        self._lifecycle = Lifecycle(
            ports.journal, ports.registry, executor, ports.clock, config, hearings, looks
        )
        self._outbox = Outbox(ports.journal, ports.notifier, ports.clock, config.policy, ports.channels)
        self._reconciliation = Reconciliation(
            ports.journal,
            ports.bus,
            ports.registry,
            ports.publisher,
            config,
            actuators=ports.actuators,
            clock=ports.clock,
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._not_before_us: dict[str, int] = {}
        self._swept_us: int | None = None
        self._woken = asyncio.Event()
        self._pace_s = 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.take_in_alerts(), name="alerts")
            group.create_task(self._follow_acknowledgements(), name="acknowledgements")
            group.create_task(self._sweep_forever(), name="incidents")
            group.create_task(self._repeat(self.release, self._config.release_s), name="silences")
            group.create_task(self._repeat(self.clean_up, self._config.reconcile_s), name="cleanups")
            group.create_task(self._repeat(self.deliver, self._config.sweep_s), name="messages")
            group.create_task(self._repeat(self.reconcile, self._config.reconcile_s), name="reconciliation")
            group.create_task(self._repeat(self.watch, self._config.watch_s), name="watchdog")

    async def receive(self, alert: Alert) -> None:
        """Take an alert in. Raises what the journal raises: an alert that is not on record is not handled."""
        await self.receive_all([alert])

    async def receive_all(self, alerts: Sequence[Alert]) -> None:
        """Take alerts in, all of them or none."""
        routes = await asyncio.to_thread(
            receive_alerts,
            self._ports.journal,
            alerts,
            now_us=self._ports.clock.now_us(),
            config=self._config,
        )
        if any(decision is not None and decision.decision == "open" for decision in routes):
            asyncio.get_running_loop().call_later(self._config.diagnosis.quiet_s, self._woken.set)
        for alert, decision in zip(alerts, routes, strict=True):
            if decision is not None:
                log.info(
                    "Alert received",
                    model=alert.model,
                    version=alert.version,
                    kind=alert.kind,
                    state=alert.state,
                    decision=decision.decision,
                    incident=decision.incident_id,
                    why=decision.reason,
                )

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Take in what an inference server said."""
        self._acknowledgements.record(acknowledgement)

    async def sweep(self) -> None:
        """Start the next step of every open incident that has none under way."""
        now_us = self._ports.clock.now_us()
        found, cleanups, decided = await asyncio.to_thread(self._open)
        self._pace_s = _PACE_S * len(found)
        for incident in found:
            busy = self._tasks.get(incident.id)
            is_due = incident.id in decided or self._not_before_us.get(incident.id, 0) <= now_us
            if (busy is None or busy.done()) and is_due:
                task = asyncio.create_task(self._advance(incident), name=incident.id)
                self._tasks[incident.id] = task
        for action in cleanups:
            busy = self._tasks.get(action.id)
            if (busy is None or busy.done()) and self._not_before_us.get(action.id, 0) <= now_us:
                self._tasks[action.id] = asyncio.create_task(self._end(action), name=action.id)
        self._tasks = {key: task for key, task in self._tasks.items() if not task.done()}
        self._forget_all_but({each.id for each in found}, {each.id for each in cleanups})
        self._swept_us = now_us

    def _forget_all_but(self, incidents: set[str], cleanups: set[str]) -> None:
        self._lifecycle.keep(incidents)
        known = incidents | cleanups | self._tasks.keys()
        self._not_before_us = {key: at for key, at in self._not_before_us.items() if key in known}
        self._failures = {key: times for key, times in self._failures.items() if key in known}

    async def release(self) -> None:
        """Let alerts go whose silence is over."""
        for decision in await asyncio.to_thread(
            release_alerts, self._ports.journal, now_us=self._ports.clock.now_us(), config=self._config
        ):
            log.info(
                "An alert is no longer silenced",
                decision=decision.decision,
                incident=decision.incident_id,
                why=decision.reason,
            )

    async def clean_up(self) -> None:
        """Begin to turn off what was turned on for an incident that is over."""
        for action in await asyncio.to_thread(clean_up, self._ports.journal, self._ports.clock, self._config):
            log.info("What was turned on for an incident is turned off", action=action.id, kind=action.kind)
            self._woken.set()

    async def idle(self) -> None:
        """Return when no step is under way; raises what a step raised."""
        await asyncio.gather(*self._tasks.values())

    async def deliver(self) -> None:
        """Tell people what they have to know."""
        await asyncio.to_thread(self._outbox.collect)
        await self._outbox.deliver()

    async def watch(self) -> None:
        """Say that this agent works, and write down what should have moved on and has not."""
        await asyncio.to_thread(self._watch)

    async def reconcile(self) -> None:
        """Make known what was decided and is not known yet."""
        await self._reconciliation.reconcile()

    def _watch(self) -> None:
        journal, policy, now_us = self._ports.journal, self._config.policy, self._ports.clock.now_us()
        if self._swept_us is not None:
            with journal.transaction() as unit:
                unit.beat(f"{AGENT}/{self._config.agent_id}", self._swept_us)
        watch(journal, now_us=now_us, config=self._config)
        if policy.repeat_every_min is not None:
            hold_s = self._config.diagnosis.uncured_hold_s
            with journal.reading() as unit:
                due = repeats(unit, now_us=now_us, every_min=policy.repeat_every_min, hold_s=hold_s)
            written(journal, due)

    # -- one incident ------------------------------------------------------------------------------

    async def _advance(self, incident: Incident) -> None:
        incident_id = incident.id
        try:
            wait_s = await self._step(incident)
            self._failures.pop(incident_id, None)
        except Exception as error:
            failures = self._failures.get(incident_id, 0)
            self._failures[incident_id] = failures + 1
            wait_s = min(_FIRST_RETRY_S * 2**failures, _LONGEST_RETRY_S)
            log.exception("An incident could not be advanced and will be tried again", incident=incident_id)
            await self._give_up(incident_id, f"{type(error).__name__}: {error}")
        self._not_before_us[incident_id] = self._ports.clock.now_us() + seconds(wait_s)

    async def _step(self, incident: Incident) -> float:
        """One step; from the diagnosis on to the ticket at once, for nobody is waited for in between. Returns how long
        to wait before the next one."""
        running = await asyncio.to_thread(self._action_in_progress, incident.id)
        if running is not None:
            wait_s = await self._executor.advance(running)
            if wait_s == 0:
                self._woken.set()
            return wait_s
        await asyncio.to_thread(self._lifecycle.step, incident.id)
        if incident.state == "awaiting_approval" and await self._is(incident, "executing"):
            self._woken.set()
            return 0.0
        if incident.state != "open" or incident.parent_id:
            return self._pace_s
        if await self._is(incident, "diagnosed"):
            await asyncio.to_thread(self._lifecycle.step, incident.id)
        return 0.0

    async def _is(self, incident: Incident, state: IncidentState) -> bool:
        """Whether that is the state of the incident by now."""
        return await asyncio.to_thread(self._state, incident.id) == state

    def _state(self, incident_id: str) -> IncidentState | None:
        with self._ports.journal.reading() as unit:
            return found.state if (found := unit.incident(incident_id)) is not None else None

    def _action_in_progress(self, incident_id: str) -> str | None:
        """The action whose next step the executor has to do; None while it only has to be verified."""
        with self._ports.journal.reading() as unit:
            incident = unit.incident(incident_id)
            if incident is None or incident.state not in _ACTING:
                return None
            running = unit.actions(incident_id=incident_id, states=actions.RUNNING, limit=1)
            plan = unit.plan(running[0].plan_id) if running else None
        if plan is None or actions.next_step(running[0], plan) is None:
            return None
        return running[0].id

    async def _give_up(self, incident_id: str, reason: str) -> None:
        try:
            await asyncio.to_thread(self._lifecycle.give_up, incident_id, reason)
        except Exception:
            log.exception("The journal cannot be written", incident=incident_id)

    async def _end(self, action: Action) -> None:
        """One step of a cleanup."""
        try:
            wait_s = await self._executor.advance(action.id)
        except Exception:
            wait_s = _FIRST_RETRY_S
            log.exception("A cleanup could not be advanced and will be tried again", action=action.id)
        self._not_before_us[action.id] = self._ports.clock.now_us() + seconds(wait_s)

    def _open(self) -> tuple[list[Incident], list[Action], set[str]]:
        """Open incidents, the actions under way that belong to one that is over, and which incidents wait for an
        approval that they have got since they can have been looked at last."""
        since_us = self._ports.clock.now_us() - seconds(2 * self._pace_s)
        with self._ports.journal.reading() as unit:
            found = unit.incidents(states=OPEN_STATES, limit=_MOST_INCIDENTS)
            running = unit.actions(states=actions.RUNNING, limit=_MOST_INCIDENTS)
            approved = unit.approvals(state="approved") if self._pace_s > self._config.sweep_s else []
        known = {each.id for each in found}
        asking = {each.id for each in found if each.state == "awaiting_approval"}
        decided = {each.incident_id for each in approved if (each.decided_us or 0) >= since_us} & asking
        return found, [each for each in running if each.incident_id not in known], decided

    # -- loops -------------------------------------------------------------------------------------

    async def take_in_alerts(self) -> None:
        """Follow the topic of alerts, until cancelled."""
        batches = self._ports.bus.follow_batches(
            self._config.alerts_topic, group=self._config.group, at_most=_ALERTS_AT_ONCE
        )
        async for messages in batches:
            alerts = [_decoded(message, Alert) for message in messages]
            await self._persist([each for each in alerts if each is not None])

    async def _persist(self, alerts: Sequence[Alert]) -> None:
        """An alert must not be lost while the journal is away: the topic waits."""
        failures = 0
        while alerts:
            try:
                await self.receive_all(alerts)
            except Exception:
                log.exception("Alerts could not be recorded and will be tried again", alerts=len(alerts))
                await asyncio.sleep(min(_FIRST_RETRY_S * 2**failures, _LONGEST_RETRY_S))
                failures += 1
            else:
                return

    async def _follow_acknowledgements(self) -> None:
        async for message in self._ports.bus.follow(self._config.acknowledgements_topic):
            acknowledgement = _decoded(message, Acknowledgement)
            if acknowledgement is not None:
                self.acknowledge(acknowledgement)

    async def _sweep_forever(self) -> None:
        try:
            while True:
                await self._round(self.sweep)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._config.sweep_s):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _repeat(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            await self._round(work)
            await asyncio.sleep(pause_s)

    async def _round(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            log.exception(
                "The agent's round failed and will be tried again", round=getattr(work, "__name__", "")
            )


def _decoded(message: Message, kind: type[_T]) -> _T | None:
    if message.value is None:
        return None
    try:
        return msgspec.json.decode(message.value, type=kind)
    except msgspec.MsgspecError as error:
        log.error(
            "A record could not be read and was left out",
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            error=str(error),
        )
        return None
