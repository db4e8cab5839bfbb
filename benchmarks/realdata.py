"""What a backtest tells of real data whose changes are known, with the default monitor.

    uv run python -m benchmarks.realdata --data ../shared/data --json

rainfall: the columns are rotated from row 12,000 on, and visibility is measured otherwise from about row 8,090 on;
car_loan: a shift at row 25,000 that leaves two columns alone; bank_marketing: the steps of the macro columns; elec2: a
market opens at row 17,424; heart: three hospitals told from a fourth, with the reason. What is told: stderr.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Scenario, parser, say, show
from streams.files.monitor import MonitorFile
from streams.replay.backtest import backtest

NEVER = 10**9
Told = list[dict[str, Any]]
RAIN = [
    "temperature",
    "dew point",
    "sea-level pressure",
    "visibility",
    "average wind speed",
    "max sustained wind-speed",
    "minimum temperature",
    "maximum temperature",
]
MACRO = {"emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m", "nr.employed", "month"}
CLIENT = (
    "age", "job", "marital", "education", "default", "housing", "loan", "contact", "day_of_week", "campaign", "pdays",
    "previous", "poutcome",
)  # fmt: skip
STEPS = (7_763, 23_997, 27_690, 36_224)
MARKET = {"vicprice", "vicdemand", "transfer"}
OPENING = 17_424
HEART = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
    "num",
)  # fmt: skip
REASONS = {"hungarian": {"ca", "thal", "slope"}, "switzerland": {"chol", "ca"}, "va": {"chol", "ca", "thal"}}
"""Columns that must be among those of the data_quality incident of each hospital."""


def main() -> int:
    """Run and print."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--data", type=Path, required=True, help="folder with rainfall, car_loan and the others"
    )
    options.add_argument("--only", help="only the scenarios of this data set, such as rainfall")
    chosen = options.parse_args()
    parts = {"rainfall": rainfall, "car_loan": car_loan, "bank": bank, "elec2": elec2, "heart": heart}
    scenarios: list[Scenario] = []
    for name, part in parts.items():
        if chosen.only in (None, name):
            scenarios += part(chosen.data)
    return show(scenarios, as_json=chosen.json)


def rainfall(data: Path) -> list[Scenario]:
    """Windows of 200 rows, the first 5,000 rows as the reference."""
    fields = {"columns": {"features": RAIN}, "reference": {"rows": 5_000}, "window": {"rows": 200}}
    told = _told("rainfall", data / "rainfall" / "rainfall.csv.gz", fields)
    named = [one["opened_row"] for one in told if "misaligned" in one["summary"]]
    steps = [
        one["opened_row"]
        for one in told
        if one["kind"] == "data_drift"
        and one["features"][:1] == ["visibility"]
        and 7_800 <= one["change_row"] < 8_600
    ]
    return [
        _rows("rainfall.rows_to_misalignment", _first(named, 12_000), 200),
        _count("rainfall.misaligned_before", sum(row <= 12_000 for row in named), "incidents"),
        _rows("rainfall.rows_to_visibility_step", _first(steps, 8_090), 1_000),
    ]


def car_loan(data: Path) -> list[Scenario]:
    """Windows of 1,000 rows, the reference and the labels in files of their own."""
    folder = data / "car_loan"
    columns = {
        "time": "timestamp",
        "id": "id",
        "prediction": "y_pred",
        "score": "y_pred_proba",
        "label": "repaid",
    }
    reference = {"file": folder / "synthetic_car_loan_reference.csv.gz"}
    fields = {"columns": columns, "reference": reference, "label_window": {"rows": 1_000}}
    told = _told(
        "car_loan",
        folder / "synthetic_car_loan_analysis.csv.gz",
        fields,
        folder / "synthetic_car_loan_analysis_target.csv.gz",
    )
    drift = [one for one in told if one["kind"] == "data_drift"]
    movers = {"car_value", "loan_length", "repaid_loan_on_prev_car"}
    still = {"debt_to_income_ratio", "driver_tenure"}
    named = {name for one in told for name in one["features"]}
    first = set(drift[0]["features"][:3]) if drift else set[str]()
    labels = [one["opened_row"] for one in told if one["kind"] == "performance"]
    return [
        _rows("car_loan.rows_to_drift", _first([one["opened_row"] for one in drift], 25_000), 1_000),
        _count("car_loan.movers_not_first", len(movers - first), "of 3 columns"),
        _count("car_loan.still_named", len(still & named), "of 2 columns"),
        _count("car_loan.told_before", sum(one["opened_row"] <= 25_000 for one in told), "incidents"),
        _rows("car_loan.rows_to_performance", _first(labels, 25_000), 2_000),
    ]


