"""Is it the version that was released? What began with it, and was not there before it, is its doing."""

from detectors.values import Alert, AlertKind, Axis, MetricPoint
from remediation.causes.inputs import breaks
from remediation.causes.slower import worse_service
from remediation.causes.telling import ago, count, hypothesis, told
from remediation.clock import US_PER_S, seconds
from remediation.config import DiagnosisConfig
from remediation.evidence import (
    OUTCOMES,
    RATES,
    Facts,
    Rate,
    Window,
    drop_z,
    is_plain,
    not_seen_again,
    rate,
    strongest,
)
from remediation.facets import of_operation, of_traffic
from remediation.values import Hypothesis

_INPUTS: tuple[AlertKind, ...] = ("data_drift", "data_quality", "prediction_drift")
_LAST_WINDOWS = 3
_NO_RELEASE = 0.02
_HEALTHY_AFTER_RELEASE = 0.05
_NO_WORSE_Z = 2.0
"""Standard errors below which a version is no worse than the one before it."""
_AS_GOOD_Z = 1.0
_ENOUGH_LABELS = 0.5
"""Labelled rows of a version, of those of the last windows before it, from which on it can be called as good."""
_NO_CONSEQUENCE = -0.2
_PREDECESSOR_ILL = 0.15
_CLEARED = 0.05
_CONVICTED = 0.9
_EITHER = 0.7
"""Inputs that moved or broke with a release: whoever is asked has to know that it may be either."""
_OTHERS = "or others came at the very same time, and the rows do not tell the two apart"
_TRAFFIC = 0.3
_PARTLY = 0.65
"""A first window that moved by a smaller part of what the next one did was in order at its beginning."""
_SHARES = frozenset(
    {"ks", "score_ks", "missing_rate", "out_of_range_rate", "point_mass", "new_category_rate", "error_rate"}
)
"""Measures of a window that grow in proportion to the rows that are ill."""


def bad_release(facts: Facts, config: DiagnosisConfig) -> Hypothesis:
    release, before = facts.release(), facts.predecessor()
    if release is None or before is None:
        return hypothesis("bad_release", _NO_RELEASE, [f"version {facts.version} replaced no other version"])
    age_s = (facts.incident.change_us - release.at_us) / US_PER_S
    reasons = [f"version {facts.version} replaced version {before} {ago(age_s)}"]
    if facts.firing() and all(map(of_traffic, facts.firing())):
        return _of_traffic_alone(facts, release.at_us, config, reasons)
    if not _of_model(facts, *_INPUTS, *OUTCOMES):
        slower = worse_service(facts, before, config, reasons)
        if slower is not None:
            return slower
    said = facts.testimony
    if said is not None and said.clears:
        return hypothesis("bad_release", _CLEARED, [*reasons, *(f"but {each}" for each in said.sentences)])
    found = _by_windows(facts, before, config, reasons)
    if said is None or not said.sentences:
        return found
    if said.convicts:
        return hypothesis("bad_release", max(found.confidence, _CONVICTED), [*said.sentences, *found.reasons])
    if said.began == "with":
        broken = breaks(facts, config)
        either = f"or what arrives broke at the very same time: {told(broken[0])}" if broken else _OTHERS
        return hypothesis(
            "bad_release", min(found.confidence, _EITHER), [*said.sentences, either, *found.reasons]
        )
    return hypothesis("bad_release", found.confidence, [*said.sentences, *found.reasons])


def _of_traffic_alone(
    facts: Facts, released_us: int, config: DiagnosisConfig, reasons: list[str]
) -> Hypothesis:
    """A version chooses not how many events come; but one that cannot be reached logs none."""
    if facts.incident.change_us < released_us:
        return hypothesis("bad_release", _CLEARED, [*reasons, "but the traffic had changed before"])
    if not near_release(facts, config):
        return hypothesis("bad_release", _CLEARED, [*reasons, "but events came as usual after its release"])
    return hypothesis(
        "bad_release", _TRAFFIC, [*reasons, "the traffic changed with it, and nothing else did"]
    )


