"""The client beside its host: it never raises, never grows, never waits, and counts what it could not do."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import homeostat
from homeostat import Client, Config
from homeostat.ledger import Holding, Ledger
from tests.patience import PATIENCE_S, patient_s

NOBODY = "127.0.0.1:1"
"""No broker listens there: connections are refused at once."""


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    client.open(NOBODY, max_rows=1_000, batch_rows=100, linger_s=0.01, exit_timeout_s=0)
    yield client
    client.close(timeout_s=0)


def log(client: Client, id: Any = "a", **changes: Any) -> None:
    given: dict[str, Any] = {"version": "1", "features": {"x": 1.0}, "prediction": 1} | changes
    client.log("m", id=id, **given)


def until(condition: Any, timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + patient_s(timeout_s)
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true"
        time.sleep(0.01)


def test_without_a_broker_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HOMEOSTAT_BROKER", raising=False)
    threads = threading.active_count()
    homeostat.init()
    homeostat.log("m", version="1", id="a", features=object(), prediction="nonsense")
    homeostat.label("m", id="a", value=1)
    homeostat.log()  # type: ignore[call-arg]
    assert homeostat.flush() is True
    assert homeostat.stats() == homeostat.Stats(dropped={})
    homeostat.close()
    assert threading.active_count() == threads
    assert caplog.messages == []


def test_the_environment_names_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_BROKER", NOBODY)
    homeostat.init()
    homeostat.log("m", version="1", id="a", features={"x": 1}, prediction=1)
    assert homeostat.stats().logged == 1
    homeostat.close(timeout_s=0)
    homeostat.log("m", version="1", id="b", features={"x": 1}, prediction=1)
    assert homeostat.stats() == homeostat.Stats(logged=1, dropped={"closed": 1})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"broker": "localhost"}, "broker: found 'localhost'; expected host:port"),
        ({"broker": 5}, "broker: found 5; expected host:port, or several with commas"),
        ({"topic": 5}, "topic: found 5; expected a topic's name"),
        ({"batch_rows": "5"}, "batch_rows: found '5'; expected a whole number"),
        ({"linger_s": None}, "linger_s: found None; expected a number of seconds"),
        ({"protect": "email"}, "protect: found 'email'; expected a mapping"),
        ({"spread": {"m": "2"}}, "spread: found {'m': '2'}; expected 1 or more"),
        ({"kafka": "secret"}, "kafka: found a str; expected a mapping"),
        ({"batch_rows": 0}, "batch_rows: found 0; expected 1 to 100000"),
        ({"linger_s": 0}, "linger_s: found 0; expected more than 0"),
        ({"max_rows": 10}, "max_rows: found 10; expected at least batch_rows"),
        ({"exit_timeout_s": -1}, "exit_timeout_s: found -1"),
        ({"spread": 0}, "spread: found 0; expected 1 or more"),
        ({"spread": {"m": 0}}, "spread: found {'m': 0}; expected 1 or more"),
        ({"topic": ""}, "topic: found ''; expected a topic's name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_settings_are_logged_and_nothing_is_sent(
    settings: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    client.open(**({"broker": NOBODY} | settings))
    assert told in caplog.messages[0]
    log(client)
    assert client.stats().logged == 0


def test_settings_are_checked_loudly_where_asked() -> None:
    with pytest.raises(ValueError, match="linger_s: found 99; expected"):
        Config(broker=NOBODY, linger_s=99)


def test_wrong_calls_count_as_rejected_and_are_told_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "homeostat")
    wrong: Any = client
    for _ in range(3):
        wrong.log()
        wrong.log("m", version="1", id="a", features={}, prediction=1, colour="red")
        wrong.label("m", id="a")
        log(client, time="yesterday")
        log(client, features=3.0)
        log(client, ["a", "b"], features={"x": [1.0, 2.0]}, prediction=1)
        wrong.label("m", id=["a"], value=[1], time=["yesterday"])
    until(lambda: client.stats().rejected == 21)
    assert client.stats().logged == 15
    assert client.stats().labelled == 6
    told = [message for message in caplog.messages if "told once" in message]
    assert len(told) == len(set(told))
    assert any("time: found 'yesterday'; expected a datetime" in message for message in told)


def test_many_events_at_once(client: Client) -> None:
    rows = 300
    frame = pd.DataFrame({"x": np.arange(rows, dtype=float), "c": ["a", None, "b"] * 100})
    ids = [f"i{i}" for i in range(rows)]
    log(client, ids, features=frame, prediction=np.ones(rows), score=pd.Series([0.5] * rows), status="ok")
    log(client, np.array(ids), features=np.zeros((rows, 2)), prediction=[0] * rows, feature_names=["x", "y"])
    client.label("m", id=pd.Series(ids), value=np.zeros(rows), time=np.datetime64("2026-01-01"))
    assert client.stats() == homeostat.Stats(logged=600, labelled=300, dropped={}, pending=900)


@pytest.mark.parametrize("names", [[], (), np.array([], dtype=str)])
def test_no_feature_names_are_those_of_the_settings(names: Any) -> None:
    client = Client()
    client.open(NOBODY, feature_names=("x", "y"), exit_timeout_s=0)
    log(client, features=np.ones(2), feature_names=names)
    assert (client.stats().logged, client.stats().rejected) == (1, 0)
    client.close(timeout_s=0)


def test_the_host_may_change_its_objects_afterwards(client: Client) -> None:
    features, array = {"x": 1.0}, np.ones((1, 1))
    log(client, features=features)
    log(client, ["b"], features=array, prediction=[1], feature_names=["x"])
    features["x"] = object()  # type: ignore[assignment]
    array[:] = np.nan
    until(lambda: client.stats().pending == 2)
    assert client.stats().rejected == 0


def test_memory_is_bounded_and_the_newest_rows_are_dropped(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(900):
        log(client, str(i))
    log(client, [str(i) for i in range(300)], features={"x": np.zeros(300)}, prediction=np.zeros(300))
    log(client)
    client.label("m", id="a", value=1)
    stats = client.stats()
    assert (stats.logged, stats.labelled, stats.pending) == (1_201, 1, 1_000)
    assert stats.dropped == {"memory_full": 202}
    assert sum("max_rows" in message for message in caplog.messages) == 1


def test_a_client_that_cannot_connect_says_so_once_and_never_waits(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    log(client)
    deadline_s = time.monotonic() + PATIENCE_S
    while not any("no delivery to topic homeostat.events" in message for message in caplog.messages):
        assert time.monotonic() < deadline_s
        assert client.flush(timeout_s=0.1) is False
    assert client.flush(timeout_s=0.3) is False
    told = [message for message in caplog.messages if "no delivery to topic homeostat.events" in message]
    assert told[0].count("KafkaConnectionError") == 1
    assert len(told) == 1
    started_s = time.monotonic()
    client.close(timeout_s=0)
    assert time.monotonic() - started_s < 30
    assert any("1 events were not acknowledged" in message for message in caplog.messages)
    assert not [record for record in caplog.records if record.name.startswith("aiokafka")]


def test_opening_again_replaces_the_first(client: Client) -> None:
    log(client)
    client.open(NOBODY, exit_timeout_s=0)
    assert client.stats().logged == 0
    assert client.stats().pending == 0


def test_threads_lose_no_count(client: Client) -> None:
    client.open(NOBODY, max_rows=50_000, exit_timeout_s=0)

    def work(name: int) -> None:
        for i in range(2_000):
            log(client, f"{name}-{i}")
            client.label("m", id=f"{name}-{i}", value=1)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.stats() == homeostat.Stats(logged=8_000, labelled=8_000, dropped={}, pending=16_000)


def test_flush_waits_for_what_came_before_it_only() -> None:
    ledger = Ledger(100, 1_000)
    ledger.enter(2, 0)
    first, second = ledger.open_ticket(1), ledger.open_ticket(1)
    mark = ledger.mark()
    ledger.open_ticket(1)
    assert ledger.wait_settled(mark, 0) is False
    ledger.acknowledged(Holding(ticket=first, rows=1, nbytes=0))
    assert ledger.wait_settled(mark, 0) is False
    ledger.dropped(Holding(ticket=second, rows=1, nbytes=0), "too_large", "told")
    assert ledger.wait_settled(mark, 0) is True


def test_what_settles_after_close_counts_once() -> None:
    ledger = Ledger(100, 1_000)
    ledger.enter(1, 0)
    ticket = ledger.open_ticket(1)
    assert ledger.close() == 1
    ledger.acknowledged(Holding(ticket=ticket, rows=1, nbytes=0))
    ledger.drop(ledger.open_ticket(1), 1, "oldest")
    stats = ledger.stats()
    assert (stats.dropped, stats.pending, stats.acknowledged) == ({"closed": 1}, 0, 0)
    assert ledger.wait_settled(ledger.mark(), 0) is True
