"""Whether a person may do what takes a role of the policy, and the name under which it goes on record."""

from collections.abc import Sequence

from remediation.errors import NotEntitled
from remediation.names import taken
from remediation.policy import Policy


def entitled(policy: Policy, by: str, channel: str, roles: Sequence[str]) -> str:
    """The name of whom `channel` calls `by`. Where the policy knows people it takes one of them, with one of the roles
    (none given: anybody in the file). Raises `NotEntitled` for everybody else, and for names of Homeostat's own."""
    if (why := taken(by)) is not None:
        raise NotEntitled(f"{why}. Nothing was changed.")
    if not policy.knows_people:
        return by
    name = policy.who(by, channel)
    if name is None:
        raise NotEntitled(f"{by} is nobody whom the policy knows. Nothing was changed.")
    if not policy.holds(name, roles):
        who = ", ".join(policy.entitled(roles)) or "nobody"
        raise NotEntitled(
            f"{name} may not do this: it needs one of {', '.join(roles)} ({who}). Nothing was changed."
        )
    return name
