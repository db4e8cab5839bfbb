"""Personal data in the log: the leaf commits to it by a salted hash, the value and its salt stand beside the leaf.

Whoever has value and salt can check that they are what was committed to; whoever has the hash alone can neither
read the value nor guess it (the salt has 128 random bits). So value and salt can be removed later, and the leaf, the
tree and every proof stay as they were.
"""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from db.codec import canonical

ROW_KEYS = frozenset(
    {"author", "by", "created_by", "decided_by", "ended_by", "reason", "revoked_by", "title", "why"}
    | {"detail", "outcome", "text"}
)
"""Keys of rows that may name a person or hold words that somebody wrote, and that nothing is decided by."""

PERSONAL_KEYS = ROW_KEYS | {"person", "step_detail"}
"""The same in an entry's detail."""

ROWS = "rows"
"""Key in a leaf's `detail`: {row key: hash of the row's new value}, and of its salt in `Personal`. It binds a leaf to
the rows it wrote."""

REDACTED = "[redacted]"
"""What a reader sees where a value was removed."""

Personal = dict[str, tuple[str, str]]
"""Field (`actor`, `detail.reason`) to (salt, value); `rows` to (salt, "")."""

_decoder = msgspec.json.Decoder(Personal)
_encoder = msgspec.json.Encoder(order="sorted")


def new_salt() -> str:
    """128 random bits, in hex."""
    return secrets.token_hex(16)


def commitment(salt: str, name: str, value: Any) -> str:
    """SHA-256 of salt, newline, name, newline and the value's canonical JSON (which holds no newline), in hex."""
    told = _encoder.encode(value) if type(value) is str else canonical(value)
    return sha256(f"{salt}\n{name}\n".encode() + told).hexdigest()


def seal(actor: str, detail: dict[str, object]) -> tuple[dict[str, str], Personal]:
    """Take the personal fields out of `detail`: the commitments for the leaf, and what they commit to."""
    fields = {"actor": actor}
    for key in PERSONAL_KEYS & detail.keys():
        value = detail[key]
        if isinstance(value, str) and value:
            fields[f"detail.{key}"] = value
            del detail[key]
    personal = {name: (new_salt(), value) for name, value in fields.items()}
    return {name: commitment(salt, name, value) for name, (salt, value) in personal.items()}, personal


def dump(personal: Personal) -> str:
    """As it is stored."""
    return _encoder.encode(personal).decode()


def load(text: str | None) -> Personal:
    """What is stored. Raises `ValueError` for anything that `dump` did not write."""
    return {} if text is None else load_bytes(text.encode())


def load_bytes(data: bytes) -> Personal:
    """The same from the text's UTF-8."""
    personal = _decoder.decode(data)
    if _encoder.encode(personal) != data:
        raise ValueError("it is not in the form in which it was written")
    return personal


def unsealed(sealed: Mapping[str, str], personal: Personal, detail: dict[str, Any]) -> str | None:
    """Put the sealed values back into `detail`; returns the actor, if it was sealed."""
    actor = None
    for name in sealed:
        value = personal[name][1] if name in personal else REDACTED
        if name == "actor":
            actor = value
        elif name != ROWS:
            detail[name.removeprefix("detail.")] = value
    return actor
