"""A backtest as one HTML file that needs nothing else: incidents, and measures as drawings that know light and dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reporting import words

WIDTH = 1000
"""Units of a drawing from side to side, however wide the screen is; its height is in pixels."""
HEIGHT = 136
_TOP = 8
_TICKS = 5
_LOG = "_evidence"
"""Measures that go over many powers of ten."""
_STRIP = 34
_NAMED = 17
"""Pixels of a row of the time line, and of them those above its bars, for its name."""
_KINDS = {
    "volume": "Volume",
    "data_quality": "Data quality",
    "data_drift": "Data drift",
    "prediction_drift": "Prediction drift",
    "estimated_performance": "Estimated performance",
    "concept_drift": "Concept drift",
    "performance": "Performance",
}


class Sample(Protocol):
    """A measure at a window that ends before `row`."""

    @property
    def row(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def breach(self) -> bool: ...


class Line(Protocol):
    """A measure over all windows."""

    @property
    def measure(self) -> str: ...
    @property
    def feature(self) -> str | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def axis(self) -> str: ...
    @property
    def samples(self) -> Sequence[Sample]: ...


class Drawing(NamedTuple):
    """An SVG with its labels, its title, and what it shows in words."""

    title: str
    svg: str
    note: str


def backtest_page(found: Mapping[str, Any], lines: Sequence[Line], title: str) -> str:
    """The page of a backtest.

    found: `Backtest.as_dict()`. lines: what is drawn, most telling first. title: what was looked at.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(kind=_kind, amount=amount, percent=percent)
    first, last = _span(found)
    incidents = found["incidents"]
    return environment.get_template("backtest.html.j2").render(
        found=found,
        title=title,
        timeline=_timeline(incidents, first, last),
        drawings=[_drawing(line, incidents, first, last) for line in lines],
        estimates=_estimates(found["estimates"], incidents, first, last),
        pairs=_pairs,
        open_count=sum(one["closed_row"] is None and not one["further"] for one in incidents),
    )


def _kind(name: str) -> str:
    return _KINDS.get(name, words.measure(name))


def amount(value: float | None) -> str:
    """A number as short as it can be told."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.0f}" if size >= 1_000 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share of rows; a dash where there are none."""
    return "–" if share is None else f"{100 * share:.1f} %"


class Pair(NamedTuple):
    """An answer to rows of one truth: how many, and their share of all rows of this truth, here and in the
    reference."""

    rows: int
    share: float | None
    before: float | None
    right: bool


class PairLine(NamedTuple):
    """An answer beside each truth."""

    name: str
    cells: list[Pair]


def _pairs(confusion: Mapping[str, Any]) -> list[PairLine]:
    counts, before, names = confusion["counts"], confusion["reference"], confusion["classes"]
    places = range(len(names))
    # Many classes are one there: nobody knows whether the answer was the true one.
    mixed = places[-1] if names[-1] == "other" else None
    of, of_before = ([sum(line[j] for line in each) for j in places] for each in (counts, before))
    return [
        PairLine(
            names[i],
            [
                Pair(
                    counts[i][j],
                    counts[i][j] / of[j] if of[j] else None,
                    before[i][j] / of_before[j] if of_before[j] else None,
                    i == j != mixed,
                )
                for j in places
            ],
        )
        for i in places
    ]


def _span(found: Mapping[str, Any]) -> tuple[int, int]:
    return found["first_row"], found["first_row"] + found["rows"]


def _x(row: float, first: int, last: int) -> float:
    share = (row - first) / max(last - first, 1)
    return min(max(share, 0.0), 1.0) * WIDTH


def _timeline(incidents: Sequence[Mapping[str, Any]], first: int, last: int) -> str:
    """A bar for each incident, a row for each kind."""
    kinds = [kind for kind in _KINDS if any(one["kind"] == kind for one in incidents)]
    parts: list[str] = []
    labels = _row_ticks(first, last)
    for place, kind in enumerate(kinds):
        y = place * _STRIP + _NAMED
        for one in incidents:
            if one["kind"] != kind:
                continue
            start = _x(one["change_row"], first, last)
            end = _x(last if one["closed_row"] is None else one["closed_row"], first, last)
            mark = _x(one["opened_row"], first, last)
            if not one["further"]:
                parts.append(
                    f'<rect class="bar" x="{start:.1f}" y="{y}" width="{max(end - start, 2):.1f}" height="12"/>'
                )
            parts.append(f'<path class="told" d="M{mark:.1f} {y - 1}v14"/>')
        labels.append(f'<span class="name" style="top:{place * _STRIP}px">{_KINDS[kind]}</span>')
    alt = "When each incident began and ended, by kind"
    return _plot(_STRIP * len(kinds), alt, parts, labels) if kinds else ""


def _drawing(line: Line, incidents: Sequence[Mapping[str, Any]], first: int, last: int) -> Drawing:
    log = line.measure.endswith(_LOG)
    kind = line.measure.removesuffix(_LOG) if log else line.kind
    name = f"Evidence of {_KINDS.get(str(kind), str(kind)).lower()}" if log else words.measure(line.measure)
    if line.feature:
        name += f" of {line.feature}"
    mine = [one for one in incidents if one["kind"] == kind]
    values = [sample.value for sample in line.samples]
    limits = [sample.threshold for sample in line.samples if sample.threshold is not None]
    scale = _Scale.of([*values, *limits], log)
    parts = [*_bands(mine, first, last), *_rules(scale)]
    parts.append(_path("limit", [(s.row, s.threshold) for s in line.samples], scale, first, last))
    parts.append(_path("line", [(s.row, s.value) for s in line.samples], scale, first, last))
    parts += [
        f'<path class="breach" d="M{_x(s.row, first, last):.1f} {scale.y(s.value):.1f}h.01"/>'
        for s in line.samples
        if s.breach
    ]
    breaches = sum(sample.breach for sample in line.samples)
    ranges = f"from {amount(min(values, default=None))} to {amount(max(values, default=None))}"
    note = f"{words.count(len(values), 'window')}, {ranges}; {words.count(breaches, 'breach', 'breaches')}"
    return Drawing(name, _plot(HEIGHT, f"{name}: {note}", parts, _labels(scale, first, last)), note)


