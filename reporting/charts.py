"""Charts as SVG, the same bytes for the same data. matplotlib is imported when the first chart is drawn."""

import io
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from remediation.values import Desired, Incident
from reporting import words
from reporting.values import Drift, ModelHealth, Sample, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#56b4e9"
"""From the palette of Okabe and Ito (2008), told apart by people who see fewer colours."""
INK, MUTED, RULE, ALARM = "#1f2933", "#5f6b7a", "#d5dbe1", "#b3261e"

_STYLES: tuple[tuple[str, str, Literal["-"]], ...] = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "-"),
    (GREEN, "^", "-"),
    (PURPLE, "D", "-"),
    (SKY, "v", "-"),
)
_PANELS = ("accuracy", "f1", "auc")
_MARKED = 60
"""Above so many windows of a version markers would hide the line."""
_DRIFTS = 10
_LABEL_GAP = 0.12
"""Labels of version changes closer than this share of the axis stand on different lines."""
_LOCK = threading.Lock()
_RC = {
    "svg.hashsalt": "homeostat",
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.7,
    "hatch.linewidth": 0.4,
}


class Chart(NamedTuple):
    """A drawing and what it shows, in words, for who does not see it."""

    svg: str
    alt: str


def performance_chart(
    model: ModelHealth, incidents: Sequence[Incident], since_us: int, until_us: int
) -> Chart | None:
    """Accuracy, F1 and AUC over time with the thresholds, version changes and incidents; None without labels.

    A version is told by colour and marker, a threshold by dashes, a breach by a ring, an incident by hatching.
    """
    panels = [name for name in _PANELS if any(one.measure == name for one in model.series)]
    if not panels:
        return None
    times = [sample.at_us for one in model.series for sample in one.samples]
    start_us = max(since_us, min([*times, *(one.change_us for one in incidents)]))
    end_us = min(until_us, max([*times, *(one.closed_us or 0 for one in incidents)]))
    margin_us = max(1_000_000, (end_us - start_us) // 50)
    span = (start_us - margin_us, end_us + margin_us)
    with _figure(7.1, 0.7 + 0.86 * len(panels)) as figure:
        axes = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
        versions = list(dict.fromkeys(one.version for one in model.series))
        for name, axis in zip(panels, axes, strict=True):
            found = [one for one in model.series if one.measure == name]
            _panel(axis, found, versions, [one.at_us for one in model.changes])
            if incidents and axis is axes[0]:
                _room_below(axis)
            _spans(axis, incidents, span, labelled=axis is axes[0])
            _changes(axis, model.changes, span, labelled=axis is axes[0])
            axis.set_ylabel(words.measure(name))
        _time_axis(axes[-1], span)
        _legend(figure, versions, model.series)
        svg = _svg(figure)
    return Chart(svg, _performance_alt(model, incidents))


def drift_chart(drifts: Sequence[Drift]) -> Chart | None:
    """The most drifted features as bars in thresholds: the line at 1 is where the alarm begins."""
    shown = [one for one in drifts if one.effect > 0][:_DRIFTS]
    if not shown:
        return None
    with _figure(7.1, 0.8 + 0.22 * len(shown)) as figure:
        axis = figure.subplots()
        rows = range(len(shown))
        for row, one in zip(rows, shown, strict=True):
            over = one.effect > 1
            axis.barh(
                row,
                one.effect,
                height=0.62,
                color="#f6d5c6" if over else "#d6e6f2",
                edgecolor=ORANGE if over else BLUE,
                linewidth=0.8,
                hatch="////" if over else None,
            )
            label = f"{one.effect:.1f} ×" + ("  beyond" if over else "")
            axis.text(
                one.effect if over else max(1.0, one.effect),
                row,
                "  " + label,
                va="center",
                color=INK,
                fontsize=7,
            )
            if one.latest_effect is not None:
                axis.plot(one.latest_effect, row, "D", color=INK, markersize=4, clip_on=False, zorder=3)
        axis.axvline(1, color=ALARM, linewidth=1.1, linestyle=(0, (5, 3)))
        axis.set_yticks(list(rows), [f"{one.feature}  ({words.measure(one.measure)})" for one in shown])
        axis.invert_yaxis()
        axis.set_xlim(0, max(1.25, shown[0].effect * 1.25))
        axis.set_xlabel("distance from the reference, in thresholds (1 = alarm threshold)")
        axis.tick_params(axis="y", length=0, colors=INK)
        _bare(axis, "x")
        _drift_legend(figure, any(one.latest_effect is not None for one in shown))
        svg = _svg(figure)
    return Chart(svg, _drift_alt(shown))


def _panel(axis: "Axes", found: Sequence[Series], versions: Sequence[str], changes_us: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    dashes: dict[str, Any] = {"color": ALARM, "linewidth": 1, "linestyle": (0, (5, 3))}
    ring: dict[str, Any] = {"marker": "o", "markersize": 7, "markerfacecolor": "none", "linestyle": "none"}
    for one in found:
        colour, marker, line = _STYLES[versions.index(one.version) % len(_STYLES)]
        mark = marker if len(one.samples) <= _MARKED else ""
        for samples in _stretches(one.samples, changes_us):
            times = [_day(sample.at_us) for sample in samples]
            values = [sample.value for sample in samples]
            axis.plot(times, values, color=colour, marker=mark, markersize=3, linewidth=1.2, linestyle=line)
            limits = [(_day(s.at_us), s.threshold) for s in samples if s.threshold is not None]
            axis.plot([at for at, _ in limits], [value for _, value in limits], **dashes)
        ill = [(_day(s.at_us), s.value) for s in one.samples if s.breach]
        axis.plot([at for at, _ in ill], [value for _, value in ill], markeredgecolor=ALARM, **ring)
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.margins(y=0.15)
    _bare(axis, "y")


def _stretches(samples: Sequence[Sample], changes_us: Sequence[int]) -> Iterator[list[Sample]]:
    """Parts without a gap: a version that was away, because another served, is not joined by a line.

    A window that was under way at a change ends after it, so only two changes between two windows are a gap.
    """
    part: list[Sample] = []
    for sample in samples:
        if part and sum(part[-1].at_us <= change_us < sample.at_us for change_us in changes_us) > 1:
            yield part
            part = []
        part.append(sample)
    if part:
        yield part


def _room_below(axis: "Axes") -> None:
    """For the incidents' names under the lines."""
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.22 * (high - low), high)


def _spans(axis: "Axes", incidents: Sequence[Incident], span: tuple[int, int], *, labelled: bool) -> None:
    for number, one in enumerate(incidents, start=1):
        start_us, end_us = max(one.change_us, span[0]), min(one.closed_us or span[1], span[1])
        if start_us >= end_us:
            continue
        left, right = _day(start_us), _day(end_us)
        axis.axvspan(
            left, right, facecolor="#fbeee6", edgecolor="#e8c9b5", hatch="\\\\\\", linewidth=0, zorder=0
        )
        if labelled:
            axis.annotate(
                f"incident {number}",
                (_day((start_us + end_us) // 2), 0.03),
                xycoords=("data", "axes fraction"),
                ha="center",
                fontsize=6.5,
                color=INK,
                bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
            )


def _changes(axis: "Axes", changes: Sequence[Desired], span: tuple[int, int], *, labelled: bool) -> None:
    """A line per change of version; labels that would touch climb to the next row."""
    rows: list[int] = []
    for one in changes:
        if not span[0] <= one.at_us <= span[1]:
            continue
        axis.axvline(_day(one.at_us), color=MUTED, linewidth=0.9, linestyle=":", zorder=1)
        if labelled:
            gap_us = _LABEL_GAP * (span[1] - span[0])
            row = next((i for i, last in enumerate(rows) if one.at_us - last >= gap_us), len(rows))
            rows[row : row + 1] = [one.at_us]
            axis.annotate(
                f"▸ v{one.version} serves",
                (_day(one.at_us), 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3 + 9 * row),
                textcoords="offset points",
                fontsize=6.5,
                color=INK,
            )


def _day(time_us: int) -> float:
    """A time as matplotlib counts: days since 1970."""
    return time_us / 86_400e6


def _time_axis(axis: "Axes", span: tuple[int, int]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axis.set_xlim(_day(span[0]), _day(span[1]))
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))
    axis.set_xlabel("end of the window, UTC")


def _legend(figure: "Figure", versions: Sequence[str], found: Sequence[Series]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=4, label=f"version {version}")
        for version, (colour, marker, line) in (
            (version, _STYLES[index % len(_STYLES)]) for index, version in enumerate(versions)
        )
    ]
    handles.append(Line2D([], [], color=ALARM, linestyle=(0, (5, 3)), linewidth=1, label="alarm threshold"))
    if any(sample.breach for one in found for sample in one.samples):
        ring: dict[str, Any] = {
            "marker": "o",
            "markersize": 7,
            "markerfacecolor": "none",
            "linestyle": "none",
        }
        handles.append(Line2D([], [], markeredgecolor=ALARM, label="beyond it", **ring))
    figure.legend(handles=handles, loc="outside upper left", ncols=6, frameon=False, fontsize=7)


def _drift_legend(figure: "Figure", with_latest: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(
            facecolor="#f6d5c6", edgecolor=ORANGE, hatch="////", label="worst window, beyond the threshold"
        ),
        Patch(facecolor="#d6e6f2", edgecolor=BLUE, label="worst window, within"),
    ]
    if with_latest:
        mark: dict[str, Any] = {"marker": "D", "markersize": 4, "linestyle": "none", "color": INK}
        handles.append(Line2D([], [], label="newest window", **mark))
    figure.legend(handles=handles, loc="outside upper left", ncols=4, frameon=False, fontsize=7)


def _bare(axis: "Axes", grid: str) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.grid(axis=grid, color=RULE, linewidth=0.5)  # pyright: ignore[reportArgumentType]
    axis.set_axisbelow(True)


@contextmanager
def _figure(width_in: float, height_in: float) -> "Generator[Figure]":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The settings of matplotlib are global, so one chart at a time is drawn.
    with _LOCK, mpl.rc_context(_RC):  # pyright: ignore[reportArgumentType]
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def _svg(figure: "Figure") -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _performance_alt(model: ModelHealth, incidents: Sequence[Incident]) -> str:
    parts = [
        f"{words.measure(one.measure)} {words.percent(one.start)} at the start, {words.percent(one.worst)} at worst, "
        f"{words.percent(one.now)} at the end"
        for one in model.deltas
        if one.measure in _PANELS
    ]
    changes = [f"version {one.version} from {words.moment(one.at_us)}" for one in model.changes]
    ill = [f"from {words.moment(one.change_us)} to {words.moment(one.closed_us)}" for one in incidents]
    text = f"Performance of {model.model} over time: {'; '.join(parts)}."
    text += f" Versions: {', '.join(changes)}." if changes else ""
    return text + (f" Incidents: {', '.join(ill)}." if ill else "")


def _drift_alt(shown: Sequence[Drift]) -> str:
    told = [f"{one.feature} {one.effect:.1f}" for one in shown]
    return f"Most drifted features, worst window in thresholds: {', '.join(told)}."
