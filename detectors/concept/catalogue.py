"""The detectors of concept drift by name, each with the settings that its authors (and river) take by default."""

import math
from collections.abc import Callable
from typing import Final

from detectors.concept import run as kernels
from detectors.concept.adwin import ADWIN_SIZE
from detectors.concept.glr import GLR_SIZE, RATE
from detectors.concept.kswin import critical_step, kswin_size
from detectors.concept.mixture import mixture_size
from detectors.concept.online import MixtureDetector, OnlineDetector, WatchDetector
from detectors.concept.outcomes import CONFIDENCE_STRATA
from detectors.concept.steps import (
    DDM_SIZE,
    EDDM_SIZE,
    HDDM_A_SIZE,
    HDDM_W_SIZE,
    PAGE_HINKLEY_SIZE,
)
from detectors.concept.values import ConceptDetector
from detectors.concept.watch import QUICK_SHARE, watch_size
from detectors.errors import MonitorInvalid

RUN_LENGTH: Final = 1.2
"""Events to a false alarm of the likelihood ratio, by exp(threshold): 1.0-1.5 at error rates of 0.02 to 0.5 and
thresholds of 6 to 9 (simulated, single events)."""
SUM_LENGTH: Final = 2.0
"""Events to a false alarm of the mixture, by the sum that it may reach: 1.7-2.4 (simulated, one share, rates 0.14 and
0.17, sums 2e4 to 3e5); more where shares grow."""


def page_hinkley(
    least: int = 30,
    delta: float = 0.005,
    threshold: float = 50.0,
    alpha: float = 0.9999,
    up: bool = True,
    down: bool = True,
) -> OnlineDetector:
    """Cumulative deviations from the running mean, for any values. Source: Page (1954)."""
    settings = (least, delta, threshold, alpha, float(up), float(down))
    return _made("page_hinkley", kernels.PAGE_HINKLEY, PAGE_HINKLEY_SIZE, settings, binary=False)


def ddm(least: int = 30, warning: float = 2.0, drift: float = 3.0) -> OnlineDetector:
    """The error rate beside its lowest so far. Source: Gama, Medas, Castillo and Rodrigues (2004)."""
    return _made("ddm", kernels.DDM, DDM_SIZE, (least, warning, drift))


def eddm(least: int = 30, warning: float = 0.95, drift: float = 0.9) -> OnlineDetector:
    """The distance between errors beside its greatest so far. Source: Baena-Garcia and others (2006)."""
    return _made("eddm", kernels.EDDM, EDDM_SIZE, (least, warning, drift))


def hddm_a(drift: float = 0.001, warning: float = 0.005, two_sided: bool = False) -> OnlineDetector:
    """Means by Hoeffding's inequality. Source: Frias-Blanco and others (2014)."""
    return _made("hddm_a", kernels.HDDM_A, HDDM_A_SIZE, (drift, warning, float(two_sided)))


def hddm_w(
    drift: float = 0.001, warning: float = 0.005, weight: float = 0.05, two_sided: bool = False
) -> OnlineDetector:
    """Weighted means by McDiarmid's inequality. Source: Frias-Blanco and others (2014)."""
    return _made("hddm_w", kernels.HDDM_W, HDDM_W_SIZE, (drift, warning, weight, float(two_sided)))


def adwin(delta: float = 0.002, clock: int = 32, least_side: int = 5, least: int = 10) -> OnlineDetector:
    """A window that is cut where two of its parts differ, for any values. Source: Bifet and Gavalda (2007)."""
    return _made("adwin", kernels.ADWIN, ADWIN_SIZE, (delta, clock, least_side, least), binary=False)


def kswin(alpha: float = 0.005, window: int = 100, last: int = 30, seed: int = 0) -> OnlineDetector:
    """The last values of a window beside drawn ones, a pane being one value. Source: Raab and others (2020)."""
    if not 0 < last <= window - last:
        raise MonitorInvalid(f"kswin: last is {last} and window {window}; last must be 1 to half of window")
    settings = (window, last, critical_step(alpha, last), seed)
    return _made("kswin", kernels.KSWIN, kswin_size(window), settings, binary=False)


def glr(
    run_length: float = 1e6, least: int = 30, floor: float = 0.0, variance: float = RATE
) -> OnlineDetector:
    """The strongest rise of a mean, wherever it began; see `detectors.concept.glr`.

    run_length: events without a change to a false alarm, on average. least: events before a change. floor: the
    least rise that matters. variance: of a value, where values are not 0 or 1.
    """
    _positive("glr", "run_length", run_length)
    threshold = math.log(max(run_length / RUN_LENGTH, math.e))
    settings = (least, threshold, max(threshold - 3.0, 0.0), threshold, floor, variance)
    return _made("glr", kernels.GLR, GLR_SIZE, settings, binary=variance <= 0)


def mixture(
    run_length: float = 2e5,
    least: int = 30,
    raised: float = 1.0,
    back: float = 1.0,
    growth: float = 0.1,
    shares: tuple[float, float, float] = (0.1, 0.35, 0.7),
    strata: int = 1,
) -> MixtureDetector:
    """A turned answer on a share of the rows; see `detectors.concept.mixture`.

    run_length: events without a change to a false alarm, on average. raised: standard errors added to a rate. back:
    the share of errors that a turned answer makes right: 1 with two classes, about 0 with many. growth: how
    likely the share is to grow to the next with an event. strata: how many a pane has; 1 takes its count and
    total.
    """
    _positive("mixture", "run_length", run_length)
    most = max(run_length / SUM_LENGTH, 2.0)
    settings = (float(least), most, most / 20, raised, back, growth, *shares)
    return MixtureDetector(name="mixture", size=mixture_size(strata), settings=settings, strata=strata)


def watch(
    run_length: float = 2.2e5,
    strata: int = CONFIDENCE_STRATA,
    back: float = 1.0,
    floor: float = 0.0,
    raised: float = 0.5,
) -> WatchDetector:
    """The default: mixture and likelihood ratio together; see `detectors.concept.watch`.

    run_length: events without a change to a false alarm, on average. Panes come from
    `outcomes.outcome_pane`; strata: 1 where there are no scores. back, raised: see `mixture`. floor: see `glr`.
    """
    _positive("watch", "run_length", run_length)
    quick = mixture(run_length / QUICK_SHARE, strata=strata, back=back, raised=raised)
    slow = glr(run_length / (1 - QUICK_SHARE), floor=floor)
    settings = (*quick.settings, *slow.settings)
    return WatchDetector(name="watch", size=watch_size(strata), settings=settings, strata=strata)


CATALOGUE: Final[dict[str, Callable[[], ConceptDetector]]] = {
    "adwin": adwin,
    "ddm": ddm,
    "eddm": eddm,
    "glr": glr,
    "hddm_a": hddm_a,
    "hddm_w": hddm_w,
    "kswin": kswin,
    "mixture": mixture,
    "page_hinkley": page_hinkley,
    "watch": watch,
}


def _made(
    name: str, kernel: int, size: int, settings: tuple[float, ...], binary: bool = True
) -> OnlineDetector:
    return OnlineDetector(
        name=name, kernel=kernel, size=size, settings=tuple(float(s) for s in settings), binary=binary
    )


def _positive(detector: str, name: str, value: float) -> None:
    if not value > 0:
        raise MonitorInvalid(f"{detector}: {name} is {value}; it must be more than 0")