def _by_windows(facts: Facts, before: str, config: DiagnosisConfig, reasons: list[str]) -> Hypothesis:
    """By what the windows of both versions say."""
    healthy = _healthy_windows_before_change(facts, before, config)
    if healthy >= config.healthy_windows:
        reasons.append(f"but it was in order for {count(healthy, 'window')} after its release")
        return hypothesis("bad_release", _HEALTHY_AFTER_RELEASE, reasons)
    partly = _ill_in_part(facts)
    if partly is not None:
        reasons.append(partly)
        healthy = max(healthy, 1)
    confidence = 0.15
    if healthy == 0:
        confidence += 0.3
        reasons.append("it was ill from its first window")
    well, sentence = _predecessor_was_well(facts, before)
    reasons.append(sentence)
    if well is False:
        return hypothesis("bad_release", _PREDECESSOR_ILL, reasons)
    confidence += 0.2 if well else 0.0
    weight, sentence = _worse_than_predecessor(facts, before, config)
    reasons.insert(0, sentence)
    confidence += weight
    if (doubt := not_seen_again(facts) or _faint(facts)) is not None:
        return hypothesis("bad_release", confidence / 2, [*reasons, doubt])
    return hypothesis("bad_release", confidence if healthy == 0 else confidence / 2, reasons)


def _faint(facts: Facts) -> str | None:
    """Inputs or answers that hardly moved, and of which nothing came: one of many windows does that by chance."""
    moved = _of_model(facts, *_INPUTS)
    if not moved or facts.firing(*OUTCOMES) or is_plain(moved):
        return None
    return (
        "but that is hardly more than chance brings now and then, and no label says that anything came of it"
    )


def _healthy_windows_before_change(facts: Facts, before: str, config: DiagnosisConfig) -> int:
    """Windows in order of the ill version that ended before the change, on the axis that has most of them.

    A window whose performance is already far below the predecessor's is not in order, whatever its verdict
    was: a sequential test can be slow to speak.
    """
    outcomes = facts.firing(*OUTCOMES)
    events = _of_model(facts, "data_drift", "data_quality") if outcomes else _of_model(facts, *_INPUTS)
    counts = [0]
    if outcomes:
        usual = _last(facts.windows(before, "label"))
        windows = _in_order_before(facts, "label", outcomes)
        counts.append(sum(not _much_worse([each], usual, config) for each in windows))
    if events:
        counts.append(len(_in_order_before(facts, "event", events)))
    return max(counts)


def _of_model(facts: Facts, *kinds: AlertKind) -> list[Alert]:
    """Firing alerts of the model and its data, not of the operation around it."""
    return [each for each in facts.firing(*kinds) if not of_operation(each)]


def _in_order_before(facts: Facts, axis: Axis, alerts: list[Alert]) -> list[Window]:
    """Measured windows that ended before the change, as long as nothing that the alerts name was in
    breach."""
    change_us = min(each.change_us for each in alerts)
    named = {(each.measure, each.feature) for alert in alerts for each in alert.evidence}
    found: list[Window] = []
    for window in facts.windows(facts.version, axis, until_us=change_us):
        if any(
            point.verdict == "breach" and (point.measure, point.feature) in named for point in window.points
        ):
            break
        if window.measured:
            found.append(window)
    return found


def _much_worse(after: list[Window], before: list[Window], config: DiagnosisConfig) -> bool:
    for measure in RATES:
        was, now = rate(before, measure), rate(after, measure)
        if was is not None and now is not None:
            return drop_z(was, now) >= config.min_drop_z
    return False


def _predecessor_was_well(facts: Facts, before: str) -> tuple[bool | None, str]:
    """Was the previous version in order at its end? By what was told of it, by labels where there are any, else by its
    inputs."""
    release = facts.release()
    told_of_it = [
        each
        for each in facts.firing(version=before)
        if not of_operation(each) and release is not None and each.change_us < release.at_us
    ]
    if told_of_it:
        return False, f"version {before} was ill before it was replaced: {told_of_it[0].reason}"
    labelled = _last([each for each in facts.windows(before, "label") if each.measured])
    if labelled:
        ill = any(each.in_breach for each in labelled)
        state = "was ill, too, in" if ill else "was in order in"
        return not ill, f"version {before} {state} its last {count(len(labelled), 'window')} of labels"
    alerts = facts.firing(*_INPUTS)
    named = {(each.measure, each.feature) for alert in alerts for each in alert.evidence}
    seen = _last([each for each in facts.windows(before, "event") if each.measured])
    if not seen:
        return None, f"version {before} left no measured window to compare with"
    ill = any(
        point.verdict == "breach" and (point.measure, point.feature) in named
        for each in seen
        for point in each.points
    )
    state = "showed the same" if ill else "showed nothing of it"
    return not ill, f"version {before} {state} in its last {count(len(seen), 'window')} of inputs"


