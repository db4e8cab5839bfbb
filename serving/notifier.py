"""Telling people where no channel is configured: the log, which the console's timeline repeats anyway."""

import structlog

from remediation.notices import Notice
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan

log = structlog.get_logger()


class LogNotifier:
    """Fulfils `remediation.ports.Notifier` with a line per message."""

    async def approval_requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Somebody must decide."""
        log.warning("A decision is needed", model=plan.model, action=plan.action, approval=approval.id)
        return True

    async def approval_changed(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """It still waits."""
        log.info(
            "A decision is still needed",
            model=plan.model,
            approval=approval.id,
            votes=f"{len(approval.votes)} of {approval.quorum}",
            snoozed_by=approval.snoozed_by,
        )
        return True

    async def approval_decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Somebody has decided, or time has."""
        log.info("Decided", model=plan.model, action=plan.action, approval=approval.id, state=approval.state)
        return True

    async def approval_reminded(
        self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder
    ) -> bool:
        """Nobody has decided yet."""
        log.warning(
            "A decision is still needed",
            model=plan.model,
            approval=approval.id,
            kind=reminder.kind,
            waited_min=round(reminder.waited_s / 60),
            people=list(reminder.people),
        )
        return True

    async def noticed(self, notice: Notice, incident: Incident | None) -> bool:
        """Anything else."""
        log.warning(
            "Notice", kind=notice.kind, model=notice.model, incident=notice.incident_id, text=notice.text
        )
        return True

    async def incident_closed(self, incident: Incident) -> bool:
        """It is over."""
        log.info("Incident closed", model=incident.model, state=incident.state, outcome=incident.outcome)
        return True
