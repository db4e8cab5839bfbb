"""How alerts are put together, as the policy file says."""

from typing import Annotated

import msgspec

from remediation.reminders import Minutes


class Grouping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`inhibit`: an alert that an earlier one explains opens no incident of its own (`remediation.inhibition`).
    `families`: the same break in several models is asked about once (`remediation.families`), where the onsets lie
    within `near_min` minutes. `settle_min`: how long a member may go on firing after the first one of its family was
    cured, before it is treated by itself."""

    inhibit: bool = True
    families: bool = True
    near_min: Minutes = 10.0
    settle_min: Annotated[float, msgspec.Meta(ge=0, le=1_440)] = 5.0
