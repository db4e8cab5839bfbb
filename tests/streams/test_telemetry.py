"""What the workers tell Prometheus."""

import asyncio
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from detectors.values import Accounting
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.samples import Measured, Sample, accounting_samples
from streams.stages import InputRecord
from streams.telemetry import Telemetry
from streams.telemetry_names import (
    BEAT,
    CATALOGUE,
    EVENTS,
    IDS,
    MODEL_LAG_SECONDS,
    PANES,
    PARTITIONS,
    SERIES,
    WAITING,
    WATERMARK,
    MetricName,
)
from streams.times import MICROSECONDS, now_us
from streams.worker.owned import Owned
from streams.worker.role import StreamsConfig
from tests.patience import PATIENCE_S
from tests.streams.counting import counting_role
from tests.streams.parts import until
from tests.streams.running import make_counting_topics, running, send_numbers, until_counted
from tests.streams.stream_data import START_US, interleaved, make_configuration, make_events


class Given:
    """A source whose numbers are given."""

    def __init__(self, *samples: Sample) -> None:
        self.given = list(samples)
        self.asked_in: list[threading.Thread] = []

    def samples(self) -> Iterable[Sample]:
        self.asked_in.append(threading.current_thread())
        return self.given


def values(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """Metric and label values, the role first."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in telemetry.families()
        for sample in family.samples
    }


def scrape(port: int) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_are_told_once_and_follow_the_customs() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        assert metric.name.startswith("homeostat_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help.endswith(".")
        assert "role" not in metric.labels


def test_more_models_than_can_be_shown_are_put_together() -> None:
    told = [Sample(EVENTS, ("0", f"m{number}", "received"), 1.0) for number in range(700)]
    late = [Sample(WATERMARK, ("0", f"m{number}", "event"), 1_000.0 + number) for number in range(700)]
    telemetry = Telemetry("profile", max_models=500)
    telemetry.add(Given(*told, *late))
    for _ in range(2):  # the same ones every time
        found = values(telemetry)
        assert len(found) == 2 * 501
        assert found["homeostat_events_total", "profile", "0", "_other", "received"] == 200
        assert found["homeostat_watermark_seconds", "profile", "0", "_other", "event"] == 1_500
        assert found["homeostat_watermark_seconds", "profile", "0", "m499", "event"] == 1_499


def test_series_that_say_the_same_become_one_as_their_metric_says() -> None:
    most = MetricName("homeostat_most", "gauge", "The most.", ("partition",), "max")
    telemetry = Telemetry("record")
    telemetry.add(Given(Sample(most, ("0",), 3.0), Sample(most, ("0",), 9.0), Sample(most, ("1",), 1.0)))
    assert values(telemetry) == {
        ("homeostat_most", "record", "0"): 9.0,
        ("homeostat_most", "record", "1"): 1.0,
    }


def test_the_accounting_is_told_without_zeros_and_waiting_apart() -> None:
    account = Accounting(
        model="loan",
        stage="profile",
        partition=3,
        received=7,
        profiled=6,
        late=1,
        label_received=2,
        waiting=2,
    )
    assert set(accounting_samples(account)) == {
        Sample(EVENTS, ("3", "loan", "received"), 7),
        Sample(EVENTS, ("3", "loan", "profiled"), 6),
        Sample(EVENTS, ("3", "loan", "late"), 1),
        Sample(EVENTS, ("3", "loan", "label_received"), 2),
        Sample(WAITING, ("3", "loan"), 2),
    }


async def test_a_scrape_is_answered_from_the_workers_loop() -> None:
    telemetry, source = Telemetry("gate"), Given(Sample(PARTITIONS, (), 2.0))
    telemetry.add(source)
    telemetry.attach()
    port = telemetry.serve(0)
    try:
        found = await asyncio.to_thread(scrape, port)
        assert found["homeostat_partitions", "gate"] == 2.0
        assert found["process_resident_memory_bytes",] > 1e6
        assert set(source.asked_in) == {threading.main_thread()}
        telemetry.remove(source)
        assert ("homeostat_partitions", "gate") not in await asyncio.to_thread(scrape, port)
    finally:
        telemetry.close()


async def test_a_loop_that_is_busy_does_not_hold_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry, source = Telemetry("gate"), Given(Sample(BEAT, (), 5.0))
    telemetry.add(source)
    telemetry.attach()
    assert await asyncio.to_thread(values, telemetry) == {("homeostat_heartbeat_seconds", "gate"): 5.0}
    source.given = [Sample(BEAT, (), 6.0)]
    monkeypatch.setattr("streams.telemetry._GATHER_TIMEOUT_S", 0.1)
    found: list[dict[tuple[str, ...], float]] = []
    asking = threading.Thread(target=lambda: found.append(values(telemetry)))
    asking.start()
    asking.join()  # the loop stands still for as long
    assert found == [{("homeostat_heartbeat_seconds", "gate"): 5.0}]


def test_a_port_that_is_taken_is_an_error() -> None:
    one, other = Telemetry("a"), Telemetry("b")
    port = one.serve(0)
    try:
        with pytest.raises(OSError, match="in use"):
            other.serve(port)
    finally:
        one.close()


def test_the_stages_tell_what_they_hold() -> None:
    configuration = make_configuration("loan")
    stage = ProfileStage(0, 1, configuration)
    for record in interleaved(make_events(300, 5), "loan"):
        stage.process(record)
    assert isinstance(stage, Measured)
    told = {(sample.metric, sample.labels): sample.value for sample in stage.samples()}
    assert told[EVENTS, ("0", "loan", "received")] == 300
    assert told[IDS, ("0",)] >= 300
    assert told[PANES, ("0",)] > 2
    assert told[WATERMARK, ("0", "loan", "event")] == pytest.approx(START_US / 1e6, abs=10)
    judge = JudgeStage(0, 1, configuration)
    assert isinstance(judge, Measured)
    assert {sample.metric for sample in judge.samples()} == {SERIES, PANES}


def test_the_lag_of_each_model_is_told_and_invented_names_are_bounded() -> None:
    stage = ProfileStage(0, 1, make_configuration("loan"))
    owned = Owned(0, stage, None, 0, 0)  # pyright: ignore[reportArgumentType]  (nothing is written)
    for waited_s, key in ((50, b"loan"), (40, b"churn"), (30, b"loan"), (20, None)):
        owned.took(InputRecord("t", 0, 0, key, b"", (), now_us() - waited_s * MICROSECONDS))
    owned.took(InputRecord("t", 0, 0, b"undated", b"", ()))

    def told(waiting: int | None) -> dict[str, float]:
        found = owned.samples(waiting)
        return {one.labels[1]: one.value for one in found if one.metric is MODEL_LAG_SECONDS}

    assert told(3) == {"loan": pytest.approx(30, abs=5), "churn": pytest.approx(40, abs=5)}
    assert told(0) == {"loan": 0, "churn": 0}
    owned.took(InputRecord("t", 0, 0, b"loan", b"", (), now_us() - 20 * MICROSECONDS))
    assert told(3) == {"loan": pytest.approx(20, abs=5), "churn": 0}
    assert told(None) == {}
    for number in range(2_000):
        owned.took(InputRecord("t", 0, 0, b"m%d" % number, b"", (), 1))
    assert len(owned.waited_us) == 1_000


@pytest.mark.slow
async def test_a_worker_tells_its_lag_checkpoints_and_times(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    telemetry = Telemetry("profile")
    port = telemetry.serve(0)
    config = StreamsConfig(
        broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.1, telemetry=telemetry
    )
    await make_counting_topics(kafka, topic_prefix)
    try:
        async with running(config, counting_role(topic_prefix)):
            await send_numbers(kafka, topic_prefix, [[number] for number in range(50)])
            await until_counted(kafka, topic_prefix, 50)
            found: dict[tuple[str, ...], float] = {}

            async def nothing_waits() -> bool:
                found.update(await asyncio.to_thread(scrape, port))
                return found["homeostat_lag_records", "0", "profile"] == 0

            await until("the lag is gone", nothing_waits)
            assert found["homeostat_partitions", "profile"] == 1
            assert found["homeostat_records_total", "0", "profile"] == 50
            assert found["homeostat_bytes_total", "0", "profile"] == sum(len(f"[{n}]") for n in range(50))
            assert found["homeostat_lag_seconds", "0", "profile"] == 0
            assert found["homeostat_checkpoints_total", "0", "profile"] >= 1
            assert 0 < found["homeostat_checkpoint_last_seconds", "0", "profile"] < PATIENCE_S
            assert found["homeostat_checkpoint_last_bytes", "0", "profile"] > 100
            assert found["homeostat_checkpoint_age_seconds", "0", "profile"] < PATIENCE_S
            assert 0 < found["homeostat_restore_seconds", "0", "profile"] < PATIENCE_S
            assert found["homeostat_poisoned_rows_total", "0", "profile"] == 0
            assert found["homeostat_heartbeat_seconds", "profile"] > 1.7e9
        assert ("homeostat_partitions", "profile") not in await asyncio.to_thread(scrape, port)
    finally:
        telemetry.close()
