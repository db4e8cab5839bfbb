"""Monitor files: what is read, what is refused and in which words, and publishing."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from detectors.errors import MonitorInvalid
from detectors.values import Budget, Learning, Monitor
from streams.bus import Message
from streams.control.configuration import Configuration
from streams.control.monitor_build import build_monitor
from streams.control.monitor_publish import apply_monitor, published_monitors
from streams.files.monitor import MonitorFileInvalid, read_monitor_file, schema_json, seconds
from tests.streams.test_backtest import frame

WHOLE = """
model: car-loan
task: binary
columns:
  time: timestamp
  id: id
  prediction: y_pred
  score: y_pred_proba
  label: repaid
  features: [car_value, {name: salary, kind: categorical}]
  segments: [salary]
reference: {registered: true}
window: {every: 1h, slide: 10m}
label_window: {rows: 800}
pane: 30s
watermark_delay: 500ms
lateness: 20m
label_horizon: 2w
forget_after: 3d
alarms: {budget: 1 per 90d}
concept: {detectors: [watch, river_adwin]}
measures: [wasserstein, mahalanobis]
autonomy: observe
playbook: default
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "monitor.yaml"
    path.write_text(text)
    return path


def test_every_field_has_its_place(tmp_path: Path) -> None:
    file = read_monitor_file(written(tmp_path, WHOLE))
    monitor = build_monitor(file, ())
    assert (monitor.window_s, monitor.slide_s, monitor.label_window_rows) == (3_600, 600, 800)
    assert (monitor.pane_s, monitor.watermark_delay_s, monitor.lateness_s) == (30, 0.5, 1_200)
    assert (monitor.label_horizon_s, monitor.series_ttl_s) == (1_209_600, 259_200)
    assert monitor.budget == Budget(incidents=1, windows=90 * 24, every_s=90 * 86_400.0)
    assert (monitor.autonomy, monitor.segments) == ("observe", ("salary",))
    assert monitor.concept == ("watch", "river_adwin")
    assert monitor.measures == ("wasserstein", "mahalanobis")


