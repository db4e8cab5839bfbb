"""Clicks in Slack between their acknowledgement and what they do: written before Slack hears that they have arrived, so
that a process that dies in between loses none."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, delete, select, update

from db.engine import reading, writing
from db.tables import ClickRow
from db.upserts import insert_ignore
from remediation.clock import seconds
from remediation.ports import Clock

_KEPT_S = 86_400.0
"""How long a click that is done is remembered; its signature is good for 300 s."""
_PAGE = 100


class SqlClicks:
    """A click is `open` until it is `done`; what it says is deleted then, for it holds an address to answer to."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def record(self, click_id: str, value: Mapping[str, Any]) -> bool:
        """Keep it; False when it was kept before (a replay)."""
        now_us = self._clock.now_us()
        row = {"id": click_id, "state": "open", "at_us": now_us, "value": dict(value)}
        with writing(self._engine) as connection:
            old = (ClickRow.state == "done") & (ClickRow.at_us < now_us - seconds(_KEPT_S))
            connection.execute(delete(ClickRow).where(old))
            statement = insert_ignore(connection, ClickRow)
            done = connection.execute(statement, row, execution_options={"preserve_rowcount": True})
            return done.rowcount == 1

    def open(self, *, older_than_s: float) -> list[tuple[str, dict[str, Any]]]:
        """Those that nobody has finished, oldest first: id and value."""
        until_us = self._clock.now_us() - seconds(older_than_s)
        query = (
            select(ClickRow.id, ClickRow.value)
            .where(ClickRow.state == "open", ClickRow.at_us <= until_us)
            .order_by(ClickRow.at_us, ClickRow.id)
            .limit(_PAGE)
        )
        with reading(self._engine) as connection:
            return [(click_id, value) for click_id, value in connection.execute(query)]

    def finish(self, click_id: str) -> None:
        """It is carried out."""
        done = update(ClickRow).where(ClickRow.id == click_id).values(state="done", value={})
        with writing(self._engine) as connection:
            connection.execute(done)
