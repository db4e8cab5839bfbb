"""On how many partitions models live, and a word where that changes under their events."""

from collections.abc import Iterable

import structlog

from streams.control.configuration import Configuration

_log = structlog.get_logger()


class Spreads:
    """The spreads that one input partition has used."""

    def __init__(self, registered: Configuration, source: str) -> None:
        self._registered = registered
        self._source = source
        self._used: dict[str, int] = {}

    def use(self, models: Iterable[str]) -> None:
        """Events of these models are put on their partitions now. Where those are others than before, what was sent
        before is not found by what comes now."""
        for model in models:
            spread = self._registered.spread(model)
            before = self._used.setdefault(model, spread)
            if spread != before:
                self._used[model] = spread
                _log.warning(
                    "The spread of a model has changed while its events come. Labels of predictions from before, and "
                    "events that are sent again, look in the new partition and find nothing there.",
                    model=model,
                    before=before,
                    now=spread,
                    source=self._source,
                )
