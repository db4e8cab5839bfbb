"""The measures that this installation knows: those that ship, and those that packages offer."""

from importlib.metadata import EntryPoint, entry_points

import structlog

from detectors.library.measure import Measure, MeasureInvalid
from detectors.library.registry import ENTRY_POINT, Register
from detectors.library.standard import standard

log = structlog.get_logger()


def known_measures() -> Register:
    """The measures that ship and those under the entry point `homeostat.measures`. One that cannot be loaded or
    breaks a law is left out, and the log says why: a package of another does not stop monitoring."""
    register = standard()
    for entry in entry_points(group=ENTRY_POINT):
        because = _refused(register, entry)
        if because:
            log.error("a measure is left out", entry_point=entry.name, package=entry.value, because=because)
    return register


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
    return None
