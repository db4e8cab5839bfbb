"""A backtest counts what pandas counts, whatever the kind of file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from streams.files.monitor import MonitorFile, MonitorFileInvalid
from streams.files.tables import FileInvalid, TableFile
from streams.replay.backtest import backtest
from streams.replay.backtest_result import Backtest

START = pd.Timestamp("2026-03-01 00:00:00")
FEATURES = ["age", "city"]


def frame(rows: int, seed: int, shift_at: int | None = None, rate_s: float = 10.0) -> pd.DataFrame:
    """Seeded rows in order of time; from `shift_at` on ages are higher, and a fifth of them missing."""
    rng = np.random.default_rng(seed)
    age = rng.normal(50, 10, rows)
    truth = (age + rng.normal(0, 5, rows) > 50).astype(float)
    if shift_at is not None:
        age[shift_at:] += 20
        age[shift_at:][rng.random(rows - shift_at) < 0.2] = np.nan
    score = 1 / (1 + np.exp(-(np.nan_to_num(age, nan=50) - 50) / 5))
    times = START + pd.to_timedelta(np.sort(rng.uniform(0, rows / rate_s, rows)).round(6), unit="s")
    return pd.DataFrame(
        {
            "id": [f"r{seed}-{number}" for number in range(rows)],
            "at": times,
            "age": age,
            "city": rng.choice(["Rome", "Oslo", "Bern"], rows),
            "score": score,
            "said": (score >= 0.5).astype(int),
            "truth": truth,
        }
    )


def monitor(folder: Path, **changes: object) -> MonitorFile:
    """A monitor with a reference of 3,000 rows in `folder`."""
    path = folder / "reference.csv"
    if not path.exists():
        frame(3_000, 7).to_csv(path, index=False)
    columns = {"id": "id", "prediction": "said", "score": "score", "label": "truth", "features": FEATURES}
    fields: dict[str, object] = {"model": "loan", "columns": columns, "reference": {"file": path}}
    fields |= {"window": {"rows": 500}, "label_window": {"rows": 500}}
    time = {"time": "at"} if changes.pop("timed", False) else {}
    more = changes.pop("columns", {})
    assert isinstance(more, dict)
    return MonitorFile.model_validate(fields | {"columns": columns | time | more} | changes)


def values(
    found: Backtest, measure: str, feature: str | None = None, axis: str = "event"
) -> list[float | None]:
    """The values of a measure in order of time."""
    points = [
        point
        for point in found.results.points.values()
        if (point.measure, point.feature, point.axis, point.segment) == (measure, feature, axis, "all")
    ]
    return [point.value for point in sorted(points, key=lambda point: point.start_us)]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "folder", "semicolons"])
def test_windows_of_rows_are_those_of_pandas(tmp_path: Path, kind: str) -> None:
    data = frame(4_000, 1, shift_at=2_000)
    path = tmp_path / f"data.{kind}"
    if kind == "folder":
        (tmp_path / "data.folder").mkdir()
        for number in range(2):
            part = data.iloc[number * 2_000 : (number + 1) * 2_000]
            parquet.write_table(pa.Table.from_pandas(part), path / f"part-{number}.parquet")
    elif kind == "parquet":
        data.to_parquet(path)
    elif kind == "semicolons":
        path = tmp_path / "data.csv"
        data.to_csv(path, index=False, sep=";")
    else:
        data.to_csv(path, index=False)
    found = backtest(path, monitor(tmp_path), keep_points=True)
    groups = data.groupby(np.arange(4_000) // 500)
    assert found.rows == 4_000
    assert found.as_dict()["windows"] == 8
    assert values(found, "missing_rate", "age") == pytest.approx(
        groups["age"].apply(lambda c: c.isna().mean())
    )
    assert values(found, "positive_rate") == pytest.approx(groups["said"].mean())
    right = (data["said"] == data["truth"]).groupby(np.arange(4_000) // 500).mean()
    assert values(found, "accuracy") == pytest.approx(right)
    assert values(found, "accuracy", axis="label") == pytest.approx(right)
    account = found.accounting
    assert account is not None
    assert (account.received, account.profiled, account.joined) == (4_000, 4_000, 4_000)


def test_what_alarms_is_told_with_its_rows(tmp_path: Path) -> None:
    frame(6_000, 1, shift_at=3_000).to_csv(tmp_path / "data.csv", index=False)
    found = backtest(tmp_path / "data.csv", monitor(tmp_path))
    told = found.as_dict()
    by_kind = {one["kind"]: one for one in told["incidents"]}
    assert by_kind.keys() >= {"data_quality", "data_drift", "prediction_drift", "performance"}
    drift = by_kind["data_drift"]
    assert (drift["change_row"], drift["opened_row"], drift["closed_row"]) == (3_000, 3_500, None)
    assert drift["features"][0] == "age"
    assert {"name", "feature", "segment", "value", "reference", "threshold", "n"} == drift["measures"][
        0
    ].keys()
    assert drift["opened_time"] is None, "the file has no time"
    assert found.firing


def test_nothing_alarms_where_nothing_has_changed(tmp_path: Path) -> None:
    frame(6_000, 1).to_csv(tmp_path / "data.csv", index=False)
    found = backtest(tmp_path / "data.csv", monitor(tmp_path))
    assert found.as_dict()["incidents"] == []
    assert not found.firing


def test_windows_of_time_and_labels_of_a_file_of_their_own(tmp_path: Path) -> None:
    """Windows of a minute; labels come 0 to 100 s later, in no order, some twice, some for nobody."""
    data = frame(6_000, 3, shift_at=3_000)
    rng = np.random.default_rng(5)
    labels = data[["id", "truth"]].copy()
    labels["known"] = data["at"] + pd.to_timedelta(rng.uniform(0, 100, len(data)).round(6), unit="s")
    first = labels.iloc[:50].assign(truth=1 - labels["truth"].iloc[:50])
    stray = pd.DataFrame({"id": ["nobody"], "truth": [1.0], "known": [START]})
    later = labels.assign(
        known=np.where(labels.index < 50, labels["known"] + pd.Timedelta("1s"), labels["known"])
    )
    everything = pd.concat([later, first, stray]).sample(frac=1.0, random_state=3)
    everything.to_csv(tmp_path / "labels.csv", index=False)
    data.drop(columns="truth").to_parquet(tmp_path / "data.parquet")
    file = monitor(
        tmp_path,
        timed=True,
        columns={"label_time": "known"},
        window={"every": "1m"},
        label_window={"every": "1m"},
    )
    found = backtest(tmp_path / "data.parquet", file, tmp_path / "labels.csv", keep_points=True)
    minutes = data["at"].dt.floor("1min")
    assert values(found, "rows") == pytest.approx(data.groupby(minutes).size().to_list())
    assert values(found, "missing_rate", "age") == pytest.approx(
        data["age"].isna().groupby(minutes).mean().to_list()
    )
    right = data["said"] == data["truth"]
    assert values(found, "accuracy") == pytest.approx(right.groupby(minutes).mean().to_list())
    known = np.where(data.index < 50, first.reindex(data.index)["known"], later["known"])
    arrived = right.groupby(pd.Series(known).dt.floor("1min")).agg(["mean", "size"])
    assert values(found, "rows", axis="label") == pytest.approx(arrived["size"].to_list())
    told = [value for value in values(found, "accuracy", axis="label") if value is not None]
    assert told == pytest.approx(arrived["mean"][arrived["size"] >= 30].to_list())
    account = found.accounting
    assert account is not None
    assert (account.joined, account.revised, account.orphaned) == (6_000, 50, 0)
    assert found.labels_unused == 1
    opened = found.as_dict()["incidents"][0]
    assert opened["opened_time"].startswith("2026-03-01T00:")


def test_versions_segments_and_rows_that_are_no_events(tmp_path: Path) -> None:
    data = frame(3_000, 4)
    data["release"] = np.where(np.arange(3_000) < 1_500, "1", "2")
    data.loc[[5, 6], "at"] = pd.NaT
    data.loc[[7], "score"] = 1.5
    data.loc[[8, 9, 10], "said"] = np.nan
    data.to_csv(tmp_path / "data.csv", index=False)
    more = {"version": "release", "segments": ["city"]}
    file = monitor(tmp_path, timed=True, columns=more, window={"rows": 300})
    found = backtest(tmp_path / "data.csv", file, keep_points=True)
    assert found.skipped == {"time": 2, "id": 0, "prediction": 3, "score": 1, "number": 0}
    account = found.accounting
    assert account is not None
    assert account.profiled == 2_994
    unknown = [point for point in found.results.points.values() if point.measure == "reference"]
    assert {point.version for point in unknown} == {"2"}
    segments = {point.segment for point in found.results.points.values()}
    assert segments == {"all", "city=Rome", "city=Oslo", "city=Bern"}


def test_versions_that_answer_at_the_same_time_are_not_late_for_each_other(tmp_path: Path) -> None:
    """However many rows are read ahead: eight panes are much longer than the lateness here."""
    data = frame(3_000, 4)
    data["release"] = np.where(np.arange(3_000) % 2, "1", "2")
    data.to_csv(tmp_path / "data.csv", index=False)
    more = {"version": "release"}
    file = monitor(tmp_path, timed=True, columns=more, window={"every": "1m"}, pane="30s", lateness="5s")
    found = backtest(tmp_path / "data.csv", file, keep_points=True)
    account = found.accounting
    assert account is not None
    assert (account.profiled, account.late) == (3_000, 0)
    rows = {(point.version, point.start_us): point.rows for point in found.results.points.values()}
    known = data[data["release"] == "1"].groupby(data["at"].dt.floor("1min")).size()
    assert [rows["1", at.value // 1_000] for at in known.index] == known.to_list()


def test_a_label_is_heard_up_to_the_horizon_however_many_rows_are_read_ahead(tmp_path: Path) -> None:
    data = frame(3_000, 4)
    data["known"] = data["at"] + pd.to_timedelta(np.where(np.arange(3_000) % 2, 50.0, 61.5), unit="s")
    data.to_csv(tmp_path / "data.csv", index=False)
    more = {"label_time": "known"}
    file = monitor(tmp_path, timed=True, columns=more, pane="1s", lateness="40s", label_horizon="60s")
    account = backtest(tmp_path / "data.csv", file).accounting
    assert account is not None
    assert (account.joined, account.waiting + account.orphaned) == (1_500, 1_500)


def test_rows_that_are_dated_later_than_now_are_told(tmp_path: Path) -> None:
    data = frame(1_500, 4)
    data.loc[[1_498, 1_499], "at"] = pd.Timestamp("2090-01-01")
    data.to_csv(tmp_path / "data.csv", index=False)
    found = backtest(tmp_path / "data.csv", monitor(tmp_path, timed=True, window={"rows": 300}))
    assert found.as_dict()["rows_ahead"] == 2
    assert found.accounting is not None
    assert found.accounting.profiled == 1_500


def test_the_first_rows_as_the_reference(tmp_path: Path) -> None:
    frame(10_000, 9, shift_at=8_000).to_csv(tmp_path / "data.csv", index=False)
    found = backtest(tmp_path / "data.csv", monitor(tmp_path, reference={"rows": 4_000}))
    assert found.references[0].rows == 4_000
    assert found.rows == 6_000
    assert {one["change_row"] for one in found.as_dict()["incidents"]} == {8_000}


def test_text_outcomes_and_a_label_that_is_text(tmp_path: Path) -> None:
    data = frame(2_000, 4)
    data["truth"] = np.where(data["truth"] == 1, "yes", "no")
    data.to_csv(tmp_path / "data.csv", index=False)
    data.to_csv(tmp_path / "text-reference.csv", index=False)
    file = monitor(tmp_path, reference={"file": tmp_path / "text-reference.csv"}, columns={"positive": "yes"})
    assert (
        len(
            [
                value
                for value in values(backtest(tmp_path / "data.csv", file, keep_points=True), "accuracy")
                if value
            ]
        )
        == 4
    )
    with pytest.raises(FileInvalid, match=r"column 'truth' cannot be the label.*columns\.positive"):
        backtest(tmp_path / "data.csv", monitor(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data.xlsx", "", r"must end in \.csv.*save the sheet as CSV"),
        ("data.csv", "id,age,age,score,said\n1,2,old,0.5,1\n", "more than one column is called 'age'"),
        ("data.csv", "", "data.csv"),
        ("data.csv", "id,age,city,score,said\n", "no rows"),
        ("data.csv", "id,age,city,score\n1,2,Rome,0.5\n", r"columns.prediction: 'said'"),
        ("data.csv", "id,age,city,score,said\n1,2,Rome,0.5,1\n1,2\n", "Expected 5 columns, got 2"),
        ("data.parquet", "PAR1", "data.parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FileInvalid, match=words):
        backtest(tmp_path / name, monitor(tmp_path))


def test_what_a_backtest_cannot_do(tmp_path: Path) -> None:
    frame(2_000, 4).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(MonitorFileInvalid, match="registered"):
        backtest(tmp_path / "data.csv", monitor(tmp_path, reference={"registered": True}))
    with pytest.raises(MonitorFileInvalid, match=r"need columns\.time"):
        backtest(tmp_path / "data.csv", monitor(tmp_path, window={"every": "1h"}))
    with pytest.raises(FileInvalid, match="asks for the first 3000"):
        backtest(tmp_path / "data.csv", monitor(tmp_path, reference={"rows": 3_000}))


def test_columns_keep_one_type_over_all_blocks(tmp_path: Path) -> None:
    """Whole numbers, then a missing one; an id that looks like a number stays text."""
    rows = "\n".join(f"00{number},{number if number != 400 else '?'}" for number in range(1_000))
    (tmp_path / "data.csv").write_text("id,x\n" + rows)
    table = TableFile(tmp_path / "data.csv", {"id"})
    assert [str(field.type) for field in table.schema] == ["string", "double"]
    (batch,) = list(table.batches())
    assert batch.column("id")[3].as_py() == "003"
    assert batch.column("x").null_count == 1
    assert table.progress == 1.0


def test_labels_that_are_known_at_once_are_joined_however_slow_the_rows_are(tmp_path: Path) -> None:
    """A batch of the file spans weeks, a prediction waits a day."""
    frame(3_000, 3, rate_s=0.002).to_csv(tmp_path / "data.csv", index=False)
    found = backtest(tmp_path / "data.csv", monitor(tmp_path, timed=True), keep_points=True)
    account = found.accounting
    assert account is not None
    assert (account.joined, account.orphaned) == (3_000, 0)
    assert found.as_dict()["label_windows"] > 3
    points = [
        one for one in found.results.points.values() if (one.measure, one.axis) == ("accuracy", "event")
    ]
    rows = [found.index.row(one.end_us) - found.index.row(one.start_us) for one in points]
    assert [one.rows for one in points] == rows, "every label counts in the window of its prediction"


def test_estimates_are_told_beside_what_turned_out(tmp_path: Path) -> None:
    frame(4_000, 3).to_csv(tmp_path / "data.csv", index=False)
    told = backtest(tmp_path / "data.csv", monitor(tmp_path)).as_dict()["estimates"]
    accuracy = [one for one in told if one["measure"] == "accuracy"]
    assert [(one["start_row"], one["end_row"]) for one in accuracy] == [
        (500 * n, 500 * n + 500) for n in range(8)
    ]
    for one in accuracy:
        assert one["low"] < one["estimated"] < one["high"]
        assert one["low"] - 0.03 < one["realized"] < one["high"] + 0.03


def test_labels_of_a_file_without_predictions_say_nothing_of_a_model(tmp_path: Path) -> None:
    """Labels that all turn around are no error of a model that has said nothing."""
    rng = np.random.default_rng(3)
    columns = {"label": "truth", "features": ["x"]}
    frame = pd.DataFrame({"x": rng.normal(0, 1, 4_000), "truth": np.arange(4_000) >= 2_000})
    frame.astype({"truth": int}).to_csv(tmp_path / "data.csv", index=False)
    fields = {"model": "none", "columns": columns, "reference": {"rows": 1_000}, "window": {"rows": 500}}
    told = backtest(tmp_path / "data.csv", MonitorFile.model_validate(fields)).as_dict()
    assert (told["labels"], told["label_windows"], told["incidents"]) == (0, 0, [])


def test_times_of_a_day_each_are_no_silence(tmp_path: Path) -> None:
    days = pd.date_range("2026-01-01", periods=60, freq="D", tz="UTC").repeat(50)
    frame(3_000, 4).assign(at=days).to_csv(tmp_path / "data.csv", index=False)
    found = backtest(tmp_path / "data.csv", monitor(tmp_path, timed=True, window={"rows": 300}))
    assert not found.listened
    assert [one for one in found.as_dict()["incidents"] if one["kind"] == "volume"] == []
