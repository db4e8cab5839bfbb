"""Following the log, without a broker: what the judge had not seen, and what cannot be compared."""

from collections import deque
from pathlib import Path

import msgspec

from detectors.values import Accounting, Alert, MetricPoint
from homeostat.contract import decode
from streams.archive.read import ArchiveReader
from streams.control.configuration import Configuration, monitor_record, reference_record
from streams.judge.seals import Planned, Seal
from streams.judge.windows import SeriesName
from streams.replay.as_logged import AsLogged, Bindings
from streams.replay.inprocess import InProcess, Results
from streams.replay.replay import Logged, Replayed, Stretch
from streams.replay.replay_archive import replay_files
from streams.replay.replay_check import check
from streams.stages import InputRecord
from streams.store import open_store
from streams.topics import CONTROL
from tests.streams.archive_parts import START_US, labels, predictions, write
from tests.streams.stream_data import interleaved, make_events, make_monitor, make_reference
from tests.streams.test_windows import settings_of
from tests.streams.window_bench import BASE_US, SECOND_US, Judge, configuration, snapshot, watermark

NAME = SeriesName("loan", "1", "all", "event")


def live() -> Judge:
    """Four windows of four seconds."""
    judge = Judge(configuration(settings_of(window_s=4.0)))
    judge.send(*(snapshot(s, 40) for s in range(17)))
    judge.flush()
    return judge


def logged(results: Results) -> Logged:
    alerts = {alert.id: alert for alert in results.alerts}
    return Logged(dict(results.points), alerts, {NAME: deque(results.seals)})


def test_panes_that_the_judge_had_not_seen_are_not_in_the_sealed_window() -> None:
    found = logged(live().results)
    found.seen[NAME] = {(0, BASE_US + s * SECOND_US): s if s != 5 else 99 for s in range(17)}
    plan = found.planned()[NAME]
    assert [len(one.absent) for one in plan] == [0, 1, 0, 0]
    judge = Judge(configuration(settings_of(window_s=4.0)), {NAME: plan})
    judge.send(*(snapshot(s, 40) for s in range(17)), watermark())
    judge.end()
    assert [seal.rows for seal in judge.results.seals] == [160, 120, 160, 160]
    assert judge.rows()[4, 8] == 160, "the correction has all of them"


def test_what_cannot_be_compared_is_counted_and_what_differs_is_named() -> None:
    results = live().results
    same = check(Replayed(results, logged(results), {}))
    assert (same.holds, same.windows, same.left_out) == (True, 4, {})
    part = check(Replayed(results, logged(results), {"loan": BASE_US + 5 * SECOND_US}))
    assert part.holds
    assert part.windows == 2
    assert part.left_out["windows that begin before the events that are left"] == 2
    assert part.points < same.points
    odd = logged(results)
    ((name, point),) = [
        (n, p) for n, p in odd.points.items() if p.measure == "rows" and p.start_us == BASE_US
    ]
    odd.points[name] = msgspec.structs.replace(point, value=3.0)
    del odd.points[next(n for n, p in odd.points.items() if p.measure == "ks")]
    told = check(Replayed(results, odd, {})).as_dict()
    assert told["differences"] == 2
    assert {(one["kind"], one["live"]) for one in told["first_differences"]} == {
        ("point", "3.0"),
        ("point", "not there"),
    }


def test_a_stretch_is_a_time_and_a_model() -> None:
    point = next(iter(live().results.points.values()))
    assert isinstance(point, MetricPoint | Alert)
    assert Stretch().holds(point)
    assert not Stretch(from_us=point.start_us + 1).holds(point)
    assert not Stretch(to_us=point.end_us - 1).holds(point)
    assert not Stretch(model="churn").holds(point)
    assert Planned(live().results.seals[0]).absent == frozenset()


