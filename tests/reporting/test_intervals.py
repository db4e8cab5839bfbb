"""How sure a measure is, where a report tells it."""

from detectors.values import MetricPoint
from reporting.measures import deltas, series


def _accuracy(window: int, value: float, low: float | None, high: float | None) -> MetricPoint:
    return MetricPoint(
        id=str(window),
        model="m",
        version="1",
        axis="label",
        window=str(window),
        start_us=window,
        end_us=window + 1,
        rows=500,
        measure="accuracy",
        value=value,
        low=low,
        high=high,
    )


def test_the_newest_window_tells_how_sure_it_is() -> None:
    points = [_accuracy(1, 0.91, 0.88, 0.94), _accuracy(2, 0.93, 0.90, 0.95)]
    (told,) = deltas(series(points))
    assert (told.low, told.high) == (0.90, 0.95)


def test_without_an_interval_nothing_is_made_up() -> None:
    (told,) = deltas(series([_accuracy(1, 0.91, None, None)]))
    assert (told.low, told.high) == (None, None)
