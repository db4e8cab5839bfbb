"""Clicks that were acknowledged, over both databases."""

import threading
from dataclasses import dataclass

from sqlalchemy import Engine

from db.clicks import SqlClicks
from tests.patience import PATIENCE_S

S = 1_000_000


@dataclass
class Clock:
    """Stands until it is moved."""

    at_us: int = 1_795_000_000 * S

    def now_us(self) -> int:
        return self.at_us


def test_a_click_is_kept_once_and_until_it_is_done(engine: Engine) -> None:
    clock = Clock()
    clicks = SqlClicks(engine, clock)
    assert clicks.record("c1", {"approval": "apr-1"})
    assert not clicks.record("c1", {"approval": "apr-2"}), "a replay is not kept"
    assert clicks.open(older_than_s=10) == []
    clock.at_us += 10 * S
    assert clicks.record("c2", {"approval": "apr-2"})
    assert clicks.open(older_than_s=10) == [("c1", {"approval": "apr-1"})]
    clicks.finish("c1")
    assert clicks.open(older_than_s=0) == [("c2", {"approval": "apr-2"})]
    assert not clicks.record("c1", {}), "a replay of what is done neither"


def test_a_day_later_what_is_done_is_forgotten_and_what_is_not_is_kept(engine: Engine) -> None:
    clock = Clock()
    clicks = SqlClicks(engine, clock)
    for name in ("done", "open"):
        assert clicks.record(name, {"approval": name})
    clicks.finish("done")
    clock.at_us += 86_401 * S
    assert clicks.record("new", {})
    assert clicks.record("done", {}), "its signature is too old for a replay"
    assert [name for name, _ in clicks.open(older_than_s=10)] == ["open"]


def test_of_many_at_once_one_is_kept(engine: Engine) -> None:
    clicks, kept = SqlClicks(engine, Clock()), []
    threads = [
        threading.Thread(target=lambda: kept.append(clicks.record("same", {"approval": "a"})))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(kept) == [False] * 5 + [True]
