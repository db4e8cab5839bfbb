"""The commands over measuring, as a person runs them."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from deploy import cli
from streams.broker.admin import ensure_topics
from streams.topics import CONTROL, TopicSpec
from tests.streams.test_backtest import frame


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    handlers, level, structured = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield
    structlog.configure(**structured)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reference, a monitor, and a home in which nothing runs."""
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HOMEOSTAT_BROKER", raising=False)
    frame(2_000, 7).to_csv(tmp_path / "good.csv", index=False)
    columns = "{id: id, prediction: said, score: score, label: truth, features: [age, city]}"
    text = f"model: loan\ncolumns: {columns}\nreference: {{file: good.csv}}\nwindow: {{rows: 500}}\n"
    (tmp_path / "loan.yaml").write_text(text)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["homeostat", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_backtest_exits_3_while_an_alert_fires(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(3_000, 1, shift_at=1_500).to_csv(folder / "data.csv", index=False)
    assert run(monkeypatch, "backtest", folder / "data.csv", "--monitor", folder / "loan.yaml", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["rows"], told["windows"]) == ("loan", 3_000, 6)
    assert {one["change_row"] for one in told["incidents"]} == {1_500}
    assert told["estimates"] == [] or "estimated" in told["estimates"][0]


def test_backtest_with_labels_apart_and_for_people(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = frame(2_000, 1)
    data[["id", "truth"]].sample(frac=1.0, random_state=1).to_csv(folder / "labels.csv", index=False)
    data.drop(columns="truth").to_csv(folder / "data.csv", index=False)
    arguments = ("--monitor", folder / "loan.yaml", "--labels", folder / "labels.csv")
    assert run(monkeypatch, "backtest", folder / "data.csv", *arguments) == 0
    out = capsys.readouterr().out
    assert "2,000 rows, 2,000 labels, 4 windows" in out
    assert "Nothing would have alarmed." in out


def test_mistakes_are_told_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.yaml").write_text("model: loan\nreference: {file: good.csv}\nwindow: {every: soon}\n")
    for arguments, words in [
        (("backtest", folder / "no.csv", "--monitor", folder / "loan.yaml"), "there is no such file"),
        (
            ("backtest", folder / "good.csv", "--monitor", folder / "bad.yaml"),
            "window.every: 'soon' is no duration",
        ),
        (("backtest", folder / "good.csv", "--monitor", folder / "no.yaml"), "No such file"),
        (("monitors", "apply", folder / "loan.yaml"), "No Homeostat runs in"),
        (("replay",), "No Homeostat runs in"),
    ]:
        assert run(monkeypatch, *arguments) == 1
        assert words in capsys.readouterr().err.replace("\n", " ")


def test_a_budget_of_all_models_that_cannot_be_is_told_before_anything_is_asked_of_a_broker(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOMEOSTAT_BUDGET", "few")
    for arguments in (("monitors", "apply", folder / "loan.yaml"), ("monitors", "list")):
        assert run(monkeypatch, *arguments) == 1
        told = capsys.readouterr().err.replace("\n", " ")
        assert "HOMEOSTAT_BUDGET is 'few'" in told
        assert "4 per 90d" in told


def test_one_budget_of_all_models_on_a_real_broker(
    kafka: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """So great that the monitors of other tests on this broker hardly count."""
    asyncio.run(ensure_topics(kafka, [TopicSpec(CONTROL, 1)]))
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOMEOSTAT_BROKER", kafka)
    file = tmp_path / "monitor.yaml"

    def apply(model: str, incidents: int, *more: str) -> tuple[int, str]:
        budget = f"alarms: {{budget: {incidents} per 90d}}"
        file.write_text(f"model: {topic_prefix}-{model}\nreference: {{registered: true}}\n{budget}\n")
        code = run(monkeypatch, "monitors", "apply", file, *more)
        told = capsys.readouterr()
        return code, (told.out + told.err).replace("\n", " ")

    assert apply("a", 900_000)[0] == apply("b", 800_000)[0] == 0
    monkeypatch.setenv("HOMEOSTAT_BUDGET", "1000000 per 90d")
    for more in ("--dry-run", "--json"):
        code, told = apply("c", 1_000, more)
        assert (code, "nothing is left: lower those of other models first" in told) == (1, True), told
    assert apply("a", 100_000)[0] == 0
    assert "unchanged" in apply("a", 100_000)[1]
    assert apply("b", 100_000)[0] == apply("c", 1_000)[0] == 0
    assert run(monkeypatch, "monitors", "list") == 0
    told = capsys.readouterr()
    assert "100000 per 90d" in told.out
    assert "All models together: 2.01e+05 of 1e+06 per 90d (HOMEOSTAT_BUDGET)." in told.err


def test_the_schema_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "monitors", "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Homeostat monitor"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("monitors", "apply", "loan.yaml", "--effective-in", "3"), "'3' is no duration"),
        (("replay", "--from", "yesterday"), "'yesterday' must be a time"),
        (("replay", "--from", "1h", "--to", "2h"), "'2h' must be later than --from"),
        (("deadletters", "list", "--since", "soon"), "'soon' must be such as 30m"),
        (("deadletters", "replay"), "say which letters to send"),
    ],
)
def test_an_option_that_cannot_be_is_wrong_usage(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(folder)
    assert run(monkeypatch, *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_the_schema_cannot_read_is_not_called_quiet(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(1_000, 1).assign(age="old").to_csv(folder / "data.csv", index=False)
    assert run(monkeypatch, "backtest", folder / "data.csv", "--monitor", folder / "loan.yaml") == 1
    told = capsys.readouterr()
    assert "1,000 rows were left out: text where a number belongs, age is 'old' in row 0" in told.err
    assert "Not one row could be measured" in told.err
    assert "No window was full" in told.out
    assert "Nothing would have alarmed" not in told.out


def test_rows_with_the_id_of_another_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(1_000, 1).assign(id="same").to_csv(folder / "data.csv", index=False)
    assert run(monkeypatch, "backtest", folder / "data.csv", "--monitor", folder / "loan.yaml") == 0
    assert "999 rows have an id that came before" in capsys.readouterr().err


def test_a_warning_is_never_between_the_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(1_000, 1).to_csv(folder / "data.csv", index=False)
    monitor = (folder / "loan.yaml").read_text().replace("features:", "segments: [city], features:")
    (folder / "by-city.yaml").write_text(monitor)
    run(monkeypatch, "backtest", folder / "data.csv", "--monitor", folder / "by-city.yaml", "--json")
    told = capsys.readouterr()
    assert json.loads(told.out)["rows"] == 1_000
    assert "segments that the schema does not name" in told.err


def test_init_writes_a_monitor_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert run(monkeypatch, "init", "good.csv", "--model", "first", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["monitor"] == "first.yaml"
    assert {one["column"]: one["role"] for one in told["columns"]}["score"] == "score"
    assert run(monkeypatch, "backtest", "good.csv", "--monitor", "first.yaml") == 0
    assert run(monkeypatch, "init", "good.csv", "--model", "first") == 1
    assert "first.yaml is there already" in capsys.readouterr().err
    assert run(monkeypatch, "init", "good.csv", "--model", "first", "--force") == 0
    assert "Is this a good reference?" not in capsys.readouterr().err
    assert run(monkeypatch, "init", "good.csv", "-o", "said.yaml", "--label", "city", "--id", "at") == 0
    assert "label: city  # what turned out to be true; guessed: you said so" in Path("said.yaml").read_text()
    assert run(monkeypatch, "init", "good.csv", "-o", "not.yaml", "--score", "scoer") == 1
    assert "no column of numbers or texts for score: 'scoer'" in capsys.readouterr().err
    frame(2_000, 1, shift_at=1_000).to_csv("bad.csv", index=False)
    assert run(monkeypatch, "init", "bad.csv", "--model", "second") == 0
    assert "The second half of the reference differs from the first: " in capsys.readouterr().err


def test_tune_shows_a_row_for_each_budget(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame(1_500, 1).to_csv(folder / "data.csv", index=False)
    arguments = ("--monitor", folder / "loan.yaml", "--budget", "1 per 100 windows")
    assert run(monkeypatch, "tune", folder / "data.csv", *arguments) == 0
    assert "mean + 0.2 sd" in capsys.readouterr().out
    arguments = ("--monitor", folder / "loan.yaml", "--budget", "seldom")
    assert run(monkeypatch, "tune", folder / "data.csv", *arguments) == 1
    assert "'seldom' is no budget" in capsys.readouterr().err


def test_slices_tells_where_the_model_errs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = frame(3_000, 1)
    wrong = (data["city"] == "Rome") & (data.index % 2 == 0)
    data["truth"] = data["truth"].where(~wrong, 1 - data["truth"])
    data[["id", "truth"]].to_csv(folder / "labels.csv", index=False)
    data.drop(columns="truth").to_csv(folder / "data.csv", index=False)
    (folder / "by-city.yaml").write_text(
        (folder / "loan.yaml")
        .read_text()
        .replace("features: [age, city]", "features: [age], segments: [city]")
    )
    arguments = ("--monitor", folder / "by-city.yaml", "--labels", folder / "labels.csv")
    assert run(monkeypatch, "slices", folder / "data.csv", *arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["labelled"]) == (3_000, 3_000)
    assert "city is Rome" in told["slices"][0]["conditions"]
    gaps = {one["measure"]: one for one in told["gaps"]["city"]}
    assert gaps["accuracy"]["lowest"] == "Rome"
    assert run(monkeypatch, "slices", folder / "data.csv", *arguments) == 0
    told = capsys.readouterr()
    assert "city is Rome" in told.out
    assert "holds text" not in told.err
    texts = data.assign(age=np.where(data["age"] > 50, "old", "young")).drop(columns="truth")
    texts.to_csv(folder / "texts.csv", index=False)
    assert run(monkeypatch, "slices", folder / "texts.csv", *arguments) == 0
    assert "age holds text here and numbers in the reference" in capsys.readouterr().err
    assert run(monkeypatch, "slices", folder / "data.csv", "--monitor", folder / "loan.yaml") == 1
    assert "no row has a label" in capsys.readouterr().err
