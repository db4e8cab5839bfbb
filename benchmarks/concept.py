"""Concept drift: how late and how often in vain, on streams that change, beside river's detectors.

    uv run python -m benchmarks.concept --json
    uv run python -m benchmarks.concept --seeds 100

Scenarios, for each of sine1, mixed and circles (see `benchmarks.concept_streams`), over the same seeds for all:
`concept.STREAM.delay` (events from a drift to the alarm, the patience where there is none in time, ours at its default
budget), `.false_alarms` (per stream of 100,000 events), `.delay_pane10`, `.delay_pane100`; and
`concept.events_per_s` (panes of one event through `scan`, one core, beside river's).

Peers are kernels equal to river's on single events (tests/detectors/test_concept.py); `--river N` runs river itself
on the errors of the first N seeds and says on how many of them every alarm was the same.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.concept_streams import CONFIDENCES, STREAMS, Stream, errors_of
from benchmarks.report import Scenario, parser, say, show
from detectors.concept import catalogue
from detectors.concept.online import MixtureDetector, OnlineDetector, WatchDetector

_PANES = (10, 100)


def _kernel(one: MixtureDetector | OnlineDetector) -> int:
    if isinstance(one, OnlineDetector):
        return one.kernel
    both, whole = isinstance(one, WatchDetector), one.strata == 1
    return (-4 if whole else -3) if both else -1 if whole else -2


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A detector as the streams take it."""

    name: str
    detector: MixtureDetector | OnlineDetector

    def run(self, stream: Stream, seed: int, pane: int) -> Any:
        """Errors and alarms of one stream."""
        one, settings = self.detector, np.array(self.detector.settings)
        kernel = _kernel(one)
        length, memory = stream.events, np.zeros(one.size)
        return errors_of(
            stream.kind, length, stream.every, stream.width, pane, seed, kernel, settings, memory
        )


OURS = Contender(name="watch", detector=catalogue.watch(strata=len(CONFIDENCES) + 1))
PEERS = (
    Contender(name="river HDDM_W", detector=catalogue.hddm_w()),
    Contender(name="river ADWIN", detector=catalogue.adwin()),
    Contender(name="ours, from errors alone", detector=catalogue.watch(strata=1)),
    Contender(name="ours, likelihood ratio", detector=catalogue.glr()),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Means over seeds: delay in events, false alarms and missed drifts per stream."""

    delay: float
    false_alarms: float
    missed: float


def scored(alarms: Any, stream: Stream) -> tuple[float, int, int]:
    """Mean delay, false alarms, missed drifts of one stream; the first alarm in time is the detection."""
    hits, delays, used = np.flatnonzero(alarms), list[int](), 0
    for drift in range(stream.every, stream.events, stream.every):
        timely = hits[(hits >= drift) & (hits < drift + stream.patience)]
        used += len(timely) > 0
        delays.append(int(timely[0]) - drift if len(timely) else stream.patience)
    return float(np.mean(delays)), len(hits) - used, stream.drifts - used


def tried(contender: Contender, stream: Stream, seeds: Sequence[int], pane: int = 1) -> Outcome:
    """A contender on a stream, over seeds."""
    found = np.array([scored(contender.run(stream, seed, pane)[1], stream) for seed in seeds])
    delay, false_alarms, missed = (float(mean) for mean in found.mean(axis=0))
    say(
        f"{stream.name} {contender.name} pane {pane}: {delay:.1f} late, {false_alarms:.2f} in vain, {missed:.2f} missed"
    )
    return Outcome(delay=delay, false_alarms=false_alarms, missed=missed)


def scenarios(
    stream: Stream, seeds: Sequence[int], ours: Outcome, peers: dict[str, Outcome]
) -> list[Scenario]:
    """What is said of one stream."""
    best = peers["river HDDM_W"]
    panes = {pane: tried(OURS, stream, seeds, pane) for pane in _PANES}
    late = {name: one.delay for name, one in peers.items()}
    vain = {name: one.false_alarms for name, one in peers.items()}
    more = [
        ("delay", ours.delay, late, best.delay, "events"),
        ("false_alarms", ours.false_alarms, vain, best.false_alarms, "per stream"),
        *((f"delay_pane{pane}", one.delay, late, None, "events") for pane, one in panes.items()),
    ]
    return [
        Scenario(
            id=f"concept.{stream.name}.{name}",
            value=value,
            unit=unit,
            higher_is_better=False,
            peers=others,
            target=target,
        )
        for name, value, others, target, unit in more
    ]


def rivers_own(stream: Stream, seed: int) -> bool:
    """Whether river's HDDM_W itself alarms at exactly the events at which its kernel does."""
    from river import drift

    contender, peer = PEERS[0], drift.binary.HDDMW()
    errors, alarms = contender.run(stream, seed, 1)
    found = np.zeros(len(errors), dtype=np.uint8)
    for event, error in enumerate(errors.tolist()):
        peer.update(error)
        found[event] = peer.drift_detected
    return bool((found == alarms).all())


def speed(seed: int, events: int = 200_000) -> Scenario:
    """Events a second through the protocol, one event a pane, and through river."""
    from river import drift

    errors = (np.random.default_rng(seed).random(events) < 0.1).astype(float)
    counts = np.ones(events)
    found: dict[str, float] = {}
    for name, detector in (
        ("watch", catalogue.watch(strata=1)),
        ("hddm_w", catalogue.hddm_w()),
        ("adwin", catalogue.adwin()),
        ("glr", catalogue.glr()),
    ):
        shape = (events, 1) if isinstance(detector, MixtureDetector) else (events,)
        given = counts.reshape(shape), errors.reshape(shape)
        detector.scan(detector.start(), *(one[:10] for one in given))
        start = time.perf_counter()
        detector.scan(detector.start(), *given)
        found[name] = events / (time.perf_counter() - start)
    for name, peer in (("river HDDM_W", drift.binary.HDDMW()), ("river ADWIN", drift.ADWIN())):
        start = time.perf_counter()
        for error in errors.tolist():
            peer.update(error)
        found[name] = events / (time.perf_counter() - start)
    value = found.pop("watch")
    return Scenario(
        id="concept.events_per_s", value=value, unit="events/s", higher_is_better=True, peers=found
    )


def main() -> int:
    """Run the scenarios."""
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=20, help="streams of each kind (default: 20)")
    options.add_argument(
        "--river", type=int, default=1, help="seeds on which river itself runs too (default: 1)"
    )
    given = options.parse_args()
    seeds = range(given.seed, given.seed + given.seeds)
    found: list[Scenario] = []
    for stream in STREAMS:
        peers = {one.name: tried(one, stream, seeds) for one in PEERS}
        found += scenarios(stream, seeds, tried(OURS, stream, seeds), peers)
        same = sum(rivers_own(stream, seed) for seed in seeds[: given.river])
        say(f"{stream.name}: river's own HDDM_W alarmed as its kernel on {same} of {given.river} streams")
    return show([*found, speed(given.seed)], as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
