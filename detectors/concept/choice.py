"""Detectors of concept drift by the names that a monitor gives them: ours, and river's own where river is installed."""

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from detectors.concept.adapter import Replayed
from detectors.concept.catalogue import CATALOGUE, glr, mixture, watch
from detectors.concept.values import ConceptDetector
from detectors.errors import MonitorInvalid

PREFIX: Final = "river_"
_RIVER: Final[dict[str, tuple[str, str, bool]]] = {
    "adwin": ("river.drift", "ADWIN", False),
    "kswin": ("river.drift", "KSWIN", False),
    "page_hinkley": ("river.drift", "PageHinkley", False),
    "ddm": ("river.drift.binary", "DDM", True),
    "eddm": ("river.drift.binary", "EDDM", True),
    "hddm_a": ("river.drift.binary", "HDDMA", True),
    "hddm_w": ("river.drift.binary", "HDDMW", True),
}
"""Module, class, and whether it takes errors (0 or 1) and no other values."""
NAMES: Final = (*sorted(CATALOGUE), *(PREFIX + name for name in sorted(_RIVER)))


def check_names(names: Iterable[str]) -> None:
    """Raise `MonitorInvalid` for a detector that there is not, or one that is named twice."""
    seen: set[str] = set()
    for name in names:
        if name not in NAMES:
            raise MonitorInvalid(
                f"concept.detectors: there is no detector {name!r} of concept drift; there are {', '.join(NAMES)}"
            )
        if name in seen:
            raise MonitorInvalid(f"concept.detectors: {name!r} is named twice")
        seen.add(name)


def wanting(name: str) -> str | None:
    """Why a detector cannot be had in this installation, or None."""
    if name not in NAMES:
        return f"there is no detector {name!r} of concept drift here; there are {', '.join(NAMES)}"
    if not name.startswith(PREFIX) or find_spec("river") is not None:
        return None
    return f"{name} takes the package river, which is not installed here"


@lru_cache(maxsize=256)
def detector_of(name: str, run_length: float, strata: int, back: float, floor: float) -> ConceptDetector:
    """The detector of this name. run_length: rows to a false alarm, kept by `watch`, `mixture` and `glr`; the others
    take the settings of their papers. strata, back, floor: see `catalogue.watch`.
    """
    if name == "watch":
        # A window adds up the evidence of hundreds of rows at one estimate of the rate, whose error counts as often.
        return watch(run_length, strata=strata, back=back, floor=floor, raised=1.0)
    if name == "mixture":
        return mixture(run_length, strata=strata, back=back)
    if name == "glr":
        return glr(run_length, floor=floor)
    return _as_published(name)


@lru_cache(maxsize=len(NAMES))
def _as_published(name: str) -> ConceptDetector:
    """One with the settings of its paper. Those of river live on from pane to pane, so each is made once."""
    if name in CATALOGUE:
        return CATALOGUE[name]()
    module, kind, binary = _RIVER[name.removeprefix(PREFIX)]
    make: Any = getattr(import_module(module), kind)
    options = {"seed": 0} if kind == "KSWIN" else {}
    return Replayed(name=name, make=lambda: make(**options), binary=binary)
