"""Which stretches of a state topic a restore has to read."""

from collections.abc import Iterable

from streams.stages import OffsetRange

Segment = tuple[int, int, int]
"""First and last offset of a stretch of deltas, and the latest event time in it."""

_MAX_SEGMENTS = 256
_BRIDGE = 64
"""Reading so many records that nobody needs costs less than going to another place."""


def add_segment(segments: list[Segment], offset: int, latest_us: int) -> None:
    """Note a delta. Neighbours are put together where the list grows too long: a restore may read too much,
    never too little."""
    segments.append((offset, offset, latest_us))
    if len(segments) > _MAX_SEGMENTS:
        pairs = zip(segments[0::2], segments[1::2], strict=False)
        merged = [(a[0], b[1], max(a[2], b[2])) for a, b in pairs]
        segments[:] = merged + ([segments[-1]] if len(segments) % 2 else [])


def joined_ranges(ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """The ranges in order, without overlap; those that nearly touch become one."""
    joined: list[OffsetRange] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + _BRIDGE:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
