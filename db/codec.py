"""How values become JSON: one canonical form, so that the same value always has the same hash."""

import hashlib
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def dumps(value: Any) -> str:
    """JSON text for a JSON column."""
    return msgspec.json.encode(value).decode()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces."""
    return msgspec.json.encode(msgspec.to_builtins(value), order="sorted")


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, in hex. Equal to `Plan.hash` for a plan."""
    return hashlib.sha256(canonical(value)).hexdigest()


def checked(value: T) -> T:
    """The value, if it can be read back; a NaN in a field that must be a number cannot, for JSON has none."""
    try:
        msgspec.convert(msgspec.json.decode(canonical(value)), type(value))
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{type(value).__name__} {getattr(value, 'id', '')!r} cannot be stored as JSON: {error}. "
            "Numbers must be finite."
        ) from error
    return value
