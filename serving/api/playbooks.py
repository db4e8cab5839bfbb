"""The route of the playbooks: what would be done about which incident."""

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel

from remediation.playbooks.files import built_in, in_force
from remediation.playbooks.values import Playbook
from serving.api.access import Services

router = APIRouter(tags=["playbooks"])


class PlaybookOut(BaseModel):
    """A playbook, in the order in which they are asked; the first that matches an incident counts. `match` and `steps`
    are as in a file of playbooks."""

    name: str
    built_in: bool
    match: dict[str, Any]
    steps: list[dict[str, Any]]
    on_end: str
    tell: str | None

    @classmethod
    def of(cls, value: Playbook, *, comes_with_us: bool) -> "PlaybookOut":
        """From the value."""
        given = {"on_end": value.on_end, "tell": value.tell, "match": {}, "steps": []} | msgspec.to_builtins(
            value
        )
        return cls(built_in=comes_with_us, **given)


class PlaybooksOut(BaseModel):
    """What is in force; `autonomy` by pattern of models, the first that fits counts."""

    playbooks: list[PlaybookOut]
    autonomy: dict[str, str]


@router.get("/playbooks", summary="Which incident is treated how")
def show_playbooks(services: Services) -> PlaybooksOut:
    """Read only: playbooks are a file, and change where the file is kept."""
    own = {each.name for each in built_in()} if services.playbooks.built_in else set[str]()
    return PlaybooksOut(
        playbooks=[
            PlaybookOut.of(each, comes_with_us=each.name in own) for each in in_force(services.playbooks)
        ],
        autonomy=dict(services.playbooks.autonomy),
    )