def test_the_archive_gives_the_same_final_points(tmp_path: Path) -> None:
    records = interleaved(make_events(800, 5, shift=15.0), "loan")
    monitor, known = make_monitor("loan", window_s=2.0), make_reference("loan", "1")
    settings = Configuration()
    settings.add_monitor(monitor)
    settings.add_reference(known)
    run = InProcess(settings, 1)
    run.feed(records)
    run.end()
    decoded = [decode(record.value, record.headers) for record in records]
    write(open_store(tmp_path), decoded[:20])
    write(open_store(tmp_path), decoded[20:], offset=20)
    plans: dict[SeriesName, deque[Seal]] = {}
    for seal in run.results.seals:
        name = SeriesName(
            seal.model, seal.version, seal.segment, "event" if seal.axis == "event" else "label"
        )
        plans.setdefault(name, deque()).append(seal)
    control = [
        InputRecord(CONTROL, 0, number, key, value, ())
        for number, (key, value) in enumerate((monitor_record(monitor), reference_record(known)))
    ]
    live_run = Logged(dict(run.results.points), {a.id: a for a in run.results.alerts}, plans)
    for partition, model, stage in (
        (0, "loan", "profile"),
        (1, "loan", "profile"),
        (1, "churn", "profile"),
        (0, "loan", "gate"),
    ):
        account = Accounting(
            model=model, stage=stage, partition=partition, deadlettered=2, label_deadlettered=1
        )
        live_run.account(msgspec.json.encode(account), Stretch(model="loan"))
    told: list[int] = []
    again = replay_files(
        ArchiveReader(tmp_path), live_run, control, Stretch(), lambda _, rows: told.append(rows)
    )
    assert again.rows == 1_600
    assert again.set_aside_rows == 6
    compared = check(again)
    assert compared.differences == []
    assert compared.points == len(live_run.points) > 100
    assert sum(compared.left_out.values()) == len(live_run.alerts) > 0, "alerts rest on the order of arrival"


def test_the_archive_gives_numbers_and_texts_of_one_column_and_every_version(tmp_path: Path) -> None:
    """The values are 0, 1 and, now and then, a text; two versions, one of which has many rows in one slice."""
    shares = [
        predictions(0, 300, times_us=[START_US] * 300),
        predictions(300, 300, version="2", times_us=[START_US] * 300),
        labels(0, 400),
        labels(400, 3, value="yes"),
        labels(403, 197),
        labels(0, 1, value="no", at_us=START_US + SECOND_US),
        predictions(600, 2, predictions=["yes", None], statuses=["ok", "error"], times_us=[START_US] * 2),
    ]
    write(open_store(tmp_path), shares)
    sent = [batch.rows for batch in shares]
    logged_run = Logged(plans={SeriesName("churn", "1", "all", "event"): deque()})
    again = replay_files(ArchiveReader(tmp_path), logged_run, [], Stretch(), lambda *_: None)
    assert (again.rows, again.unreadable) == (sum(sent), 0)
    (account,) = again.results.accounting.values()
    assert (account.received, account.duplicates, account.deadlettered) == (602, 0, 0)
    assert (account.label_received, account.label_duplicates, account.label_deadlettered) == (601, 0, 0)


def test_a_pane_has_the_reference_that_it_had_live() -> None:
    known = Configuration()
    reference = make_reference("loan", "1")
    known.add_reference(reference)
    second = 1_000_000
    bindings = Bindings({(0, 0): (10 * second, ""), (0, 10 * second): (11 * second, reference.revision)})
    settings = AsLogged(known, {NAME: bindings})
    settings.add_reference(reference)

    def bound(source: int, start_s: int) -> bool:
        return settings.pane_reference("loan", "1", "all", "event", source, start_s * second) is not None

    assert [bound(0, 0), bound(0, 10), bound(0, 11)] == [False, True, True]
    assert not bound(0, 5), "within a pane that had none"
    assert [bound(1, 0), bound(1, 10)] == [False, True], "of another source, as from the archive"
    assert settings.pane_reference("loan", "1", "city=Oslo", "event", 0, 0) is not None, "never told live"
