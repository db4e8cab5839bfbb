"""The measures that this installation knows: those that ship, and those that packages offer."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

import structlog

from detectors.errors import MonitorInvalid
from detectors.library import alibi
from detectors.library.measure import Found, Measure, MeasureInvalid, absent
from detectors.library.registry import ENTRY_POINT, Register
from detectors.library.standard import standard

log = structlog.get_logger()
Sample = TypeVar("Sample")


@lru_cache(maxsize=1)
def known_measures() -> Register:
    """The measures that ship, those of alibi-detect where it is installed, and those under the entry point
    `homeostat.measures`. One that cannot be loaded or
    breaks a law is left out, and the log says why: a package of another does not stop monitoring."""
    register = standard()
    if alibi.is_installed():
        register.known.update({one.name: one for one in alibi.SAMPLED})
    for entry in entry_points(group=ENTRY_POINT):
        because = _refused(register, entry)
        if because:
            log.error("a measure is left out", entry_point=entry.name, package=entry.value, because=because)
    return register


def check_measures(names: Iterable[str]) -> None:
    """Raise `MonitorInvalid` for a measure that this installation does not know, or one that is named twice."""
    seen, known = set[str](), known_measures().known
    for name in names:
        if name in alibi.NAMES - known.keys():
            raise MonitorInvalid(
                f"measures: {name!r} takes alibi-detect and torch, which are not installed here; they are in the extra "
                f"{alibi.EXTRA!r} of homeostat-server"
            )
        if name not in known:
            raise MonitorInvalid(
                f"measures: there is no measure {name!r}; there are {', '.join(sorted(known))}"
            )
        if name in seen:
            raise MonitorInvalid(f"measures: {name!r} is named twice")
        seen.add(name)


def _refused(register: Register, entry: EntryPoint) -> str | None:
    try:
        measure = entry.load()
    except Exception as error:
        log.exception("a measure cannot be loaded", entry_point=entry.name)
        return f"loading it raised {type(error).__name__}: {error}"
    if not isinstance(measure, Measure):
        return f"it is a {type(measure).__name__}, not a detectors.library.measure.Measure"
    try:
        register.take(measure)
    except MeasureInvalid as error:
        return str(error)
    except Exception as error:
        log.exception("a measure raised", entry_point=entry.name)
        return f"it raised {type(error).__name__}: {error}"
    register.known[measure.name] = _guarded(measure)
    return None


def _guarded(measure: Measure) -> Measure:
    """The measure of another package, which may raise on some window although it kept the laws."""
    column, rows = measure.column, measure.rows
    return replace(
        measure,
        column=None if column is None else _careful(measure.name, column),
        rows=None if rows is None else _careful(measure.name, rows),
    )


def _careful(name: str, of: Callable[[Sample, Sample], Found]) -> Callable[[Sample, Sample], Found]:
    def found(before: Sample, now: Sample) -> Found:
        try:
            return of(before, now)
        except Exception as error:
            log.exception("a measure raised", measure=name)
            return absent(f"it raised {type(error).__name__}: {error}")

    return found
