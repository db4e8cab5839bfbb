"""What the demo sends, whatever an outage has held back."""

import json

from deploy.demo.session import Addresses, Session
from deploy.settings import Settings
from streams.gate.rows import MAX_ROWS


class Bus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def publish(self, topic: str, *, key: bytes, value: bytes) -> None:
        self.values.append(value)


async def test_labels_that_an_outage_held_back_are_sent_in_records_that_the_gate_takes() -> None:
    session = Session(Addresses("127.0.0.1:1", "", "http://127.0.0.1:1", "http://127.0.0.1:1"), Settings())
    bus = Bus()
    session.bus = bus
    rows: list[dict[str, object]] = [{"id": f"one-{number}"} for number in range(2 * MAX_ROWS + 1)]
    await session.send_labels(rows)
    await session.calls.close()
    sent = [json.loads(value) for value in bus.values]
    assert max(map(len, sent)) <= MAX_ROWS
    assert [row for part in sent for row in part] == rows
