"""Ids that say the same thing when the same thing is made twice."""

import hashlib
from datetime import UTC, datetime

from remediation.values import Plan


def incident_id(alert_id: str, opened_us: int) -> str:
    """Sorts by time, and names the alert that opened it: the same alert never opens two."""
    moment = datetime.fromtimestamp(opened_us / 1e6, tz=UTC)
    return f"inc-{moment:%Y%m%dT%H%M%S}-{_short(alert_id)}"


def plan_id(incident: str, attempt: int) -> str:
    """The `attempt`-th plan (from 1) of an incident."""
    return f"plan-{incident.removeprefix('inc-')}-{attempt}"


def approval_id(plan: str) -> str:
    """The ticket of a plan."""
    return f"apr-{plan.removeprefix('plan-')}"


def action_id(plan: Plan) -> str:
    """The idempotency key of carrying out exactly this plan."""
    return f"act-{plan.hash[:16]}"


def seed(plan: str) -> int:
    """A seed for everything random in carrying out a plan, in [0, 2**31)."""
    return int.from_bytes(hashlib.sha256(plan.encode()).digest()[:4], "big") >> 1


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
