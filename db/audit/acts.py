"""Entries about the log itself: a new key, a restore from a backup, a redaction. The log's key signs each of them, so
that nobody who can only write into the database can make one."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from db.audit.leaves import NewEntry
from db.audit.note import Signer, Verifier
from db.audit.sealed import PERSONAL_KEYS, ROWS
from db.codec import canonical
from db.errors import AuditError

ROTATED = "audit.key_rotated"
RESTORED = "audit.restored"
REDACTED_FIELDS = "audit.redacted"
ACTS = frozenset({ROTATED, RESTORED, REDACTED_FIELDS})

_SIGNATURE = "signature"
_KEY = "key"


class Lost(msgspec.Struct, frozen=True):
    """What one place outside the database stated when the log was restored: its notes `first` to `after - 1`, counted
    from 0, vouch for entries that are lost. `last_size` and `last_root` are those of its last note."""

    first: int
    after: int
    sha256: str
    last_size: int
    last_root: str


class Restoration(msgspec.Struct, frozen=True):
    """The log was restored from a backup of `entries` entries; those up to `lost_until - 1` are lost."""

    entries: int
    lost_until: int
    places: dict[str, Lost]


class Redaction(msgspec.Struct, frozen=True):
    """The values of `fields` were removed from the entry `id`, which is at `entry`."""

    entry: int
    id: str
    fields: tuple[str, ...]


class Rotation(msgspec.Struct, frozen=True):
    """From the next entry on the log is signed with `new`."""

    old: str
    new: str


def act(
    signer: Signer,
    what: Restoration | Redaction | Rotation,
    *,
    at_us: int,
    actor: str,
    reason: str,
    rows: Mapping[str, Any] | None = None,
) -> NewEntry:
    """The signed entry that tells of `what`."""
    checked(reason)
    kinds: dict[type[msgspec.Struct], tuple[str, str]] = {
        Restoration: (RESTORED, "audit"),
        Redaction: (REDACTED_FIELDS, f"audit/{getattr(what, 'entry', '')}"),
        Rotation: (ROTATED, "audit"),
    }
    action, subject = kinds[type(what)]
    detail: dict[str, object] = {**msgspec.to_builtins(what), _KEY: signer.verifier.text}
    signature = signer.private.sign(_message(action, subject, detail))
    detail |= {_SIGNATURE: base64.b64encode(signature).decode(), "reason": reason}
    return NewEntry(at_us=at_us, actor=actor, action=action, subject=subject, detail=detail, rows=rows or {})


def checked(reason: str) -> None:
    """Raises `ValueError` for a reason that says nothing."""
    if not reason.strip():
        raise ValueError("reason must say why, for whoever reads the log later; got an empty one")


def signed_by(action: str, subject: str, detail: Mapping[str, Any]) -> Verifier:
    """The key that signed an act. Raises `ValueError` where it did not."""
    try:
        key = Verifier.parse(str(detail[_KEY]))
        signature = base64.b64decode(str(detail[_SIGNATURE]), validate=True)
    except (KeyError, binascii.Error) as error:
        raise ValueError(f"it lacks its key or its signature: {error}") from error
    if not key.valid(signature, _message(action, subject, detail)):
        raise ValueError("its signature is not valid")
    return key


def restoration(detail: Mapping[str, Any]) -> Restoration:
    """What an entry `audit.restored` says. Raises `AuditError`."""
    try:
        return msgspec.convert(dict(detail), Restoration)
    except msgspec.ValidationError as error:
        raise AuditError(f"An entry {RESTORED} cannot be read: {error}.") from error


def _message(action: str, subject: str, detail: Mapping[str, Any]) -> bytes:
    stated = {key: value for key, value in detail.items() if key not in PERSONAL_KEYS | {_SIGNATURE, ROWS}}
    return b"homeostat audit act\n" + canonical({"action": action, "subject": subject, "detail": stated})