def _estimates(
    estimates: Sequence[Mapping[str, Any]], incidents: Sequence[Mapping[str, Any]], first: int, last: int
) -> list[Drawing]:
    """Estimated performance with its interval, and what turned out."""
    found: list[Drawing] = []
    mine = [one for one in incidents if one["kind"] in ("estimated_performance", "performance")]
    for measure in dict.fromkeys(one["measure"] for one in estimates):
        told = [one for one in estimates if one["measure"] == measure and one["segment"] == "all"]
        keys = ("estimated", "low", "high", "realized")
        values = [one[key] for one in told for key in keys if one[key] is not None]
        if not values:
            continue
        scale = _Scale.of(values, log=False)
        parts = [*_bands(mine, first, last), *_rules(scale)]
        for key, style in (("low", "bound"), ("high", "bound"), ("realized", "real"), ("estimated", "line")):
            parts.append(_path(style, [(one["end_row"], one[key]) for one in told], scale, first, last))
        known = [one for one in told if one["realized"] is not None and one["estimated"] is not None]
        apart = sum(abs(one["realized"] - one["estimated"]) for one in known) / max(len(known), 1)
        note = words.count(len(told), "window") + (
            f", {amount(apart)} from what turned out on average" if known else ""
        )
        name = (
            f"{words.measure(measure)}, estimated (line), its interval (dots), and what turned out (dashes)"
        )
        plot = _plot(HEIGHT, f"{name}: {note}", parts, _labels(scale, first, last))
        found.append(Drawing(name, plot, note))
    return found


class _Scale(NamedTuple):
    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Sequence[float], log: bool) -> "_Scale":
        shown = [_logged(one) if log else one for one in values] or [0.0]
        low, high = min(shown), max(shown)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, log)

    def y(self, value: float) -> float:
        share = ((_logged(value) if self.log else value) - self.low) / (self.high - self.low)
        return _TOP + (1 - share) * (HEIGHT - _TOP)

    def ticks(self) -> list[tuple[float, str]]:
        steps = [self.low + (self.high - self.low) * part / 3 for part in (0.25, 1.5, 2.75)]
        if self.log:
            powers = sorted({round(one) for one in steps})
            return [(10.0**one, f"1e{one}" if abs(one) > 3 else amount(10.0**one)) for one in powers]
        return [(one, amount(one)) for one in steps]


def _logged(value: float) -> float:
    return math.log10(max(value, 1e-3))


def _path(
    style: str, points: Sequence[tuple[int, float | None]], scale: _Scale, first: int, last: int
) -> str:
    """A line with gaps where there is no value; points that stand alone are short strokes."""
    d, pen = "", False
    for row, value in points:
        if value is None:
            pen = False
            continue
        d += f"{'L' if pen else 'M'}{_x(row, first, last):.1f} {scale.y(value):.1f}"
        d += "" if pen else "h.01"
        pen = True
    return f'<path class="{style}" d="{d}"/>' if d else ""


def _bands(incidents: Sequence[Mapping[str, Any]], first: int, last: int) -> list[str]:
    found: list[str] = []
    for one in incidents:
        start = _x(one["change_row"], first, last)
        end = _x(last if one["closed_row"] is None else one["closed_row"], first, last)
        size = f'width="{max(end - start, 2):.1f}" height="{HEIGHT - _TOP}"'
        if not one["further"]:
            found.append(f'<rect class="band" x="{start:.1f}" y="{_TOP}" {size}/>')
        found.append(f'<path class="told" d="M{_x(one["opened_row"], first, last):.1f} {_TOP}V{HEIGHT}"/>')
    return found


def _row_ticks(first: int, last: int) -> list[str]:
    found: list[str] = []
    for part in range(_TICKS):
        row = first + (last - first) * part // (_TICKS - 1)
        place = {0: "first", _TICKS - 1: "last"}.get(part, "between" if part % 2 else "middle")
        left = 100 * _x(row, first, last) / WIDTH
        found.append(f'<span class="x {place}" style="left:{left:.2f}%">{row:,}</span>')
    return found


def _rules(scale: _Scale) -> list[str]:
    return [f'<path class="rule" d="M0 {scale.y(value):.1f}H{WIDTH}"/>' for value, _ in scale.ticks()]


def _labels(scale: _Scale, first: int, last: int) -> list[str]:
    values = [
        f'<span class="y" style="top:{scale.y(value):.1f}px">{text}</span>' for value, text in scale.ticks()
    ]
    return [*values, *_row_ticks(first, last)]


def _plot(height: int, alt: str, parts: Sequence[str], labels: Sequence[str]) -> str:
    """The drawing is as wide as there is room. Its labels are no part of it, so that they stay readable."""
    axis = f'<path class="axis" d="M0 {height}H{WIDTH}"/>'
    drawing = f'viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" style="height:{height}px"'
    label = escape(alt, quote=True)
    svg = f'<svg {drawing} role="img" aria-label="{label}">{"".join(parts)}{axis}</svg>'
    return f'<div class="plot"><div class="area">{svg}{"".join(labels)}</div></div>'