def _worse_than_predecessor(facts: Facts, before: str, config: DiagnosisConfig) -> tuple[float, str]:
    usual = _last(facts.windows(before, "label"))
    if not facts.firing(*OUTCOMES):
        named = strongest(facts.firing(*_INPUTS))
        first = f"against its own reference: {told(named[0]) if named else facts.incident.summary}"
        as_good = _as_good(facts, usual)
        return (0.2, first) if as_good is None else (_NO_CONSEQUENCE, f"{first}; but {as_good}")
    for measure in RATES:
        was, now = rate(usual, measure), _ill_rate(facts, measure)
        if was is None or now is None:
            continue
        z = drop_z(was, now)
        sentence = (
            f"{measure} of version {facts.version} is {now.value:.3f} on {now.rows:,} labelled rows, "
            f"version {before} had {was.value:.3f} on its last {was.rows:,} ({z:.1f} standard errors)"
        )
        return (0.3 if z >= config.min_drop_z else -0.1 if z >= _NO_WORSE_Z else -0.35), sentence
    return 0.1, f"performance: {facts.firing('performance')[-1].reason}"


def _as_good(facts: Facts, usual: list[Window]) -> str | None:
    """That labels say nothing against the version although they have come; None where they do, or are few."""
    own = facts.windows(facts.version, "label")
    for measure in RATES:
        was, now = rate(usual, measure), rate(own, measure)
        if was is None or now is None or now.rows < _ENOUGH_LABELS * was.rows:
            continue
        if drop_z(was, now) >= _AS_GOOD_Z:
            return None
        return f"its {measure} is {now.value:.3f} on {now.rows:,} labelled rows, and was {was.value:.3f} before it"
    return None


def _ill_rate(facts: Facts, measure: str) -> Rate | None:
    """The ill version's rate since the change, from its windows, or from the alert when it was faster than
    they."""
    performance = facts.firing(*OUTCOMES)
    change_us = min(each.change_us for each in performance)
    since = [each for each in facts.windows(facts.version, "label") if each.end_us > change_us]
    found = rate(since, measure)
    if found is not None:
        return found
    told = next((each for each in strongest(performance) if each.measure == measure), None)
    return Rate(measure=measure, value=told.value, rows=told.rows) if told else None


def near_release(facts: Facts, config: DiagnosisConfig) -> bool:
    """Whether the change began near a release."""
    release = facts.release()
    reach_us = max(seconds(config.release_s), 2 * facts.span_us)
    return release is not None and abs(facts.incident.change_us - release.at_us) <= reach_us


def _ill_in_part(facts: Facts) -> str | None:
    """A release makes all rows of its first window ill. Where that window has moved by only a part of what the next one
    did, the change came later."""
    named = {(one.measure, one.feature) for alert in facts.firing(*_INPUTS) for one in alert.evidence}
    found = [each for each in facts.windows(facts.version, "event") if each.in_breach]
    measured = [each for each in facts.windows(facts.version, "event") if each.measured]
    if not found or measured[:1] != found[:1] or len(measured) < 2:
        return None
    first, later = _by_name(measured[0]), _by_name(measured[1])
    pairs = [
        (first[name], later[name])
        for name in first.keys() & later.keys()
        if name[0] in _SHARES and (name in named or later[name].verdict == "breach")
    ]
    grown = max(pairs, key=lambda pair: _moved(pair[1]), default=None)
    if grown is None or _moved(grown[1]) <= 0 or _moved(grown[0]) >= _PARTLY * _moved(grown[1]):
        return None
    first_point, later_point = grown
    subject = (
        f"{first_point.measure} of {first_point.feature}" if first_point.feature else first_point.measure
    )
    return (
        f"but its first window was ill in part only ({subject} {first_point.value:.3g}, then {later_point.value:.3g}): "
        "it began after the release"
    )


def _by_name(window: Window) -> dict[tuple[str, str | None], MetricPoint]:
    return {(each.measure, each.feature): each for each in window.points if each.value is not None}


def _moved(point: MetricPoint) -> float:
    return (point.value or 0.0) - (point.reference or 0.0)


def _last(windows: list[Window]) -> list[Window]:
    return windows[-_LAST_WINDOWS:]
