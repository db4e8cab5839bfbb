"""What a version knows at its first window from the versions before it."""

from collections.abc import Iterable

from msgspec.structs import replace

from detectors.judgement import SeriesState
from detectors.segments import ALL
from detectors.service.judging import begun_with
from detectors.service.values import ServiceMemory
from streams.judge.windows import ClosedWindow, Series


def begun(series: Series, window: ClosedWindow, others: Iterable[Series]) -> SeriesState:
    """The state of a series before it is judged on `window`. Where its service never was, it begins with what was usual
    of the version that came last before it and has learned that (`others`: all series of its model and axis); where
    none has, with the windows that one has begun to learn from. The service of a segment is not judged."""
    state = series.state
    if state.service is not None or series.name.segment != ALL:
        return state
    before = [
        (known.own is not None, known.since_us, other.name.version, begins)
        for other in others
        if other.name.segment == ALL
        and (known := other.state.service) is not None
        and known.since_us is not None
        and known.since_us < window.start_us
        and (begins := begun_with(known)) is not None
    ]
    return replace(state, service=max(before, key=_age)[3]) if before else state


def _age(one: tuple[bool, int, str, ServiceMemory]) -> tuple[bool, int, str]:
    return one[:3]
