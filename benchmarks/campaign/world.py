"""The world of one scenario: rows as a service would send them, by what serves and by what is ill at that moment."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.campaign.population import FEATURES, TRUTH, Behaviour, Floats, People
from benchmarks.campaign.scenarios import Fault, Scenario
from remediation.values import Arrangement

GOOD = Behaviour(weights=(2.3, -1.9, 1.0, 0.8, 0.0))
"""What was trained on people of whom few are old."""
_LATENCY_MS = 40.0
_STUCK = {"income": 2_981.0, "debt": 839.0, "age": 45.0, "tenure": 3.5}
FAILS = 0.004


@dataclass
class Rows:
    """Events of one stretch of time. `labels` come at `label_times_us`, of those that get one."""

    times_us: npt.NDArray[np.int64]
    features: dict[str, Floats]
    scores: Floats
    predictions: Floats
    latencies_ms: Floats
    failed: npt.NDArray[np.bool_]
    labels: Floats
    label_times_us: npt.NDArray[np.int64]


def people(scenario: Scenario, at: float) -> People:
    """The people who come at a moment, and their law."""
    ill, size = active(scenario, at), scenario.size
    if "shift_without_loss" in ill:
        return People(moved={"income": 0.4 + 0.5 * size, "tenure": 0.3 + 0.4 * size})
    if "shift_with_loss" in ill:
        return People(moved={"age": 0.9 + 0.7 * size, "debt": 0.2 * size})
    if "turned_concept" in ill:
        turn = 0.55 + 0.45 * size
        law = (TRUTH[0] * (1 - turn), TRUTH[1] * (1 - 1.2 * turn), TRUTH[2] + 1.5 * turn, *TRUTH[3:])
        return People(law=law)
    if "raised_concept" in ill:
        return People(offset=1.4 + 1.4 * size)
    return People()


def active(scenario: Scenario, at: float) -> frozenset[Fault]:
    """The faults of the world (not those of a release) that are there at a moment, in windows since the start."""
    found: set[Fault] = set()
    if scenario.fault is not None and at >= scenario.onset:
        found.add(scenario.fault)
    if scenario.first is not None and at >= scenario.first[1]:
        found.add(scenario.first[0])
    return frozenset(found)


def behaviour(fault: Fault | None, size: float) -> Behaviour:
    """What the second version is like: that of a bad release, or nearly the first one."""
    like = replace(GOOD, weights=(2.25, -1.95, 1.02, 0.78, 0.0))
    if fault == "wrong_model":
        return replace(GOOD, weights=(2.3 * (0.6 - size), -0.2, 1.6, 1.4, 0.0), offset=0.5)
    if fault == "turned_answers":
        return replace(like, weights=tuple(-one for one in like.weights))
    if fault == "misread_feature":
        return replace(like, reads={"income": 0.5 - 0.4 * size, "debt": 1.0 + size})
    if fault == "slow_release":
        return replace(like, slower=2.0 + 2.0 * size)
    if fault == "failing_release":
        return replace(like, fails=0.04 + 0.2 * size)
    return like


def amount(scenario: Scenario, at: float, usual: float, rng: np.random.Generator) -> int:
    """How many events come in a step in which `usual` do usually."""
    ill = active(scenario, at)
    if "silence" in ill and at < scenario.onset + 12.0:
        return 0
    more = (2.6 + 2.0 * scenario.size) if "surge" in ill else 1.0
    return int(rng.poisson(usual * more * (1.0 + scenario.wobble * np.sin(at))))


def rows(
    scenario: Scenario,
    serving: Behaviour,
    arrangement: Arrangement,
    rng: np.random.Generator,
    times_us: npt.NDArray[np.int64],
    at: float,
    window_us: float,
) -> Rows:
    """What is logged about people who came at these times."""
    ill, size, count = active(scenario, at), scenario.size, len(times_us)
    who = people(scenario, at)
    true = who.draw(rng, count)
    seen = _broken(true, ill, size, rng)
    seen = {name: values * serving.reads.get(name, 1.0) for name, values in seen.items()}
    for name, value in arrangement.imputed.items():
        seen[name] = np.full(count, np.nan if value is None else value)
    scores = serving.score(seen)
    if arrangement.constant is not None:
        scores = np.full(count, arrangement.constant)
    failing, slower = service(scenario, at, serving)
    failed = rng.random(count) < failing
    labels = who.outcomes(rng, true)
    delays = rng.exponential(scenario.label_delay * window_us, count).astype(np.int64) + 1_000
    return Rows(
        times_us=times_us,
        features=seen,
        scores=np.where(failed, np.nan, scores),
        predictions=np.where(failed, np.nan, (scores >= 0.5).astype(np.float64)),
        latencies_ms=latencies(slower, count, rng),
        failed=failed,
        labels=labels,
        label_times_us=times_us + delays,
    )


def service(scenario: Scenario, at: float, serving: Behaviour) -> tuple[float, float]:
    """Which share of the requests to a version fails at a moment, and how many times longer than usual they take."""
    ill, size = active(scenario, at), scenario.size
    failing = FAILS + serving.fails + ((0.04 + 0.2 * size) if "errors" in ill else 0.0)
    return failing, serving.slower * ((2.0 + 2.0 * size) if "latency" in ill else 1.0)


def latencies(slower: float, count: int, rng: np.random.Generator) -> Floats:
    """How long requests take, in milliseconds."""
    return rng.lognormal(np.log(_LATENCY_MS * slower), 0.35, count)


def told_labels(scenario: Scenario, at: float, labels: Floats, rng: np.random.Generator) -> Floats:
    """Labels as they come at a moment; NaN: it does not come now."""
    ill = active(scenario, at)
    if "labels_flipped" in ill:
        wrong = rng.random(len(labels)) < 0.85 + 0.15 * scenario.size
        return np.where(wrong, 1 - labels, labels)
    if "labels_one_class" in ill:
        return np.zeros(len(labels))
    if "labels_late" in ill:
        return np.where((labels == 1) & (rng.random(len(labels)) < 0.9 + 0.1 * scenario.size), np.nan, labels)
    return labels


def _broken(
    true: Mapping[str, Floats], ill: frozenset[Fault], size: float, rng: np.random.Generator
) -> dict[str, Floats]:
    seen, count = dict(true), len(true["income"])
    if "unit" in ill:
        factor, name = ((1_000.0, "income"), (0.01, "debt"), (12.0, "age"))[int(size * 2.999)]
        seen[name] = seen[name] * factor
    if "rotation" in ill:
        turned = {"income": "debt", "debt": "age", "age": "income"}
        seen |= {name: true[other] for name, other in turned.items()}
    if "missing" in ill:
        lost = rng.random(count) < 0.15 + 0.85 * size
        name = FEATURES[int(size * 100) % len(FEATURES)]
        seen[name] = np.where(lost, np.nan, seen[name])
    if "constant" in ill:
        name = FEATURES[int(size * 100) % len(FEATURES)]
        seen[name] = np.full(count, _STUCK[name] if size > 0.5 else 0.0)
    return seen
