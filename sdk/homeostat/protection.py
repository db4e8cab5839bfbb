"""Columns that must not leave the host as they are: dropped, hashed with a key, or masked.

A hash is keyed BLAKE2b (RFC 7693) of the value's text, 128 bits in hexadecimal: equal values stay equal, so
counts of categories and joins still work, and without the key nobody can try values until one fits. A mask keeps
nothing but the class of the text's length.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from homeostat.arguments import Block, Column
from homeostat.config import Action

_DIGEST_BYTES = 16


class Unfit:
    """Stands for a value that can be neither hashed nor masked; shows its type and nothing of the value."""

    def __init__(self, value: object) -> None:
        self._type = type(value).__name__

    def __repr__(self) -> str:
        return f"a protected value of type {self._type}"


def protected(
    block: Block, actions: Mapping[str, Action], secret: bytes, breathe: Callable[[], None] = lambda: None
) -> Block:
    """The block without what `actions` take away, by the name of a feature, a segment, or `id`. `breathe` is
    called after each column that was read.
    """
    if not actions:
        return block
    changes: dict[str, Callable[[str], str]] = {"hash": lambda text: hashed(text, secret), "mask": masked}

    def changed(column: Column, action: str) -> Column:
        found = _changed(column, changes[action])
        breathe()
        return found

    def named(columns: Mapping[Any, Column] | None) -> Mapping[Any, Column] | None:
        if columns is None:
            return None
        kept = {name: column for name, column in columns.items() if actions.get(name) != "drop"}
        return {
            name: changed(column, actions[name]) if name in actions else column
            for name, column in kept.items()
        }

    return replace(
        block,
        ids=changed(block.ids, "hash") if "id" in actions else block.ids,
        segments=named(block.segments),
        features=named(block.features),
    )


def hashed(text: str, secret: bytes) -> str:
    """Keyed BLAKE2b of the text, in 32 hexadecimal digits."""
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=secret).hexdigest()


def masked(text: str) -> str:
    """The class of the text's length: `length 0`, `length 1`, `length 2-3`, `length 4-7` and so on."""
    low = 1 << (len(text).bit_length() - 1) if text else 0
    return f"length {low}" if low < 2 else f"length {low}-{2 * low - 1}"


def _changed(column: Column, change: Callable[[str], str]) -> list[Any]:
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return [_of_value(value, change) for value in values]


def _of_value(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(str.__str__(value))
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float):
        if np.isnan(value):
            return None
        # 7 and 7.0 are one value: whether a column came as whole numbers must not change its hash.
        return change(str(int(value)) if value.is_integer() else repr(value))
    if isinstance(value, (int, uuid.UUID)):
        return change(str(int(value)) if isinstance(value, int) else str(value))
    return Unfit(value)
