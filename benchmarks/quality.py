"""Data quality and attribution on data whose faults are known.

    uv run python -m benchmarks.quality --data ../shared/data --json

rainfall: from row 12,000 on the columns are rotated; heart: three hospitals told from a fourth, with the reason;
car_loan: which features carry the shift at row 25,000; and on all of them, with bank_marketing and elec2, how many
windows are wrongly called misaligned or in another unit. What was found is told on stderr.
"""

import csv
import gzip
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.estimation_logs import LOGS, Log, car_loan
from benchmarks.report import Scenario, parser, say, show
from detectors.attribution.carriers import carriers
from detectors.attribution.influence import build_influence
from detectors.decide import decide
from detectors.judgement import SeriesState, Window
from detectors.learning import with_learned
from detectors.measures import measure
from detectors.profile import Profile
from detectors.quality.findings import findings
from detectors.quality.values import Finding
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec, Monitor

Columns = dict[str, npt.NDArray[Any]]
ROTATED, FIRST, WINDOW = 12_000, 5_000, 200
SHIFTED = 25_000
HEART = (
    [
        "age",
        "sex",
        "cp",
        "trestbps",
        "chol",
        "fbs",
        "restecg",
        "thalach",
        "exang",
        "oldpeak",
        "slope",
        "ca",
        "thal",
    ],
    {"hungarian": {"ca", "thal", "slope"}, "switzerland": {"chol", "ca"}, "va": {"ca", "thal"}},
)
"""Columns, and those that must be among the reasons for each hospital."""


