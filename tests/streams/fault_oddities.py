"""Records that are rare, broken or lie, made from sound ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from homeostat.contract import key_of, partition_of
from tests.streams.batch_truth import SentRows
from tests.streams.fault_load import Send, send_of
from tests.streams.fault_plan import NUMBERS, SECOND_US, Plan, extra_columns, predictions_of


def odd_rows(plan: Plan, rows: int, partitions: int, bytes_wanted: int = 0) -> Send:
    """A batch of what is allowed and rare: NaN, infinities, empty texts, 10,000 categories, emoji. With `bytes_wanted`
    it has as many rows as a record of that size holds."""
    if bytes_wanted:
        few = odd_rows(plan, 2_000, partitions)
        rows = int(2_000 * bytes_wanted / len(few.value))
    number = np.arange(rows)
    frame = pd.DataFrame({f"f.{name}": np.sin(number + place) for place, name in enumerate(NUMBERS)})
    frame["f.f00"] = np.array([np.inf, -np.inf, np.nan, 1e308, -0.0])[number % 5]
    frame["f.city"] = np.array([None, "", *(f"c{one} 🚀" for one in range(10_000))], dtype=object)[
        number % 10_002
    ]
    frame["s.plan"] = np.array(["gold", "", "🦉", None], dtype=object)[number % 4]
    frame["id"] = [f"{plan.model}-odd-{one} 🚀" for one in number]
    frame["time_us"] = plan.start_us + number * 4_000_000 // rows
    frame["score"], frame["prediction"] = np.nan, (number % 2).astype(float)
    partition = partition_of(plan.model, 0, partitions)
    return send_of(SentRows(plan.model, "1", partition, f"odd-{plan.model}", rows, frame), 1.0)


def broken(send: Send) -> dict[str, Send]:
    """The same record, broken in every way that a producer or the wire can think of: by what is wrong with it."""
    assert send.rows is not None

    def headers(**changes: bytes | None) -> Send:
        named = {
            name: value
            for name, value in (dict(send.headers) | _dashed(changes)).items()
            if value is not None
        }
        return replace(send, headers=tuple(named.items()))

    def frame(**columns: Any) -> Send:
        assert send.rows is not None
        return replace(send_of(replace(send.rows, frame=send.rows.frame.assign(**columns))), at_s=send.at_s)

    key = send.value.find(np.uint64(key_of(str(send.rows.frame["id"].iloc[0]))).tobytes())
    rekeyed = send.value[:key] + b"\x01\x02\x03\x04\x05\x06\x07\x08" + send.value[key + 8 :]
    return {
        "nothing": replace(send, value=b""),
        "no Arrow": replace(send, value=b'{"model": "loan"}'),
        "half": replace(send, value=send.value[: len(send.value) // 2]),
        "without its last bytes": replace(send, value=send.value[:-400]),
        "another hash": replace(send, value=rekeyed),
        "another contract": headers(contract=b"99"),
        "labels by its header": headers(kind=b"labels"),
        "no version": headers(version=None),
        "no producer": headers(producer=None),
        "a negative sequence": headers(sequence=b"-1"),
        "JSON by its header": headers(content_type=b"application/json"),
        "no UTF-8": headers(model=b"\xff\xfe"),
        "no number": frame(prediction=np.nan),
        "an infinite prediction": frame(prediction=np.inf),
        "no probability": frame(score=1.5),
        "an empty id": frame(id=""),
        "before 1970": frame(time_us=-5),
        "after 9999": frame(time_us=2**62),
    }


def lies(send: Send) -> Send:
    """A record whose columns are not what the schema of its version says: text where a number belongs."""
    assert send.rows is not None
    frame = send.rows.frame.assign(**{"f.f02": "twelve"})
    rows = replace(send.rows, frame=frame, refused=True, producer=f"liar-{send.rows.model}")
    return replace(send_of(rows), at_s=send.at_s)


def shifted(
    plan: Plan, seconds: float, partitions: int, now_us: int, at_s: float, mixed: bool = False
) -> list[Send]:
    """Predictions and labels of a producer whose clock is wrong; `mixed`: only that of every second row."""
    frame = predictions_of(replace(plan, requests=200, seed=77, shadow=0.0)).sort_values("time_us")
    frame["id"] = [f"{plan.model}-{seconds:g}-{mixed}-{number}" for number in range(len(frame))]
    wrong = np.arange(len(frame)) % 2 == 0 if mixed else np.ones(len(frame), dtype=bool)
    frame["time_us"] += np.where(wrong, int(seconds * SECOND_US), 0)
    partition = partition_of(plan.model, 0, partitions)
    name = f"clock-{plan.model}-{seconds:g}-{mixed}"
    predictions = frame[["id", "time_us", "prediction", "score", *extra_columns(frame)]].reset_index(
        drop=True
    )
    labels = pd.DataFrame({"id": frame["id"], "time_us": frame["time_us"], "value": frame["truth"]})
    both = ((0, "1", predictions), (1, None, labels.reset_index(drop=True)))
    sent = [SentRows(plan.model, version, partition, name, number, rows) for number, version, rows in both]
    return [send_of(replace(rows, arrived_us=now_us), at_s) for rows in sent]


def _dashed(names: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    return {name.replace("_", "-"): value for name, value in names.items()}
