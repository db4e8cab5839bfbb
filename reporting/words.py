"""How numbers, times and names are told to a person."""

from datetime import UTC, datetime

from detectors.names import MEASURE_NAMES
from reporting.values import Light

LIGHTS: dict[Light, tuple[str, str]] = {
    "ok": ("●", "Healthy"),
    "watch": ("▲", "Watch"),
    "act": ("■", "Act"),
    "none": ("○", "No data"),
}
"""A shape and a word for each light, so that nothing rests on its colour."""

_DISTANCES = frozenset(
    {"psi", "ks", "score_psi", "score_ks", "class_psi", "prediction_psi", "prediction_ks", "r2"}
)
_SCORES = ("brier", "log_loss", "calibration_error", "calibration_slope", "calibration_intercept")
_AMOUNTS = frozenset(
    {
        "mae",
        "rmse",
        "bias",
        "quantile_loss_0.1",
        "quantile_loss_0.9",
        "estimation_error",
        "absolute_error_gap",
        "excess_absolute_error",
        "unit_change",
        *_SCORES,
    }
    | {"misaligned_columns", "constant_column", "vanished_category"}
    | {"latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "event_age_s", "events"}
)
"""In units of their own, their estimates too."""


def measure(name: str) -> str:
    """A measure's name in a table."""
    return MEASURE_NAMES.get(name, name.replace("_", " ").capitalize())


def number(name: str, value: float | None) -> str:
    """A measure's value: shares in percent, distances with two decimals, amounts in the label's own unit."""
    if value is None:
        return "–"
    if name.removeprefix("estimated_") in _AMOUNTS:
        return f"{value:.4g}"
    return f"{value:.2f}" if name in _DISTANCES else percent(value)


def percent(value: float | None) -> str:
    """A share in percent, one decimal."""
    return "–" if value is None else f"{value * 100:.1f} %"


def points(value: float) -> str:
    """A difference of two shares, in percentage points with its sign."""
    return f"{value * 100:+.1f} pp".replace("-", "−")


def state(name: str) -> str:
    """`awaiting_approval` as "Awaiting approval"."""
    return name.replace("_", " ").capitalize()


def moment(time_us: int | None) -> str:
    """2026-11-21 12:05:09, in UTC."""
    return "–" if time_us is None else f"{at(time_us):%Y-%m-%d %H:%M:%S}"


def at(time_us: int) -> datetime:
    """As a datetime in UTC."""
    return datetime.fromtimestamp(time_us / 1e6, UTC)


def duration(seconds: float | None) -> str:
    """The two largest units of a time: 4.2 s, 3 min 5 s, 2 h 10 min, 6 d 3 h."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for size, name, smaller, smaller_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")


def count(many: int, one: str, several: str | None = None) -> str:
    """1 incident, 1,200 incidents."""
    return f"{many:,} {one if many == 1 else several or one + 's'}"
