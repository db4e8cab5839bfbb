"""Parts of the stages: the id table against a dictionary, ranges of log, configuration in force."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from detectors.values import Monitor
from streams.control.configuration import Configuration, monitor_record, reference_record
from streams.ranges import Segment, add_segment, joined_ranges
from tests.streams.stream_data import make_reference


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 100)), max_size=40))
def test_joined_ranges_cover_all_and_overlap_nowhere(raw: list[tuple[int, int]]) -> None:
    ranges = [(first, first + length) for first, length in raw]
    joined = joined_ranges(ranges)
    assert all(any(low <= first and last <= high for low, high in joined) for first, last in ranges)
    assert all(left[1] < right[0] for left, right in pairwise(joined))


def test_segments_stay_few_and_cover_every_delta() -> None:
    segments: list[Segment] = []
    for offset in range(5_000):
        add_segment(segments, offset, offset * 10)
    assert len(segments) <= 256
    assert segments[0][0] == 0
    assert segments[-1][1:] == (4_999, 49_990)
    assert all(left[1] + 1 == right[0] for left, right in pairwise(segments))


def test_the_monitor_in_force_is_the_last_that_took_effect() -> None:
    configuration = Configuration()
    assert configuration.monitor("loan", 5) == Monitor(model="loan")
    pane_us = 10_000_000
    for revision, effective_us in ((1, 0), (2, pane_us + 100)):
        monitor = Monitor(model="loan", revision=revision, effective_us=effective_us)
        configuration.apply(*monitor_record(monitor))
    begins_us = 2 * pane_us
    times_us = (-5, 0, pane_us + 100, begins_us - 1, begins_us, 10**18)
    assert [configuration.monitor("loan", at).revision for at in times_us] == [1, 1, 1, 1, 2, 2]
    assert configuration.monitor_revision("loan", 1).revision == 1
    assert configuration.monitor_revision("loan", 7).revision == 2


def test_older_references_stay_known_by_their_revision() -> None:
    configuration = Configuration()
    first, second = make_reference("a/b", "1", seed=1), make_reference("a/b", "1", seed=2)
    for reference in (first, second):
        configuration.apply(*reference_record(reference))
    assert not configuration.knows("a/b", "1"), "there is no monitor yet"
    assert configuration.reference("a/b", "1") == second
    assert configuration.reference_revision(first.revision) == first
    assert reference_record(first)[0] == f"reference/a%2Fb/1/{first.revision}".encode()


def test_a_damaged_control_record_leaves_what_was_in_force() -> None:
    configuration = Configuration()
    reference = make_reference("loan", "1")
    configuration.apply(*reference_record(reference))
    changed = msgspec.structs.replace(reference, rows=1)
    configuration.apply(b"reference/loan/1", changed.to_json())
    configuration.apply(b"monitor/loan", b"{")
    configuration.apply(b"something", b"{}")
    configuration.apply(b"reference/loan/1", None)
    assert configuration.reference("loan", "1") == reference
