"""Protected columns: nothing of a raw value leaves the SDK, and what is equal stays equal."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from homeostat import Client, Config
from homeostat.batches import LabelBatch, PredictionBatch
from homeostat.contract import decode
from homeostat.protection import hashed, masked

KEY = "a secret of the test, 32 bytes.."
PROTECT = {
    "email": "drop",
    "ssn": "hash",
    "name": "mask",
    "id": "hash",
    "other": {"ssn": "drop", "x": "mask"},
}


def batches(log: Any, **settings: Any) -> list[PredictionBatch | LabelBatch]:
    """What a client whose thread does not run would send."""
    client = Client()
    client.open("127.0.0.1:1", exit_timeout_s=0, **({"protect": PROTECT, "protect_key": KEY} | settings))
    running = client._running
    assert running is not None
    running.delivery.start = lambda: None  # type: ignore[method-assign]
    running.delivery.intake._start = lambda: None  # type: ignore[attr-defined]
    log(client)
    from tests.sdk.intake_parts import drained

    parcels = drained(running.delivery.intake, running.config, running.ledger)
    client.close(timeout_s=0)
    for parcel in parcels:
        assert parcel.value is not None
        for secret in (b"ada@example.org", b"078-05", b"Lovelace", b"request-1"):
            assert secret not in parcel.value
    return [decode(parcel.value, parcel.headers("p", 1)) for parcel in parcels]


PERSON = {"email": "ada@example.org", "ssn": "078-05-1120", "name": "Lovelace", "x": 1.0}


def test_columns_are_dropped_hashed_and_masked() -> None:
    def log(client: Client) -> None:
        client.log("m", version="1", id="request-1", features=PERSON, prediction=1, segments={"name": "Ada"})
        client.log("m", version="1", id=["request-1"], features=pd.DataFrame([PERSON]), prediction=[1])
        client.label("m", id="request-1", value=1)

    *found, label = sorted(batches(log), key=lambda batch: isinstance(batch, LabelBatch))
    for batch in found:
        assert isinstance(batch, PredictionBatch)
        assert batch.feature_names == ("ssn", "name", "x")
        assert batch.features["ssn"].tolist() == [hashed("078-05-1120", KEY.encode())]
        assert batch.features["name"].tolist() == ["length 8-15"]
        assert batch.ids == label.ids == [hashed("request-1", KEY.encode())]
        assert batch.keys.tolist() == label.keys.tolist()
    assert any(batch.segments for batch in found if isinstance(batch, PredictionBatch))
    for batch in found:
        if isinstance(batch, PredictionBatch) and batch.segments:
            assert batch.segments["name"].tolist() == ["length 2-3"]


def test_what_is_said_of_a_model_goes_before_what_is_said_of_all() -> None:
    (batch,) = batches(lambda client: client.log("other", version="1", id="a", features=PERSON, prediction=1))
    assert isinstance(batch, PredictionBatch)
    assert {name: column.tolist() for name, column in batch.features.items()} == {
        "name": ["length 8-15"],
        "x": ["length 1"],
    }


def test_equal_numbers_have_equal_hashes_however_they_came() -> None:
    def log(client: Client) -> None:
        for i, value in enumerate((7, 7.0, np.int64(7), np.float32(7), "7", None, float("nan"))):
            client.log("m", version="1", id=str(i), features={"ssn": value}, prediction=1)
        client.log("m", version="1", id=["8"], features={"ssn": np.array([7])}, prediction=[1])

    found = [
        value
        for batch in batches(log)
        if isinstance(batch, PredictionBatch)
        for value in batch.features["ssn"]
    ]
    assert sorted(found, key=str) == [hashed("7", KEY.encode())] * 6 + [None] * 2 or found.count(None) == 2
    assert {value for value in found if value is not None} == {hashed("7", KEY.encode())}


def test_no_warning_shows_a_protected_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bad: dict[str, Any] = {"ssn": ["078-05-1120"], "name": b"Lovelace"}

    def log(client: Client) -> None:
        client.log("m", version="1", id=b"request-1", features={"x": 1.0}, prediction=1)
        client.log("m", version="1", id=("request-1",), features={"x": 1.0}, prediction=1)
        for name, value in bad.items():
            client.log("m", version="1", id="b", features={name: value}, prediction=1)

    assert batches(log) == []
    assert "a protected value of type" in caplog.text
    assert not any(secret in caplog.text for secret in ("078-05", "Lovelace", "request-1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "length 0"),
        ("a", "length 1"),
        ("abc", "length 2-3"),
        ("🫀" * 4, "length 4-7"),
        ("x" * 1_000, "length 512-1023"),
    ],
)
def test_masks(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_another_key_gives_another_hash() -> None:
    assert hashed("a", b"k" * 16) != hashed("a", b"l" * 16)
    assert len(hashed("\ud800", b"k" * 16)) == 32


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"protect": {"a": "hash"}}, "protect_key: found nothing; expected a secret of 16 to 64 bytes"),
        ({"protect": {"m": {"a": "hash"}}, "protect_key": "short"}, "protect_key: found 5 bytes"),
        ({"protect": {"a": "encrypt"}}, "protect: found 'a': 'encrypt'; expected drop, hash or mask"),
        ({"protect": {"id": "drop"}}, "protect: found 'id': 'drop'; expected hash"),
        ({"protect": {"m": {"id": "mask"}}}, "protect: found 'id': 'mask'; expected hash"),
        ({"on_full": "explode"}, "on_full: found 'explode'; expected drop_newest or drop_oldest or block"),
        ({"block_timeout_s": 0}, "block_timeout_s: found 0"),
        ({"max_bytes": 5}, "max_bytes: found 5; expected at least 1048576"),
        ({"spool_max_bytes": 5}, "spool_max_bytes: found 5; expected at least 1048576"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        Config(broker="b:1", **settings)


def test_the_key_is_never_shown() -> None:
    assert KEY not in repr(Config(broker="b:1", protect=PROTECT, protect_key=KEY))