def bank(data: Path) -> list[Scenario]:
    """Windows of 500 rows, the first 5,000 as the reference: each step is told, as an incident or as a further
    change."""
    features = [*CLIENT, *sorted(MACRO)]
    columns = {"features": features, "label": "y", "positive": "yes"}
    fields = {"columns": columns, "reference": {"rows": 5_000}, "window": {"rows": 500}}
    told = _told("bank", data / "bank_marketing" / "bank-additional-full.csv.gz", fields)
    rows = [one["opened_row"] for one in told if MACRO & set(one["features"])]
    delays = [_first([row for row in rows if row > step], step) for step in STEPS]
    say(f"bank: rows until each step is told {dict(zip(STEPS, delays, strict=True))}")
    return [_rows("bank.rows_to_macro_step", max(delays), 1_000)]


def elec2(data: Path) -> list[Scenario]:
    """Windows of 500 rows, the first 10,000 as the reference."""
    columns = {"features": ["nswprice", "nswdemand", *sorted(MARKET)], "label": "class", "positive": "UP"}
    fields = {"columns": columns, "reference": {"rows": 10_000}, "window": {"rows": 500}}
    told = _told("elec2", data / "elec2" / "electricity.csv.gz", fields)
    rows = [one["opened_row"] for one in told if set(one["features"]) >= MARKET]
    before = sum(bool(MARKET & set(one["features"])) and one["opened_row"] <= OPENING for one in told)
    return [
        _rows("elec2.rows_to_market_opening", _first(rows, OPENING), 500),
        _count("elec2.market_told_before", before, "incidents"),
    ]


def heart(data: Path) -> list[Scenario]:
    """Windows of 100 rows against Cleveland; Cleveland itself is no change."""
    scenarios: list[Scenario] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cleveland", *REASONS):
            rows = (data / "heart_disease" / f"processed.{name}.data").read_text(encoding="utf-8")
            (Path(folder) / f"{name}.csv").write_text(",".join(HEART) + "\n" + rows, encoding="utf-8")
        reference = {"file": Path(folder) / "cleveland.csv"}
        fields = {"columns": {"features": list(HEART[:-1])}, "reference": reference, "window": {"rows": 100}}
        told = _told("cleveland", Path(folder) / "cleveland.csv", fields)
        scenarios.append(_count("heart.cleveland.told", len(told), "incidents"))
        for name, reasons in REASONS.items():
            told = _told(name, Path(folder) / f"{name}.csv", fields)
            quality = [one for one in told if one["kind"] == "data_quality"]
            named = {column for one in quality for column in one["features"]}
            scenarios.append(_count(f"heart.{name}.missed_reasons", len(reasons - named), "columns"))
            first = _first([one["opened_row"] for one in quality], 0)
            scenarios.append(_rows(f"heart.{name}.rows_to_quality", first, 100))
    return scenarios


def _told(name: str, data: Path, fields: dict[str, Any], labels: Path | None = None) -> Told:
    found = backtest(data, MonitorFile.model_validate({"model": name} | fields), labels).as_dict()
    say(f"{name}: {found['rows']:,} rows, {found['windows']} windows, {found['label_windows']} of labels")
    incidents: Told = found["incidents"]
    for one in incidents:
        further = " (further)" if one["further"] else ""
        say(
            f"  {one['kind']}{further} since {one['change_row']}, told at {one['opened_row']}: {one['summary'][:220]}"
        )
    return incidents


def _first(rows: list[int], since: int) -> int:
    """How many rows after a change it was told; `NEVER` where it was not."""
    return min((row - since for row in rows if row > since), default=NEVER)


def _rows(name: str, value: int, target: int) -> Scenario:
    return Scenario(
        id=f"realdata.{name}", value=float(value), unit="rows", higher_is_better=False, target=float(target)
    )


def _count(name: str, value: int, unit: str) -> Scenario:
    return Scenario(id=f"realdata.{name}", value=float(value), unit=unit, higher_is_better=False, target=0.0)


if __name__ == "__main__":
    sys.exit(main())
