"""Where the rows around a release come from: the archive, scored once more by the version before."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
import structlog

from remediation.clock import seconds
from remediation.evidence import Facts, of_model
from remediation.ports import Archive, Registry, Scorer
from remediation.requests import ServiceSaid, weigh_requests
from remediation.tenures import scores_only
from remediation.testimony import Both, Floats, Testimony, weigh
from remediation.values import Desired

log = structlog.get_logger()

_DECISION = 0.5
_SPANS = 4
"""Windows before the release."""
_LEAST_S = 60.0
_MOST_ROWS = 200_000
"""Rows that are read at most, at the pace of the alert's window."""
_EACH = 4_000
"""Rows of either version that are weighed; of more every so many-th."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Asks the archive and the registry. What it cannot have it does without, and says so in the log."""

    archive: Archive
    registry: Registry
    scorer: Scorer

    def heard(self, facts: Facts) -> Testimony:
        """What the rows around the release of the ill version say; nothing where there are none."""
        try:
            release, before = facts.release(), facts.predecessor()
            if release is None or before is None:
                return Testimony()
            said = self._heard(facts, release.at_us, before) if of_model(facts) else Testimony()
            if not facts.service():
                return said
            return msgspec.structs.replace(said, service=self._requests(facts, release.at_us, before))
        except Exception:
            log.exception(
                "The rows around a release could not be compared; it is diagnosed without them",
                incident=facts.incident.id,
                model=facts.incident.model,
            )
            return Testimony()

    def _requests(self, facts: Facts, released_us: int, before: str) -> ServiceSaid:
        frame = self.archive.requests(
            facts.incident.model,
            since_us=released_us - _reach_us(facts, _SPANS),
            until_us=min(facts.now_us, released_us + _reach_us(facts, _SPANS)),
        )
        versions = (before, facts.version)
        answered = [_answered(frame, version, facts.deployments) for version in versions]
        return weigh_requests(pd.concat(answered, ignore_index=True), versions)

    def _heard(self, facts: Facts, released_us: int, before: str) -> Testimony:
        frame = self.archive.labelled(
            facts.incident.model,
            since_us=released_us - _reach_us(facts, _SPANS),
            until_us=min(facts.now_us, released_us + _reach_us(facts, None)),
            known_until_us=facts.now_us,
        )
        rows = _thinned(frame, (before, facts.version), facts.deployments)
        if not len(rows):
            return Testimony()
        new = (rows["version"] == facts.version).to_numpy(bool)
        return weigh(
            Both(rows, new, self._again(facts.incident.model, before, rows)), (before, facts.version)
        )

    def _again(self, model: str, version: str, rows: pd.DataFrame) -> Floats | None:
        """What a version says of rows now; None where its inputs are not all on record, or answers are no classes."""
        registered = self.registry.version(model, version)
        if registered is None or not registered.features:
            return None
        columns = [f"f.{name}" for name in registered.features]
        classes = set(rows["label"].unique().tolist()) <= {0, 1}
        if not classes or not set(columns) <= set(rows.columns):
            return None
        inputs = rows.loc[:, columns].set_axis(list(registered.features), axis=1)
        scores = np.asarray(self.scorer.score(self.registry.onnx(model, version), inputs))
        return (scores >= _DECISION).astype(np.float64)


def _reach_us(facts: Facts, spans: int | None) -> int:
    """How far from the release rows are read: so many windows, at the pace of the alert's no more than `_MOST_ROWS`."""
    widest = max(facts.firing(), key=lambda each: each.end_us - each.start_us)
    span_us, least_us = max(widest.end_us - widest.start_us, 1), seconds(_LEAST_S)
    most_us = max(span_us * _MOST_ROWS // max(widest.rows, 1), least_us)
    return most_us if spans is None else min(max(spans * span_us, least_us), most_us)


def _thinned(frame: pd.DataFrame, versions: tuple[str, str], deployments: Sequence[Desired]) -> pd.DataFrame:
    """Some of the rows of both versions, in order of time."""
    kept: list[pd.DataFrame] = []
    for version in versions:
        rows = _answered(frame, version, deployments)
        kept.append(rows.iloc[:: max(len(rows) // _EACH, 1)])
    return pd.concat(kept).sort_values("time_us", kind="stable", ignore_index=True)


def _answered(frame: pd.DataFrame, version: str, deployments: Sequence[Desired]) -> pd.DataFrame:
    """The rows that a version answered; what it only scored beside another one says nothing of a release."""
    starts_us = np.array([each.at_us for each in deployments], dtype=np.int64)
    rows = frame.loc[frame["version"] == version]
    beside = [False, *(scores_only(each, version) for each in deployments)]
    places = np.searchsorted(starts_us, rows["time_us"].to_numpy(np.int64), side="right")
    return rows.loc[~np.array(beside)[places]]
