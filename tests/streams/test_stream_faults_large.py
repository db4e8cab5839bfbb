"""Records as large as a broker can be told to take; with the soak tests."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from homeostat.contract_frames import MAX_VALUE_BYTES
from streams.deadletters import MAX_ORIGINAL_BYTES
from streams.topics import INGEST
from tests.streams.batch_truth import SentRows
from tests.streams.fault_checks import assert_right
from tests.streams.fault_load import Load, Send, send_of
from tests.streams.fault_oddities import odd_rows
from tests.streams.fault_outcome import undisturbed
from tests.streams.fault_plan import Plan
from tests.streams.fault_roles import PARTITIONS, ROLES
from tests.streams.fault_world import World

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

MIB = 2**20
RECORD_BYTES, MOST_BYTES = 100_000_000, 128 * MIB


@pytest.fixture(name="world", scope="module")
def world_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A broker that takes records of 128 MiB."""
    folder = tmp_path_factory.mktemp("large")
    config = KafkaConfig(
        folder / "kafka",
        heap_mb=1_500,
        message_max_bytes=MOST_BYTES,
        properties={"socket.request.max.bytes": str(2 * MOST_BYTES)},
    )
    with KafkaBroker(config, launcher=parent_bound_launcher()) as broker:
        world = World(broker, folder)
        yield world
        world.close()


async def test_a_record_of_100_mb_is_a_dead_letter_and_stops_nobody(world: World) -> None:
    """One of noise and one that begins as a sound batch on the events topic, one on the gate's; and one of 60 MB, which
    is within the bound and counts."""
    plan = Plan(model="large", seed=4, requests=2_000)
    load = Load.of([plan], PARTITIONS)
    sound = next(send for send in load.direct if send.rows is not None and send.rows.version == "1")
    noise = replace(sound, value=os.urandom(RECORD_BYTES), rows=None, at_s=1.0)
    padded = replace(sound, value=sound.value + bytes(RECORD_BYTES - len(sound.value)), rows=None, at_s=1.5)
    wide = wide_rows(plan)
    assert 55_000_000 < len(wide.value) < MAX_VALUE_BYTES
    load = load.with_more([noise, padded, wide])
    event = json.dumps({"kind": "prediction", "model": "large", "id": "x" * RECORD_BYTES}).encode()
    foreign = Send(INGEST, 0, b"large", event, (), 2.0)
    expected = undisturbed(load)

    await world.start()
    calm = {role: world.process(role).peak_bytes for role in ROLES}
    await world.configure(load)
    await world.send([foreign, *load.sends])
    found = await assert_right(world, load, expected, windows=8)
    unknown = (await world.look()).of(["_unknown"]).letters
    assert sorted(one.stage for one in unknown) == ["gate", "profile", "profile"]
    assert all(one.truncated and len(one.original) == MAX_ORIGINAL_BYTES for one in unknown)
    assert all(len(one.to_json()) < MIB for one in unknown)
    assert not found.letters
    assert not world.faults, "somebody ended and was started again"
    grown = {role: world.process(role).peak_bytes - calm[role] for role in ROLES}
    assert max(grown.values()) < 5 * RECORD_BYTES, grown


def wide_rows(plan: Plan) -> Send:
    """60 MB of rows whose city is a long text."""
    odd = odd_rows(plan, 50_000, PARTITIONS)
    assert odd.rows is not None
    cities = np.array([f"{number:>1050}" for number in range(len(odd.rows.frame))], dtype=object)
    frame = odd.rows.frame.assign(**{"f.city": cities})
    rows: SentRows = replace(odd.rows, frame=frame, producer="wide")
    return replace(send_of(rows), at_s=1.7)
