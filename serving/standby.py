"""Versions that served a moment ago stay in memory: going back to one of them waits for no registry."""

from collections.abc import Iterable

from serving.loading import Loaded

VERSIONS = 2
"""So many versions of a model stay beside those that serve: the one before a release, and a canary sent home."""


class Standby:
    """What is kept of each model, the latest first. Only bytes whose digest was checked come here, and they are found
    by it.

    versions: how many of a model at most; 0 keeps none.
    """

    def __init__(self, versions: int = VERSIONS) -> None:
        self._versions = versions
        self._kept: dict[str, list[Loaded]] = {}

    def find(self, model: str, version: str, digest: str) -> Loaded | None:
        """The version with these bytes, if it is kept."""
        kept = self._kept.get(model, [])
        return next((each for each in kept if (each.version, each.digest) == (version, digest)), None)

    def swapped(self, model: str, before: Iterable[Loaded], now: Iterable[Loaded]) -> None:
        """Take note of a change of what serves: what left stays at hand, what came is no longer kept beside it."""
        serving = {(each.version, each.digest) for each in now}
        kept: dict[tuple[str, str], Loaded] = {}
        for each in (*before, *self._kept.get(model, [])):
            kept.setdefault((each.version, each.digest), each)
        ordered = [each for key, each in kept.items() if key not in serving]
        self._kept[model] = ordered[: self._versions]
