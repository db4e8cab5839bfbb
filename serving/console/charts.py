"""Small line charts as SVG, drawn on the server: no script, no library, and a table behind each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from detectors.values import MetricPoint
from remediation.causes.telling import count
from serving import words

_LEAST_SPAN = 0.05
"""So that noise of a percent does not look like an alarm."""
_LATE = 0.85
"""A label right of this share of the width ends at its mark instead of beginning there."""


@dataclass(frozen=True, slots=True)
class Size:
    """In user units; a pixel each at 100 %."""

    width: int
    height: int
    margin: int
    labelled: bool


SPARK = Size(width=220, height=56, margin=6, labelled=False)
LARGE = Size(width=720, height=220, margin=34, labelled=True)


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of one measure, its newest values, and the points for the table behind it."""

    name: str
    svg: Markup
    latest: str
    reference: str
    breach: bool
    points: Sequence[MetricPoint]


def draw(
    measure: str, points: Sequence[MetricPoint], size: Size, marks: Sequence[tuple[int, str]] = ()
) -> Chart | None:
    """One measure over time; None without a value. `marks` are moments (microseconds) to be named."""
    shown = [point for point in points if point.value is not None]
    if not shown:
        return None
    newest = shown[-1]
    name = words.measure(measure)
    latest, reference = words.number(measure, newest.value), words.number(measure, newest.reference)
    told = _description(name, latest, reference, shown)
    svg = Markup(
        '<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{told}">'
        "<title>{name}</title><desc>{told}</desc>{body}</svg>"
    ).format(
        kind="large" if size.labelled else "spark",
        width=size.width,
        height=size.height,
        name=name,
        told=told,
        body=Markup("").join(_body(measure, shown, size, marks)),
    )
    return Chart(name, svg, latest, reference, newest.verdict == "breach", shown)


def _description(name: str, latest: str, reference: str, points: Sequence[MetricPoint]) -> str:
    breaches = sum(point.verdict == "breach" for point in points)
    versions = list(dict.fromkeys(point.version for point in points))
    return (
        f"{name} is {latest} in the newest of {count(len(points), 'window')} shown, {reference} in the reference; "
        f"{breaches} of them crossed the threshold. Versions: {', '.join(versions)}."
    )


class _Scale:
    def __init__(self, points: Sequence[MetricPoint], size: Size, marks: Sequence[tuple[int, str]]) -> None:
        times = [point.end_us for point in points] + [at_us for at_us, _ in marks]
        values = [value for point in points for value in (point.value, point.threshold) if value is not None]
        self._first, self._last = min(times), max(times)
        middle, span = (min(values) + max(values)) / 2, max(max(values) - min(values), _LEAST_SPAN) * 1.1
        self.low, self.high = middle - span / 2, middle + span / 2
        if max(values) <= 1 < self.high:
            self.high = 1.0
        self._size = size

    def x(self, time_us: int) -> float:
        size = self._size
        share = (time_us - self._first) / (self._last - self._first) if self._last > self._first else 1.0
        left = size.margin + (14 if size.labelled else 0)
        return round(left + share * (size.width - size.margin - left), 1)

    def y(self, value: float) -> float:
        size = self._size
        share = (value - self.low) / (self.high - self.low)
        return round(size.height - size.margin - share * (size.height - 2 * size.margin), 1)


def _body(
    measure: str, points: Sequence[MetricPoint], size: Size, marks: Sequence[tuple[int, str]]
) -> list[Markup]:
    scale = _Scale(points, size, marks)
    parts = [*_grid(measure, scale, size)] if size.labelled else []
    limits = [(scale.x(p.end_us), scale.y(p.threshold)) for p in points if p.threshold is not None]
    parts.append(_line("limit", limits))
    parts += _versions(points, scale, size)
    for place, (at_us, label) in enumerate(marks):
        x = scale.x(at_us)
        parts.append(_rule("mark", x, size))
        late = x > size.width * _LATE
        below = size.height - size.margin + 12 + 11 * (place % 2)
        parts.append(_text("mark-name end" if late else "mark-name", x, below, label))
    for point in points:
        x, y = scale.x(point.end_us), scale.y(point.value or 0.0)
        if point.verdict == "breach":
            shape = Markup('<path class="breach" d="M{} {}l4 4l-4 4l-4 -4z"/>').format(x, round(y - 4, 1))
            parts.append(shape)
        elif size.labelled or point is points[-1]:
            parts.append(Markup('<circle class="dot" cx="{}" cy="{}" r="2.5"/>').format(x, y))
    return parts


def _versions(points: Sequence[MetricPoint], scale: _Scale, size: Size) -> list[Markup]:
    """A line per run of one version, and a rule where another one took over. A single window in between is a late
    one of the version before, and no takeover."""
    parts: list[Markup] = []
    known: list[str] = []
    shown, before = "", points[0]
    for version, group in groupby(points, key=lambda point: point.version):
        run = list(group)
        if version not in known:
            known.append(version)
        if version != shown and (len(run) > 1 or not shown):
            x = (scale.x(before.end_us) + scale.x(run[0].end_us)) / 2
            if shown:
                parts.append(_rule("release", x, size))
            if shown or size.labelled:
                parts.append(_text("release-name", x + 3, size.margin - 3, f"v{version}"))
            shown = version
        places = [(scale.x(point.end_us), scale.y(point.value or 0.0)) for point in run]
        parts.append(_line(f"line l{known.index(version) % 4}", places))
        before = run[-1]
    return parts


def _grid(measure: str, scale: _Scale, size: Size) -> list[Markup]:
    parts: list[Markup] = []
    for share in (0.0, 0.5, 1.0):
        value = scale.low + share * (scale.high - scale.low)
        y = scale.y(value)
        parts.append(
            Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
                size.margin + 14, y, size.width - size.margin, y
            )
        )
        parts.append(_text("axis", 0, y + 4, words.number(measure, value)))
    return parts


def _line(kind: str, places: Sequence[tuple[float, float]]) -> Markup:
    path = " ".join(f"{x},{y}" for x, y in places)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def _rule(kind: str, x: float, size: Size) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        kind, x, size.margin, x, size.height - size.margin
    )


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        kind, round(x, 1), round(y, 1), escape(text)
    )
