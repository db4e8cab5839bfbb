"""How a model answers now: the decided version and everything beside it, as one value that is swapped as a whole."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from homeostat.keys import keys_of
from remediation.values import Arrangement, Desired
from serving.loading import Loaded
from serving.model_errors import ArrangementRefused

_ALL = 1.0 - 1e-9
"""Shares that come to so much are everything: tenths do not add up to one in floating point."""

_PLAIN = Arrangement()

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Voice:
    """A version that answers or shadows, and where its features stand in the decided version's rows (None: just
    there)."""

    loaded: Loaded
    columns: npt.NDArray[np.intp] | None = None

    def rows_of(self, matrix: Floats32) -> Floats32:
        """The rows as this version takes them."""
        return matrix if self.columns is None else matrix[:, self.columns]


@dataclass(frozen=True, kw_only=True)
class Served:
    """What answers a model's requests. A request takes it once and keeps it. `epoch` 0: nobody has decided yet, and the
    registry's champion serves. `imputed`: column of the decided version, and the value that takes the place of what
    was sent (NaN: as if missing)."""

    decided: Voice
    epoch: int = 0
    arrangement: Arrangement = _PLAIN
    reason: str = ""
    shares: tuple[tuple[Voice, float], ...] = ()
    shadows: tuple[Voice, ...] = ()
    imputed: tuple[tuple[int, float], ...] = ()

    @property
    def model(self) -> str:
        """The model's name."""
        return self.decided.loaded.model

    @property
    def features(self) -> tuple[str, ...]:
        """What a request must name."""
        return self.decided.loaded.onnx.features

    @property
    def told(self) -> dict[str, Any]:
        """The arrangement for people: what differs from none."""
        content: dict[str, Any] = msgspec.to_builtins(self.arrangement)
        return {name: value for name, value in content.items() if value != {}}

    @property
    def versions(self) -> list[Loaded]:
        """Every version in memory, the decided one first."""
        voices = [self.decided, *(voice for voice, _ in self.shares), *self.shadows]
        return list({voice.loaded.version: voice.loaded for voice in voices}.values())

    @property
    def answering(self) -> list[Loaded]:
        """The versions whose answers requests get."""
        return [self.decided.loaded, *(voice.loaded for voice, _ in self.shares)]

    @cached_property
    def _bounds(self) -> npt.NDArray[np.float64]:
        bounds = np.cumsum([share for _, share in self.shares])
        return np.where(bounds > _ALL, 1.0, bounds)

    def with_imputed(self, matrix: Floats32) -> Floats32:
        """The rows as versions score them; what was sent stays as it is."""
        if not self.imputed:
            return matrix
        changed = matrix.copy()
        for column, value in self.imputed:
            changed[:, column] = value
        return changed

    def split(self, ids: Sequence[str]) -> list[tuple[Voice, npt.NDArray[np.intp] | None]]:
        """Which version answers which of the rows (None: all). An id always meets the same version while the shares
        stay as they are, and when the share of the only other version grows, the ids that had it keep it: an id is
        a point in [0, 1) by the hash of model and id, and versions, by name, take the interval from 0 upwards.
        """
        if not self.shares:
            return [(self.decided, None)]
        hashes = keys_of(f"{self.model}\x1f{id}" for id in ids)
        points = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
        places = np.searchsorted(self._bounds, points, side="right")
        voices = [*(voice for voice, _ in self.shares), self.decided]
        found = ((voice, np.flatnonzero(places == place)) for place, voice in enumerate(voices))
        return [(voice, rows) for voice, rows in found if len(rows)]


def wanted(desired: Desired) -> dict[str, str]:
    """Every version that the decision names, with its digest. Raises `ArrangementRefused` for one without."""
    arrangement = desired.arrangement
    found = {desired.version: desired.digest}
    for version in (*arrangement.shares, *arrangement.shadows):
        if version == desired.version:
            raise ArrangementRefused(
                f"version {version} is the decided one and cannot be named beside itself"
            )
        digest = arrangement.digests.get(version)
        if not digest:
            raise ArrangementRefused(
                f"version {version} is named without a digest; no bytes could be checked"
            )
        found[version] = digest
    return found


def arranged(desired: Desired, versions: Mapping[str, Loaded]) -> Served:
    """The decision with the versions that it names. A feature that is imputed and that the version does not take needs
    no replacing. Raises `ArrangementRefused` where the versions do not fit together."""
    arrangement = desired.arrangement
    _check(arrangement)
    decided = versions[desired.version]
    names = decided.onnx.features
    return Served(
        decided=Voice(decided),
        epoch=desired.epoch,
        arrangement=arrangement,
        reason=desired.reason,
        shares=tuple(
            (_beside(decided, versions[version]), share)
            for version, share in sorted(arrangement.shares.items())
        ),
        shadows=tuple(_beside(decided, versions[version]) for version in arrangement.shadows),
        imputed=tuple(
            (names.index(name), math.nan if value is None else value)
            for name, value in arrangement.imputed.items()
            if name in names
        ),
    )


def _check(arrangement: Arrangement) -> None:
    if arrangement.replicas is not None:
        raise ArrangementRefused(
            f"replicas: {arrangement.replicas} cannot be brought about by an inference server: whoever starts the "
            "servers says how many there are"
        )
    wrong = {version: share for version, share in arrangement.shares.items() if not 0.0 < share <= 1.0}
    if wrong:
        raise ArrangementRefused(f"shares: {wrong} must be more than 0 and at most 1")
    total = math.fsum(arrangement.shares.values())
    if total > 1.0 + 1e-9:
        raise ArrangementRefused(f"shares: come to {total:g}; at most 1 is there to share")
    if arrangement.constant is not None and not 0.0 <= arrangement.constant <= 1.0:
        raise ArrangementRefused(f"constant: {arrangement.constant} is no score; it must be from 0 to 1")


def _beside(decided: Loaded, other: Loaded) -> Voice:
    if other.onnx.features == decided.onnx.features:
        return Voice(other)
    places = {name: place for place, name in enumerate(decided.onnx.features)}
    absent = [name for name in other.onnx.features if name not in places]
    if absent:
        raise ArrangementRefused(
            f"version {other.version} takes the features {absent}, which requests to version {decided.version} "
            "do not have"
        )
    return Voice(other, np.array([places[name] for name in other.onnx.features], dtype=np.intp))
