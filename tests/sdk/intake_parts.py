"""What the tests of the way in share: a client that sends nothing, and what it holds."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from homeostat import Client, Config
from homeostat.contract import decode
from homeostat.intake import Intake
from homeostat.ledger import Ledger
from homeostat.packing import Parcel, parcels_of_unit

NOBODY = "127.0.0.1:1"


def drained(intake: Intake, config: Config, ledger: Ledger) -> list[Parcel]:
    intake.close()
    parcels: list[Parcel] = []
    while (unit := intake.take()) is not None:
        parcels += parcels_of_unit(unit, config, ledger)
    return parcels


def rows_of(parcels: list[Parcel]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for parcel in parcels:
        assert parcel.value is not None
        batch = decode(parcel.value, parcel.headers("p", 1))
        names = batch.columns.schema.names
        found += [
            (batch.model, parcel.version, *(str((name, row[name])) for name in names))
            for row in batch.columns.to_pylist()
        ]
    return sorted(found, key=str)


class Quiet:
    """A client whose background thread never starts: what it holds stays where it is."""

    def __init__(self, **settings: Any) -> None:
        self.client = Client()
        self.client.open(NOBODY, exit_timeout_s=0, **settings)
        running = self.client._running
        assert running is not None
        running.delivery.start = lambda: None  # type: ignore[method-assign]
        self.intake, self.config, self.ledger = running.delivery.intake, running.config, running.ledger
        self.intake._start = lambda: None  # type: ignore[attr-defined]

    def parcels(self) -> list[Parcel]:
        return drained(self.intake, self.config, self.ledger)


def rows(parcel: Parcel) -> list[dict[str, Any]]:
    assert parcel.value is not None
    return decode(parcel.value, parcel.headers("p", 1)).columns.to_pylist()


def log_rows(client: Client, start: int, stop: int) -> None:
    for i in range(start, stop):
        client.log("m", version="1", id=str(i), features={"x": 1.0}, prediction=1)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.just(2**70),
    st.floats(),
    st.text(max_size=3),
    st.just(np.float32(1.5)),
    st.just(np.int64(7)),
    st.just([1.0, 2.0]),
    st.just(object()),
)
"""What a caller may pass as a feature, sensible or not."""
