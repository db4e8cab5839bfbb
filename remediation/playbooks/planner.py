"""The next step of an incident. Pure: facts, what was tried and registered versions in, one exact plan out."""

from collections.abc import Mapping, Sequence

from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.plans import NoPlan, make_plan
from remediation.playbooks.proposal import Proposal, Tried
from remediation.values import ModelVersion


def next_step(
    facts: Facts, past: Sequence[Tried], versions: Mapping[str, ModelVersion], *, config: AgentConfig
) -> Proposal | NoPlan:
    """What shall be done now about the incident in `facts`, `past` being what was tried, oldest first; or why nothing
    is. `versions` are the registered ones by name."""
    cause = facts.incident.hypotheses[0]
    plan = make_plan(facts, cause, versions, attempt=len(past) + 1, config=config)
    return plan if isinstance(plan, NoPlan) else Proposal(plan=plan)
