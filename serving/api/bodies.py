"""What people send: decisions about tickets and versions."""

from typing import Literal

from pydantic import Field

from serving.api.given import Given, Why
from serving.api.schemas import Name


class TicketIn(Given):
    """Who decides about which plan. `plan_hash` is the hash of the plan that the person was shown (default: the
    ticket's own)."""

    by: Name = Field(examples=["mira"])
    plan_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    break_glass: bool = Field(
        default=False,
        description="Act alone and in a freeze. Needs a reason and a role for it; the record says so.",
    )
    channel: Literal["rest", "cli", "console"] = "rest"


class DecisionIn(TicketIn):
    """A person's consent."""

    reason: Why | None = Field(default=None, examples=["agreed with the release team"])


class RejectionIn(TicketIn):
    """A person's refusal, which always says why."""

    reason: Why = Field(examples=["known campaign, ends tonight"])


class SnoozeIn(Given):
    """Who does not want to be reminded of a ticket, and for how long."""

    by: Name = Field(examples=["mira"])
    minutes: float = Field(default=30, gt=0, le=1_440)
    channel: Literal["rest", "cli", "console"] = "rest"


class PromotionIn(Given):
    """Which version shall serve, who says so, and why."""

    version: Name = Field(examples=["7"])
    by: Name = Field(examples=["mira"])
    reason: Why = Field(examples=["spring release"])
    break_glass: bool = Field(
        default=False, description="Act alone and in a freeze, loudly; for people with a role for it."
    )
    dry_run: bool = Field(default=False, description="Answer what would be decided, and change nothing.")
