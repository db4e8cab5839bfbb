"""What deciding remembers of a series, as records of the judge's state topic.

A series is written again when a window of it was decided on, and not with every checkpoint: with many series the state
of a checkpoint would be all of their candidates for a change point, for the sake of a few that have moved.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from detectors.judgement import SeriesState
from detectors.sequential.packing import pack_memory, unpack_memory
from streams.judge.windows import NOTHING, Kept, Series, SeriesName

PIECE_BYTES: Final = 512 * 1024
"""Half of what a broker takes as one record by default."""


class StateRecord(msgspec.Struct, array_like=True):
    """A piece of the state of a series."""

    name: SeriesName
    packed: bytes


def to_write(series: Sequence[Series]) -> list[Series]:
    """Those whose state is not what was written last, and the one whose record is the oldest: so that no series that is
    silent keeps the topic from being cut."""
    changed = [one for one in series if one.state is not (one.kept.state if one.kept else NOTHING)]
    names = {one.name for one in changed}
    written = [(one.kept.offsets[0], one) for one in series if one.kept and one.name not in names]
    if not changed or not written:
        return changed
    return [*changed, min(written, key=lambda found: found[0])[1]]


def pieces(name: SeriesName, state: SeriesState) -> list[bytes]:
    """The records of a state."""
    memory = b"" if state.memory is None else pack_memory(state.memory)
    rest = zlib.compress(msgspec.msgpack.encode(replace(state, memory=None)), 1)
    whole = msgspec.msgpack.encode((rest, memory))
    cuts = range(0, len(whole), PIECE_BYTES)
    return [msgspec.msgpack.encode(StateRecord(name, whole[cut : cut + PIECE_BYTES])) for cut in cuts]


def read(records: Iterable[tuple[int, bytes]]) -> Iterator[tuple[SeriesName, Kept]]:
    """The states that these records, given with their offsets and in order, are pieces of."""
    found: dict[SeriesName, tuple[list[int], list[bytes]]] = {}
    for offset, value in records:
        record = msgspec.msgpack.decode(value, type=StateRecord)
        offsets, parts = found.setdefault(record.name, ([], []))
        offsets.append(offset)
        parts.append(record.packed)
    for name, (offsets, parts) in found.items():
        rest, memory = msgspec.msgpack.decode(b"".join(parts), type=tuple[bytes, bytes])
        state = msgspec.msgpack.decode(zlib.decompress(rest), type=SeriesState)
        yield name, Kept(replace(state, memory=unpack_memory(memory) if memory else None), offsets)


def distances(offsets: Sequence[int]) -> list[int]:
    """Sorted offsets, each as its distance from the one before: one byte instead of five."""
    return [offset - before for before, offset in zip([0, *offsets], offsets, strict=False)]


def places_of(distances: Sequence[int]) -> list[int]:
    """What `distances` was made of."""
    places: list[int] = []
    for distance in distances:
        places.append(distance + (places[-1] if places else 0))
    return places