def main() -> int:
    """Run and print."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--data", type=Path, required=True, help="folder with rainfall, heart_disease and the others"
    )
    chosen = options.parse_args()
    scenarios = [*rainfall(chosen.data), *heart(chosen.data), *loans(chosen.data), *false_alarms(chosen.data)]
    return show(scenarios, as_json=chosen.json)


def rainfall(data: Path) -> list[Scenario]:
    """Windows of 200 rows in a row: none is misaligned before row 12,000, the first after it is."""
    with gzip.open(data / "rainfall" / "rainfall.csv.gz", "rt", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    names, matrix = names[1:9], np.array(rows, dtype=np.float64)[:, 1:9]
    columns: Columns = dict(zip(names, matrix.T, strict=True))
    first = _rows(columns, slice(0, FIRST))
    reference = with_learned(build_reference("rain", "1", first, _specs(columns)), Rows(first))
    before, found, right, cost_s = 0, list[int](), list[float](), 0.0
    for start in range(FIRST, len(matrix) - WINDOW + 1, WINDOW):
        profile = _profile(reference, _rows(columns, slice(start, start + WINDOW)))
        began = time.process_time()
        told = [one for one in findings(profile, reference) if one.kind == "misaligned_columns"]
        cost_s += time.process_time() - began
        if told and start < ROTATED:
            before += 1
        elif told:
            found.append(start + WINDOW - ROTATED)
            right.append(_share_right(told[0], names))
    say(f"rainfall: misaligned windows after the fault {len(found)}, first after {found[:1]} rows")
    windows = (len(matrix) - FIRST) // WINDOW
    after = (len(matrix) - ROTATED) // WINDOW
    return [
        _scenario(
            "quality.rainfall.rows_to_misalignment", float(min(found, default=10**9)), "rows", target=200.0
        ),
        _scenario("quality.rainfall.false_before", float(before), "windows", target=0.0),
        _scenario("quality.rainfall.missed_after", 1 - len(found) / after, "share of windows"),
        _scenario(
            "quality.rainfall.wrong_sources", 1 - float(np.mean(right)) if right else 1.0, "share of columns"
        ),
        _scenario("quality.rainfall.cost", cost_s / windows * 1e3, "ms per window"),
    ]


def heart(data: Path) -> list[Scenario]:
    """Each hospital as one window against Cleveland: the columns that breach must hold the known reasons."""
    names, reasons = HEART
    reference = build_reference("heart", "1", _hospital(data, "cleveland"), tuple(map(_numeric, names)))
    scenarios: list[Scenario] = []
    for hospital, expected in reasons.items():
        columns = _hospital(data, hospital)
        profile = _profile(reference, columns)
        monitor = Monitor(model="heart", features=tuple(map(_numeric, names)))
        rows = profile.rows
        place = Window(
            model="heart", version="1", axis="event", window=hospital, start_us=0, end_us=1, rows=rows
        )
        found = decide(place, measure(profile, reference, monitor), monitor, reference, SeriesState())
        breaches = sorted(
            (one for one in found.decisions if one.verdict == "breach"), key=lambda one: -one.effect
        )
        told = [(one.feature or "") for one in breaches if one.kind == "data_quality"]
        told += [column for one in findings(profile, reference) for column in one.columns]
        say(f"heart {hospital}: " + "; ".join(one.reason for one in breaches[:5]))
        say(f"heart {hospital}: " + "; ".join(one.message for one in findings(profile, reference)))
        missed = len(expected - set(told))
        scenarios.append(
            _scenario(f"quality.heart.{hospital}.missed_reasons", float(missed), "columns", target=0.0)
        )
    return scenarios


def loans(data: Path) -> list[Scenario]:
    """Windows of 1,000 rows of car_loan: the three that move most named first, the two that do not move never."""
    log = car_loan(data)
    reference, first = _reference(log), log.reference
    rows = slice(0, first)
    influence = build_influence(
        reference, _rows(log.features, rows), log.said[rows], log.scores[rows], log.labels[rows]
    )
    movers, still = (
        {"car_value", "loan_length", "repaid_loan_on_prev_car"},
        {"debt_to_income_ratio", "driver_tenure"},
    )
    ranked, early, wrong = list[float](), 0, 0
    windows = range(first, len(log.labels) - 999, 1_000)
    for start in windows:
        profile = _profile(reference, _rows(log.features, slice(start, start + 1_000)))
        found = carriers(profile, influence)
        named = [one.feature for one in found if one.named]
        wrong += bool(still & set(named))
        if start < first + SHIFTED:
            early += bool(named)
        else:
            ranked.append(float(set(named[:3]) == movers))
        if start in (first, first + SHIFTED):
            for one in found:
                say(f"car_loan {start - first}: {one}")
    return [
        _scenario(
            "attribution.car_loan.not_first", 1 - float(np.mean(ranked)), "share of windows", target=0.05
        ),
        _scenario("attribution.car_loan.named_before", float(early), "of 25 windows", target=1.0),
        _scenario("attribution.car_loan.still_named", float(wrong), "of 50 windows", target=1.0),
    ]


def false_alarms(data: Path) -> list[Scenario]:
    """Logs that drift, some of them much, and in which no column changed its place or unit."""
    scenarios: list[Scenario] = []
    for make in LOGS:
        log = make(data)
        reference = with_learned(_reference(log), Rows(_rows(log.features, slice(0, log.reference))))
        worth = reference.learned.worth if reference.learned else {}
        say(f"{log.name}: independent rows per row: { {name: round(one, 3) for name, one in worth.items()} }")
        told: list[Finding] = []
        for chunk in log.chunks:
            told += findings(_profile(reference, _rows(log.features, chunk)), reference)
        serious = [one for one in told if one.kind in ("misaligned_columns", "unit_change")]
        for message in sorted({one.message for one in told})[:6]:
            say(f"{log.name}: {message}")
        scenarios.append(
            _scenario(f"quality.{log.name}.false_findings", float(len(serious)), "findings", target=0.0)
        )
    return scenarios


def _scenario(name: str, value: float, unit: str, **more: Any) -> Scenario:
    return Scenario(id=name, value=value, unit=unit, higher_is_better=False, **more)


def _share_right(found: Finding, names: list[str]) -> float:
    held = dict(zip(found.columns, found.sources, strict=True))
    return float(np.mean([held.get(name) == names[(place + 1) % 8] for place, name in enumerate(names)]))


def _reference(log: Log) -> Reference:
    rows = slice(0, log.reference)
    return build_reference(
        log.name,
        "1",
        _rows(log.features, rows),
        log.specs,
        scores=log.scores[rows],
        predictions=log.said[rows],
    )


def _rows(columns: Mapping[str, npt.NDArray[Any]], rows: slice) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _profile(reference: Reference, columns: Columns) -> Profile:
    profile = Profile.empty(reference)
    profile.fold(columns, None, None)
    return profile


def _specs(columns: Columns) -> tuple[FeatureSpec, ...]:
    return tuple(map(_numeric, columns))


def _numeric(name: str) -> FeatureSpec:
    return FeatureSpec(name=name)


def _hospital(data: Path, name: str) -> Columns:
    with (data / "heart_disease" / f"processed.{name}.data").open(encoding="utf-8") as file:
        rows = [[np.nan if text == "?" else float(text) for text in row] for row in csv.reader(file) if row]
    return dict(zip(HEART[0], np.array(rows)[:, :-1].T, strict=True))


if __name__ == "__main__":
    sys.exit(main())
