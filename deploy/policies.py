"""Which policy is in force, on record: an auditor reads who could decide when, and a file that was in force before is
known again."""

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from deploy.settings import Settings

if TYPE_CHECKING:
    from db.journal import SqlJournal
    from remediation.policy import Policy

_IN_FORCE: Final = "policy.in_force"
_NONE: Final = "none"


def put_on_record(settings: Settings, journal: "SqlJournal", role: str, policy: "Policy") -> None:
    """An entry of the audit log where `role` (`agent`, `api`) starts the first time, with another file than the last
    time, or with none any more. That there was none is told, too: a file that comes later was not in force before."""
    digest = _NONE if settings.policy is None else sha256(settings.policy.read_bytes()).hexdigest()
    subject = f"policy/{role}"
    with journal.transaction() as unit:
        last = unit.audit_entries(action=_IN_FORCE, subject=subject, limit=1)
        if last and digest == last[0].detail.get("sha256"):
            return
        detail = {"sha256": digest, "people": len(policy.people), "rules": len(policy.rules)}
        unit.audit(actor=role, action=_IN_FORCE, subject=subject, detail=detail)


def was_in_force(settings: Settings, digest: str) -> bool:
    """Whether a file with this SHA-256 is what a role started with the last time. A log from before such entries does
    not know, and the file is taken as the one of before."""
    from db.audit.leaves import entries
    from db.engine import connect, reading
    from db.errors import StoreError
    from deploy.pieces import has_database

    if not has_database(settings):
        return False
    engine = connect(settings.database)
    try:
        with reading(engine) as connection:
            known = entries(connection, action=_IN_FORCE, limit=100)
            newest = {each.subject: each.detail.get("sha256") for each in reversed(known)}
            return digest in newest.values() if newest else bool(entries(connection, limit=1))
    except StoreError:
        return False
    finally:
        engine.dispose()
