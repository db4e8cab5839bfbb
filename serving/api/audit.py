"""Routes of the audit log."""

from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query

from db.errors import UnknownEntry
from serving.api.access import Filter, Limit, Services
from serving.api.audit_schemas import AuditProof, AuditReport, AuditStatement, Consistency
from serving.api.problems import Problem
from serving.api.schemas import AuditOut, Page

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
    return AuditReport(ok=report.ok, entries=report.entries, problems=report.problems, notices=report.notices)


@router.get("/audit/checkpoint", summary="The newest signed checkpoint")
def newest_checkpoint(services: Services) -> AuditStatement:
    """A signed note (c2sp.org/signed-note) over size and root, the log's keys, and what the witness signed last. Who
    keeps it can later ask for the proof that the log still begins with it."""
    with _known():
        return AuditStatement.model_validate(msgspec.to_builtins(services.proofs.newest()))


@router.get("/audit/consistency", summary="The proof that the log only grew")
def prove_consistency(
    services: Services,
    old: Annotated[int, Query(ge=1, le=_LAST, description="The size of an earlier checkpoint.")],
    new: Annotated[
        int | None, Query(ge=1, le=_LAST, description="A later size (default: the newest checkpoint's).")
    ] = None,
) -> Consistency:
    """By RFC 6962, section 2.1.2: the first `old` entries of the `new` ones are what they were."""
    with _known():
        return Consistency.model_validate(services.proofs.consistency(old, new))


@router.get("/audit/entries/{entry}/proof", summary="The proof that an entry is in the log")
def prove_entry(
    services: Services,
    entry: Annotated[
        str,
        Path(pattern=r"^([0-9]{1,16}|[0-9a-f]{32})$", description="Its index, or its id.", examples=["17"]),
    ],
) -> AuditProof:
    """By RFC 6962, section 2.1.1: `entry.proof` leads from the SHA-256 of a zero byte and `entry.leaf` to the root in
    `statement.checkpoint`."""
    with _known():
        statement, proven = services.proofs.inclusion(entry if len(entry) == 32 else int(entry))
    return AuditProof.model_validate(
        {"statement": msgspec.to_builtins(statement), "entry": msgspec.to_builtins(proven)}
    )


@contextmanager
def _known() -> Generator[None]:
    try:
        yield
    except UnknownEntry as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
