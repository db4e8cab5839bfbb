"""Records in which nothing is out of the ordinary, told from others without Arrow.

Records of one producer say the same about themselves: their metadata are equal, byte by byte. Once Arrow has read and
validated one of them in full, another one can only differ in the bytes of its body: in the bitmaps of missing values,
in where texts end, in texts and numbers. What is there is compared with what Arrow and the contract's checks ask for.
Whatever is not as plain as that is left to them, which find out what it is and say so.

Source: the Arrow columnar format ("Validity bitmaps", "Variable-size Binary Layout").
"""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from homeostat.contract_checks import MAX_TIME_US, SCORE_TOLERANCE
from homeostat.contract_dense import ID, LATENCY, SCORE, STATUS, seen_of
from homeostat.contract_frames import Frame, Meta
from homeostat.contract_layout import Layout
from homeostat.keys import key_of

_ENDS = np.dtype(np.int32)


class _Text(NamedTuple):
    """Where in the body of a record the ends of a column's texts are, and the texts themselves."""

    ends: int
    texts: int
    size: int


class _Claims(NamedTuple):
    """What is to be looked at in a body. `zeros`: bytes that must be so, of columns without any value; `there`: bitmaps
    (beginning, bytes, how many rows have a value). `silent`: no row has a latency or a status."""

    rows: int
    ids: _Text
    texts: tuple[_Text, ...]
    zeros: tuple[tuple[int, bytes], ...]
    there: tuple[tuple[int, int, int], ...]
    silent: bool


@dataclass(slots=True)
class _Standing:
    """Whether Arrow has read a record of these metadata."""

    read: bool = False


@lru_cache(maxsize=512)
def _standing(meta: Meta, layout: Layout) -> _Standing:
    return _Standing()


def vouch(frame: Frame, layout: Layout) -> None:
    """Arrow has read and validated a record of this frame, and the contract is kept."""
    _standing(frame.meta, layout).read = True


def plain_of(value: bytes, frame: Frame, layout: Layout) -> dict[str, Any] | None:
    """What `contract_dense.seen_of` tells of a record that keeps to the contract and that Arrow can read, with its
    `span_us` and whether it is `silent`. None where only Arrow can tell whether it is one."""
    claims = _claims(frame.meta, layout) if _standing(frame.meta, layout).read else None
    if claims is None or not _has_what_it_claims(value, frame.body, claims):
        return None
    seen = seen_of(value, frame, layout)
    if not (_has_ids(value, frame.body, claims.ids, seen) and _has_times(seen) and _has_outputs(seen)):
        return None
    seen["silent"] = claims.silent
    return seen


def _has_what_it_claims(value: bytes, body: int, claims: _Claims) -> bool:
    for at, zeros in claims.zeros:
        if value[body + at : body + at + len(zeros)] != zeros:
            return False
    for at, size, known in claims.there:
        bits = int.from_bytes(value[body + at : body + at + size], "little") & ((1 << claims.rows) - 1)
        if bits.bit_count() != known:
            return False
    for text in claims.texts:
        ends = np.frombuffer(value, _ENDS, claims.rows + 1, body + text.ends)
        if not ((ends[1:] >= ends[:-1]).all() and _is_ascii(value, body, text, ends)):
            return False
    return True


def _has_ids(value: bytes, body: int, ids: _Text, seen: dict[str, Any]) -> bool:
    ends = seen.get("id_ends")
    if ends is None or "keys" not in seen or not (ends[1:] > ends[:-1]).all():
        return False
    if not _is_ascii(value, body, ids, ends):
        return False
    start = body + ids.texts
    return key_of(value[start + int(ends[0]) : start + int(ends[1])].decode()) == int(seen["keys"][0])


def _has_times(seen: dict[str, Any]) -> bool:
    times_us = seen.get("times_us")
    if times_us is None:
        return False
    first_us, last_us = int(np.minimum.reduce(times_us)), int(np.maximum.reduce(times_us))
    seen["span_us"] = first_us, last_us
    return first_us >= 0 and last_us < MAX_TIME_US


def _has_outputs(seen: dict[str, Any]) -> bool:
    """The least and the greatest number are NaN where one is."""
    outcomes, scores = seen.get("outcomes"), seen.get("scores")
    if outcomes is None:
        return False
    if not (math.isfinite(np.minimum.reduce(outcomes)) and math.isfinite(np.maximum.reduce(outcomes))):
        return False
    if scores is None:
        return True
    lowest, highest = np.minimum.reduce(scores), np.maximum.reduce(scores)
    return bool(lowest >= -SCORE_TOLERANCE and highest <= 1 + SCORE_TOLERANCE)


def _is_ascii(value: bytes, body: int, text: _Text, ends: Any) -> bool:
    """Whether texts that end there lie in the bytes of their column and are ASCII, which is UTF-8."""
    first, last = int(ends[0]), int(ends[-1])
    start = body + text.texts
    return 0 <= first <= last <= text.size and value[start + first : start + last].isascii()


@lru_cache(maxsize=16)
def _zeros(size: int) -> bytes:
    return bytes(size)


@lru_cache(maxsize=512)
def _claims(meta: Meta, layout: Layout) -> _Claims | None:
    """None where columns are not plain."""
    types: list[pa.DataType] = layout.schema.types
    if any(pa.types.is_dictionary(type) or pa.types.is_fixed_size_list(type) for type in types):
        return None
    predicts = layout.outcome.name == "prediction"
    if predicts and meta.nulls[SCORE] not in (0, meta.rows):
        return None
    spans = iter(zip(meta.spans[::2], meta.spans[1::2], strict=True))
    zeros: list[tuple[int, bytes]] = []
    there: list[tuple[int, int, int]] = []
    texts: dict[int, _Text] = {}
    bitmap_bytes, ends_bytes = -(-meta.rows // 8), _ENDS.itemsize * (meta.rows + 1)
    for place, (type, nulls) in enumerate(zip(types, meta.nulls, strict=True)):
        (bits_at, _), (at, _) = next(spans), next(spans)
        if nulls == meta.rows:
            zeros.append((bits_at, _zeros(bitmap_bytes)))
        elif nulls:
            there.append((bits_at, bitmap_bytes, meta.rows - nulls))
        if type == pa.string():
            texts_at, size = next(spans)
            if nulls == meta.rows:
                zeros.append((at, _zeros(ends_bytes)))
            else:
                texts[place] = _Text(at, texts_at, size)
    ids = texts.pop(ID, None)
    silent = predicts and all(meta.nulls[place] == meta.rows for place in (LATENCY, STATUS))
    return (
        None
        if ids is None
        else _Claims(meta.rows, ids, tuple(texts.values()), tuple(zeros), tuple(there), silent)
    )
