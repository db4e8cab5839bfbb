"""Samples of rows in the stages: drawn by the ids of events, so that it does not show how they came."""

import numpy as np
import pytest
from msgspec.structs import replace

from detectors.drawn import SLOTS
from detectors.profile import Profile
from detectors.sampling import with_sample
from detectors.sequential.blocks import Rows
from homeostat.keys import keys_of
from streams.control import monitor_build
from streams.control.monitor_build import ReferenceName, complete_reference
from tests.streams.stream_data import SPECS, make_events, make_reference
from tests.streams.test_profile_stage import MODEL, Driver


@pytest.mark.parametrize("batch_rows", [100, 7])
def test_panes_keep_the_same_rows_however_events_are_cut_into_batches(batch_rows: int) -> None:
    events, driver = make_events(600, 3), Driver()
    known = make_events(2_000, 7, shift=0.0)
    reference = with_sample(make_reference(MODEL, "1"), {"age": known.age, "city": known.city})
    driver.configuration.add_reference(reference)
    order = np.random.default_rng(batch_rows).permutation(100)
    for hundred in range(6):
        for part in np.split(order, range(batch_rows, 100, batch_rows)):
            driver.predict(events, np.sort(part) + 100 * hundred)
    panes = [driver.profile(one) for one in driver.panes("event").values()]
    merged = Profile.merged(reference, panes)
    assert 0.8 * SLOTS < len(merged.drawn.rows) <= SLOTS
    whole = Profile.empty(reference)
    whole.fold({"age": events.age, "city": events.city}, None, None, keys_of(events.ids))
    assert (merged.drawn.values == whole.drawn.values).all()


def test_a_reference_keeps_a_sample_where_the_monitor_asks_for_what_takes_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor_build, "CALIBRATION", 0)
    events = make_events(2_000, 3)
    known = Rows({"age": events.age, "city": events.city}, events.predictions, events.scores, events.labels)
    plain = complete_reference(ReferenceName(MODEL, "1", "binary", ()), SPECS, known)
    named = ReferenceName(MODEL, "1", "binary", (), ("psi", "alibi_mmd"))
    sampled = complete_reference(named, SPECS, known)
    assert plain.sample == b""
    assert len(sampled.sample) > SLOTS
    assert replace(sampled, sample=b"", revision="") == replace(plain, revision="")
