"""What plans are made of beside the playbook's step: since when the world is another one, and what people are told when
nothing can be done."""

from detectors.values import Value
from remediation.evidence import Facts


class NoPlan(Value, frozen=True, kw_only=True):
    """Nothing is proposed, and why. `playbook`: the one that was asked (empty: none is for this incident). `observed`:
    there would be something to do, and the model is only observed."""

    reason: str
    playbook: str = ""
    observed: bool = False

    @property
    def outcome(self) -> str:
        """How the incident ends, in a sentence."""
        return f"{self.reason}." if self.observed else f"A person has to look: {self.reason}."


def facts_told(facts: Facts) -> list[str]:
    """The reasons of the firing alerts, for a person who has to find the cause."""
    return [alert.reason for alert in facts.firing()] or ["no alert fires any more"]


def surely_changed_us(facts: Facts) -> int:
    """Since when every row is of the new world. The first window that breached may hold the change itself; the
    one after it, in which an alert fires that needs two, does not. Where performance alone changed, its windows
    count."""
    alerts = facts.firing("data_drift", "data_quality", "prediction_drift") or facts.firing()
    after = (each.start_us if each.start_us > each.change_us else each.end_us for each in alerts)
    return max(after, default=facts.incident.change_us)