def test_all_but_two_fields_have_defaults(tmp_path: Path) -> None:
    file = read_monitor_file(written(tmp_path, "model: m\nreference: {file: good.csv}\n"))
    assert file.reference.file == tmp_path / "good.csv", "beside the monitor"
    assert build_monitor(file, ()) == Monitor(model="m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a", "it must hold fields"),
        ("model: [", "this is not YAML"),
        ("model: m", "reference: it must be given"),
        (
            "model: m\nreference: {rows: 200, rows: 300}\nmodel: n\n",
            r"line 2, rows stands there twice, first in line 2.*\n.*line 3, model .* first in line 1: only one",
        ),
        ("model: m\nreference: {}", "name exactly one of file, rows, archive and registered"),
        ("model: m\nreference: {rows: 20}", r"reference\.rows is 20: .* greater than or equal to 100"),
        ("model: m\nreference: {rows: 200}\nwindow: {every: 10}", r"window\.every is 10"),
        (
            "model: m\nreference: {rows: 200}\nwindow: {every: ten}",
            r"window\.every: 'ten' is no duration: write",
        ),
        (
            "model: m\nreference: {rows: 200}\nwindow: {rows: 50, every: 1h}",
            "window.*exactly one of rows and every",
        ),
        (
            "model: m\nreference: {rows: 200}\nwindow: {rows: 50, slide: 1h}",
            "slide is '1h'.* a number of rows",
        ),
        ("model: m\nreference: {rows: 200}\nalarms: {budget: 3}", r"alarms\.budget is 3"),
        ("model: m\nreference: {rows: 200}\nalarms: {budget: few}", "'few' is no budget: write `1 per"),
        ("model: m\nreference: {rows: 200}\nalarms: {budget: 1 per 0d}", "has an empty period"),
        ("model: m\nreference: {rows: 200}\nwindows: {rows: 200}", "windows: there is no such field"),
        ("model: m\nreference: {rows: 200}\ntask: ranking", "task is 'ranking'"),
        (
            "model: m\nreference: {rows: 200}\ncolumns: {features: [{name: c, kind: number}]}",
            r"monitor\.yaml: columns\.features\.0\.kind is 'number'[^\n]*$",
        ),
        (
            "model: m\nreference: {rows: 200}\ncolumns: {features: [a, {name: a}]}",
            "columns: features name 'a' twice",
        ),
        (
            "model: m\nreference: {rows: 200}\ncolumns: {label: y, features: [a, y]}",
            "name 'y', which is the label",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(MonitorFileInvalid, match=words):
        read_monitor_file(written(tmp_path, text))


def test_what_is_merged_into_a_mapping_may_be_said_again(tmp_path: Path) -> None:
    text = "model: m\nreference: &usual {rows: 200}\n"
    again = "reference: {<<: {rows: 200, version: '1'}, version: '2'}\n"
    assert read_monitor_file(written(tmp_path, "model: m\n" + again)).reference.version == "2"
    with pytest.raises(MonitorFileInvalid, match="reference stands there twice"):
        read_monitor_file(written(tmp_path, text + again))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("window: {every: 25s}", r"window_s is 25 s; it must be a multiple of the pane of 10 s"),
        ("window: {rows: 100, slide: 30}", "slide_rows is 30"),
        ("alarms: {budget: 5 per 5 windows}", "less than one per window"),
        ("measures: [wassersteen]", r"measures: there is no measure 'wassersteen'; there are chi_squared, "),
        ("measures: [ks, ks]", "'ks' is named twice"),
        ("concept: {detectors: [adwim]}", r"concept\.detectors: there is no detector 'adwim'.*adwin, ddm"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path: Path, line: str, words: str) -> None:
    file = read_monitor_file(written(tmp_path, f"model: m\nreference: {{registered: true}}\n{line}\n"))
    with pytest.raises((MonitorInvalid, MonitorFileInvalid), match=words):
        build_monitor(file, ())


def test_a_budget_in_time_holds_for_windows_of_rows_too(tmp_path: Path) -> None:
    text = "model: m\nreference: {registered: true}\nalarms: {budget: 2 per 90d}\nwindow: {rows: 500}\n"
    monitor = build_monitor(read_monitor_file(written(tmp_path, text)), ())
    assert monitor.budget == Budget(incidents=2, windows=1_000, every_s=90 * 86_400.0)


def test_durations() -> None:
    assert [seconds(text) for text in ("250ms", "2s", "1.5m", "1h", "1d", "2w")] == [
        0.25,
        2.0,
        90.0,
        3_600.0,
        86_400.0,
        1_209_600.0,
    ]


def test_the_schema_knows_every_field() -> None:
    schema = json.loads(schema_json())
    assert {"model", "window", "reference", "alarms", "forget_after"} <= schema["properties"].keys()
    assert schema["required"] == ["model", "reference"]
    assert schema["additionalProperties"] is False


class Bus:
    """The control topic in memory."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        number = len(self.messages)
        self.messages.append(
            Message(topic=topic, partition=0, offset=number, key=key, value=value, headers={}, timestamp_ms=0)
        )

    async def read_all(self, topic: str) -> list[Message]:
        return list(self.messages)


async def test_a_monitor_is_published_once_and_then_as_the_next_revision(tmp_path: Path) -> None:
    frame(1_000, 7).to_csv(tmp_path / "good.csv", index=False)
    columns = "{score: score, prediction: said, label: truth, id: id, time: at}"
    text = f"model: loan\ncolumns: {columns}\nreference: {{file: good.csv}}\n"
    bus, path = Bus(), written(tmp_path, text)
    would = await apply_monitor(bus, read_monitor_file(path), 10.0, dry_run=True)
    assert (would.published, would.monitor.revision, bus.messages) == (True, 1, [])
    first = await apply_monitor(bus, read_monitor_file(path), 10.0)
    assert first.published
    assert first.reference is not None
    assert (first.monitor.revision, first.monitor.effective_us) == (1, 0)
    assert [spec.name for spec in first.monitor.features] == ["age", "city"]
    assert not (await apply_monitor(bus, read_monitor_file(path), 10.0)).published
    path.write_text(text + "window: {rows: 2000}\n")
    before = len(bus.messages)
    assert (await apply_monitor(bus, read_monitor_file(path), 10.0, dry_run=True)).monitor.revision == 2
    assert len(bus.messages) == before
    second = await apply_monitor(bus, read_monitor_file(path), 10.0)
    assert second.published
    assert second.monitor.revision == 2
    assert second.monitor.effective_us > 1_700_000_000_000_000
    configuration = Configuration()
    for message in bus.messages:
        configuration.apply(message.key, message.value)
    assert configuration.monitor("loan", 0).window_rows == 1_000
    assert configuration.monitor("loan", 2**62).window_rows == 2_000
    assert configuration.reference("loan", "1") == first.reference
    monitors = {message.key for message in bus.messages if (message.key or b"").startswith(b"monitor/")}
    assert len(monitors) == 2, "compaction keeps every revision"
    await bus.publish("homeostat.control", key=b"monitor/odd/1", value=b"{")
    (told,) = await published_monitors(bus)
    assert told.row()["references"] == "1"
    assert [one["revision"] for one in told.as_dict()["monitors"]] == [1, 2]
    assert msgspec.json.encode(told.as_dict())


async def test_a_new_reference_says_from_when_it_counts_and_what_counts_until_then(tmp_path: Path) -> None:
    frame(1_000, 7).to_csv(tmp_path / "good.csv", index=False)
    columns = "{score: score, prediction: said, label: truth, id: id, time: at}"
    path = written(tmp_path, f"model: loan\ncolumns: {columns}\nreference: {{file: good.csv}}\n")
    bus, configuration = Bus(), Configuration()
    old = (await apply_monitor(bus, read_monitor_file(path), 10.0)).reference
    frame(1_000, 8).to_csv(tmp_path / "good.csv", index=False)
    applied = await apply_monitor(bus, read_monitor_file(path), 10.0)
    assert old is not None
    assert applied.reference is not None
    assert applied.monitor.revision == 1
    assert f"reference {applied.reference.revision} of version 1, until then {old.revision}" in applied.told
    for message in bus.messages:
        configuration.apply(message.key, message.value)
    at_us = applied.effective_us
    assert configuration.pane_reference("loan", "1", "all", "event", 0, at_us - 1) == old
    assert configuration.pane_reference("loan", "1", "all", "event", 0, at_us) == applied.reference
    assert not (await apply_monitor(bus, read_monitor_file(path), 10.0)).published


async def test_rows_are_learned_from_the_live_stream(tmp_path: Path) -> None:
    bus = Bus()
    applied = await apply_monitor(
        bus, read_monitor_file(written(tmp_path, "model: m\nreference: {rows: 200}")), 1.0
    )
    assert applied.monitor.learning == Learning(rows=200)
    assert "a version that comes without a reference learns it from its first 200 rows" in applied.told
    (told,) = await published_monitors(bus)
    assert told.row()["references"] == "to be learned from 200 rows"
