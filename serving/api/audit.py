"""Routes of the audit log."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from serving.api.access import Filter, Limit, Services
from serving.api.schemas import AuditOut, AuditReport, Page

router = APIRouter(tags=["audit"])

_LAST = 2**53
"""The largest index that every JSON reader tells exactly."""


@router.get("/audit", summary="The audit log")
def list_audit(
    services: Services,
    actor: Filter = None,
    action: Filter = None,
    subject: Filter = None,
    after: Annotated[
        int | None, Query(ge=-1, le=_LAST, description="Only entries with a higher index.")
    ] = None,
    before: Annotated[
        int | None, Query(ge=0, le=_LAST, description="Only entries with a lower index.")
    ] = None,
    order: Literal["desc", "asc"] = "desc",
    cursor: Annotated[
        int | None, Query(ge=0, le=_LAST, description="`next_cursor` of the page before.")
    ] = None,
    limit: Limit = 50,
) -> Page[AuditOut]:
    """Sequenced entries; a new one gets its place within a second. The cursor of this list is an index."""
    newest_first = order == "desc"
    if cursor is not None and newest_first:
        before = cursor if before is None else min(before, cursor)
    elif cursor is not None:
        after = cursor if after is None else max(after, cursor)
    with services.journal.reading() as unit:
        items = unit.audit_entries(
            actor=actor,
            action=action,
            subject=subject,
            after=after,
            before=before,
            limit=limit + 1,
            newest_first=newest_first,
        )
    more = str(items[limit - 1].index) if len(items) > limit else None
    return Page(items=[AuditOut.of(each) for each in items[:limit]], next_cursor=more)


@router.get("/audit/verify", summary="Recompute the log and compare it with what was signed")
def verify_audit(services: Services) -> AuditReport:
    """For an independent answer run `homeostat audit verify` where the key folder is."""
    report = services.verify_audit()
    return AuditReport(ok=report.ok, entries=report.entries, problems=list(report.problems))
