"""Carries out approved plans: durable, leased, one step at a time, continuing from what it observes.

Before a step has its effect, its intent is in the journal; after it, its outcome. Killed at any point, the
same or another agent goes on: steps on record are not repeated, a step that was intended is first looked for
in the world (a registered version by its tag, a decided version by its epoch) and every effect may safely
come twice.
"""

import asyncio

import msgspec
import structlog

from remediation import actions, incidents
from remediation.acknowledgements import Acknowledgements, Standing
from remediation.approvals import world_moved
from remediation.clock import seconds
from remediation.config import AgentConfig
from remediation.errors import LeaseLost, NotYet, StepFailed
from remediation.ledger import Ledger
from remediation.ports import Clock, Journal, Publisher, Registry, Unit
from remediation.training_run import TrainingRun, TrainingRuns
from remediation.values import Action, Desired, Plan

log = structlog.get_logger()

_SOON_S = 1.0
_LABELS_S = 2.0
"""How long to wait before an archive that had too few labels is read again."""


class Executor:
    """Advances actions. `advance` performs at most one step, and is called again and again."""

    def __init__(
        self,
        *,
        journal: Journal,
        registry: Registry,
        publisher: Publisher,
        runs: TrainingRuns,
        acknowledgements: Acknowledgements,
        clock: Clock,
        config: AgentConfig,
    ) -> None:
        self._journal = journal
        self._ledger = Ledger(journal, clock, config)
        self._registry = registry
        self._publisher = publisher
        self._runs = runs
        self._acknowledgements = acknowledgements
        self._clock = clock
        self._config = config

    async def advance(self, action_id: str) -> float:
        """Do the next step of an action; answers after how many seconds to look again.

        Raises nothing for a failing step: it is tried again until its deadline, then the action is taken
        back. Does nothing while another agent holds the lease.
        """
        claimed = await asyncio.to_thread(self._ledger.claim, action_id)
        if claimed is None:
            return _SOON_S
        action, plan = claimed
        name = actions.next_step(action)
        if name is None:
            return 0.0
        try:
            async with self._ledger.lease_kept(action):
                await self._perform(name, action, plan)
        except LeaseLost:
            log.warning("Another agent took the action over", action=action.id)
        except StepFailed as error:
            await asyncio.to_thread(self._fail, action.id, name, str(error))
        except NotYet as error:
            await self._wait_or_fail(action, name, str(error))
            return _LABELS_S if name == "collect" else 0.0
        except Exception as error:
            log.exception("A step failed and will be tried again", action=action.id, step=name)
            await self._wait_or_fail(action, name, f"{type(error).__name__}: {error}")
            return _SOON_S
        return 0.0

    def take_back(self, action_id: str, reason: str) -> None:
        """End an action that has not helped: undo a retraining, leave a rollback, tell people."""
        if self._ledger.claim(action_id) is not None:
            self._fail(action_id, "verify", reason)

    def succeed(self, action_id: str, sentence: str) -> bool:
        """End an action that has helped, and its incident; False when somebody else holds it."""
        now_us = self._clock.now_us()
        if self._ledger.claim(action_id) is None:
            return False
        with self._journal.transaction() as unit:
            action = self._ledger.held(unit, action_id)
            incident = unit.incident(action.incident_id)
            done = self._ledger.stepped(action, "verify", "done", sentence)
            self._ledger.save(unit, action, actions.ended(done, "succeeded", now_us=now_us, outcome=sentence))
            if incident is not None:
                incidents.close(unit, incident, to="resolved", outcome=sentence, now_us=now_us)
        return True

    async def _perform(self, name: str, action: Action, plan: Plan) -> None:
        match name:
            case "collect" | "train" | "gate" | "register":
                await self._prepare(name, action, plan)
            case "decide":
                await asyncio.to_thread(self._check_artifact, action, plan)
                await asyncio.to_thread(self._decide, action.id, plan)
            case "publish" | "undo.publish":
                desired = await asyncio.to_thread(self._intend_publish, action.id, name, plan)
                await self._publisher.publish_desired(desired)
                await asyncio.to_thread(self._ledger.done, action.id, name, f"epoch {desired.epoch}")
            case "acknowledge" | "undo.acknowledge":
                await asyncio.to_thread(self._acknowledge, action.id, name, plan)
            case "undo.decide":
                await asyncio.to_thread(self._undo_decide, action.id, plan)
            case _:
                raise StepFailed(f"there is no step {name!r}")

    # -- retraining --------------------------------------------------------------------------------

    async def _prepare(self, name: str, action: Action, plan: Plan) -> None:
        found = await asyncio.to_thread(self._runs.registered, action, plan)
        if found is not None:
            await asyncio.to_thread(self._registered, action.id, found.version, found.digest)
            return
        run = self._runs.of(action)
        if not run.holds(name):
            await asyncio.to_thread(self._ledger.change, action.id, actions.prepared_again)
            name = "collect"
        await self._ledger.intend(action.id, name)
        detail = await asyncio.wait_for(
            asyncio.to_thread(self._prepared, run, name, plan), timeout=self._config.execution.train_s
        )
        if name == "register":
            version, digest = detail.split(" ", 1)
            await asyncio.to_thread(self._registered, action.id, version, digest)
        else:
            await asyncio.to_thread(self._ledger.done, action.id, name, detail)

    def _prepared(self, run: TrainingRun, name: str, plan: Plan) -> str:
        if name == "collect":
            return run.collect(plan)
        if name == "train":
            return run.train(plan)
        if name == "gate":
            return run.gate(plan)
        registered = run.register(plan)
        return f"{registered.version} {registered.digest}"

    def _registered(self, action_id: str, version: str, digest: str) -> None:
        def change(action: Action) -> Action:
            done = actions.with_step(
                action, "register", "done", at_us=self._clock.now_us(), detail=f"version {version} ({digest})"
            )
            return msgspec.structs.replace(done, to_version=version, to_digest=digest)

        self._ledger.change(action_id, change)
        self._runs.forget(action_id)

    # -- the decided version -----------------------------------------------------------------------

    def _check_artifact(self, action: Action, plan: Plan) -> None:
        """The version can be loaded and is the approved one, before any traffic is moved to it."""
        version, digest = target(action)
        registered = self._registry.version(plan.model, version)
        if registered is None:
            raise StepFailed(f"version {version} of {plan.model} is not in the registry any more")
        if registered.digest != digest:
            raise StepFailed(f"version {version} has the digest {registered.digest}, approved was {digest}")
        self._registry.onnx(plan.model, version)

    def _decide(self, action_id: str, plan: Plan) -> None:
        with self._journal.transaction() as unit:
            action = self._ledger.held(unit, action_id)
            version, digest = target(action)
            desired = Desired(
                model=plan.model,
                version=version,
                digest=digest,
                epoch=plan.epoch + 1,
                previous_version=plan.from_version,
                decided_by=incidents.AGENT,
                reason=f"{plan.action} approved in {plan.id} for {plan.incident_id}",
                at_us=self._clock.now_us(),
            )
            if unit.set_desired(desired, expected_epoch=plan.epoch, actor=incidents.AGENT):
                detail = f"version {version}, epoch {desired.epoch}"
                done = self._ledger.stepped(action, "decide", "done", detail)
                self._ledger.save(unit, action, msgspec.structs.replace(done, state="awaiting_ack"))
                return
        raise StepFailed(
            f"the world moved: {plan.model} is no longer at epoch {plan.epoch}; nothing was changed"
        )

    def _intend_publish(self, action_id: str, name: str, plan: Plan) -> Desired:
        """The desired state that this action decided; anything newer is somebody else's, and theirs to
        publish."""
        with self._journal.transaction() as unit:
            action = self._ledger.held(unit, action_id)
            desired = unit.desired(plan.model)
            if desired is None or desired.epoch != own_epoch(action, plan):
                raise StepFailed(_superseded(desired))
            self._ledger.save(unit, action, self._ledger.stepped(action, name, "intended"))
            return desired

    def _acknowledge(self, action_id: str, name: str, plan: Plan) -> None:
        now_us = self._clock.now_us()
        with self._journal.transaction() as unit:
            action = self._ledger.held(unit, action_id)
            desired = unit.desired(plan.model)
            if desired is None or desired.epoch != own_epoch(action, plan):
                raise StepFailed(_superseded(desired))
            step = actions.step_of(action, name)
            asked_us = step.at_us if step else now_us
            standing = self._acknowledgements.standing(
                desired, asked_us=asked_us, now_us=now_us, config=self._config.execution
            )
            if step is None:
                self._ledger.save(unit, action, self._ledger.stepped(action, name, "intended"))
            if standing.state == "loaded":
                self._loaded(unit, action_id, name, standing)
        if standing.state == "refused":
            raise StepFailed(standing.sentence)
        if standing.state == "waiting":
            raise NotYet(standing.sentence)

    def _loaded(self, unit: Unit, action_id: str, name: str, standing: Standing) -> None:
        action = self._ledger.held(unit, action_id)
        done = self._ledger.stepped(action, name, "done", standing.sentence)
        incident = unit.incident(action.incident_id)
        now_us = self._clock.now_us()
        if name == "acknowledge":
            self._ledger.save(unit, action, msgspec.structs.replace(done, state="verifying"))
            if incident is not None:
                incidents.move(
                    unit, incident, to="verifying", why=standing.sentence, acted_us=standing.at_us or now_us
                )
            return
        reason = (actions.step_of(action, actions.UNDO[0]) or done.steps[-1]).detail
        outcome = f"{reason}; undone: {standing.sentence}"
        self._ledger.save(unit, action, actions.ended(done, "reverted", now_us=now_us, outcome=outcome))
        if incident is not None:
            incidents.close(unit, incident, to="escalated", outcome=outcome, now_us=now_us)

    def _undo_decide(self, action_id: str, plan: Plan) -> None:
        with self._journal.transaction() as unit:
            action = self._ledger.held(unit, action_id)
            desired = unit.desired(plan.model)
            if desired is None or desired.epoch != plan.epoch + 1:
                raise StepFailed(_superseded(desired))
            back = Desired(
                model=plan.model,
                version=plan.from_version,
                digest=plan.from_digest,
                epoch=plan.epoch + 2,
                previous_version=desired.version,
                decided_by=incidents.AGENT,
                reason=f"undo of {plan.action} in {plan.id} for {plan.incident_id}",
                at_us=self._clock.now_us(),
            )
            if not unit.set_desired(back, expected_epoch=desired.epoch, actor=incidents.AGENT):
                raise StepFailed(_superseded(unit.desired(plan.model)))
            step = actions.step_of(action, "undo.decide")
            self._ledger.save(
                unit, action, self._ledger.stepped(action, "undo.decide", "done", step.detail if step else "")
            )

    # -- failure -----------------------------------------------------------------------------------

    async def _wait_or_fail(self, action: Action, name: str, reason: str) -> None:
        if await asyncio.to_thread(self._overdue, action.id, name):
            await asyncio.to_thread(self._fail, action.id, name, reason)

    def _overdue(self, action_id: str, name: str) -> bool:
        with self._journal.reading() as unit:
            action = unit.action(action_id)
        step = actions.step_of(action, name) if action else None
        since_us = step.at_us if step else action.started_us if action else 0
        limit_s = self._config.retraining.collect_s if name == "collect" else self._config.execution.step_s
        return self._clock.now_us() - since_us >= seconds(limit_s)

    def _fail(self, action_id: str, name: str, reason: str) -> None:
        """Record the failure; begin the undo where a version was decided and can be taken back, else end the
        action and tell people."""
        now_us = self._clock.now_us()
        with self._journal.transaction() as unit:
            action = unit.action(action_id)
            plan = unit.plan(action.plan_id) if action else None
            if action is None or plan is None or action.state not in actions.RUNNING:
                return
            if action.lease_by != self._config.agent_id:
                return
            desired = unit.desired(plan.model)
            failed = actions.with_step(action, name, "failed", at_us=now_us, detail=reason)
            ours = (
                desired is not None and desired.epoch == plan.epoch + 1 and actions.is_done(action, "decide")
            )
            if ours and not actions.undoing(action) and can_undo(action, name):
                begun = self._ledger.stepped(failed, actions.UNDO[0], "intended", reason)
                self._ledger.save(unit, action, begun)
                return
            outcome = f"undo failed: {reason}" if actions.undoing(action) else reason
            self._ledger.save(unit, action, actions.ended(failed, "failed", now_us=now_us, outcome=outcome))
            incident = unit.incident(action.incident_id)
            moved = world_moved(unit, plan)
            if incident is not None and moved is not None and not actions.is_done(action, "decide"):
                incidents.move(unit, incident, to="open", why=moved)
            elif incident is not None:
                incidents.close(unit, incident, to="escalated", outcome=_told(plan, outcome), now_us=now_us)
        self._runs.forget(action_id)


def target(action: Action) -> tuple[str, str]:
    """Version and digest that the action makes serve."""
    if action.to_version is None or action.to_digest is None:
        raise StepFailed(f"action {action.id} names no version to serve")
    return action.to_version, action.to_digest


def own_epoch(action: Action, plan: Plan) -> int:
    """The epoch that this action decided last."""
    return plan.epoch + (2 if actions.is_done(action, "undo.decide") else 1)


def can_undo(action: Action, failed_step: str) -> bool:
    """A version that does not load is always taken back. A rollback that was loaded but did not help is not:
    going back to a version known to be bad helps nobody, so it stays and people look."""
    return action.kind == "retrain" or failed_step != "verify"


def _superseded(desired: Desired | None) -> str:
    if desired is None:
        return "superseded: no version is decided any more"
    who = f"{desired.decided_by} made version {desired.version} serve"
    return f"superseded: {who} (epoch {desired.epoch}): {desired.reason}"


def _told(plan: Plan, outcome: str) -> str:
    return f"{plan.action} of {plan.model} failed: {outcome}"
