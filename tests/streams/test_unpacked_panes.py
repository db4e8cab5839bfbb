"""Profiles that are packed between batches change no number, and what is at hand is bounded."""

from streams.profile.pane import Unpacked
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord, OutputRecord
from tests.streams.stream_data import interleaved, make_configuration, make_events

MODEL = "loan"


def outputs(most_bytes: int) -> tuple[list[OutputRecord], int]:
    """What a stage tells, and the most bytes of unpacked profiles after a batch."""
    configuration = make_configuration(MODEL)
    stage, most = ProfileStage(0, 1, configuration), 0
    unpacked = stage._models.unpacked = Unpacked(most_bytes)  # pyright: ignore[reportPrivateUsage]
    told: list[OutputRecord] = []
    for offset, record in enumerate(interleaved(make_events(800, 1), MODEL, 25)):
        stage.process(InputRecord("t", 0, offset, record.key, record.value, record.headers))
        most = max(most, unpacked.size_bytes)
        if offset % 9 == 0 and (flush := stage.flush()) is not None:
            told += flush.outputs
            stage.snapshot({topic: list(range(len(items))) for topic, items in flush.deltas.items()})
    stage.end()
    flush = stage.flush(final=True)
    assert flush is not None
    return told + flush.outputs, most


def test_packing_early_changes_no_number_and_bounds_what_is_at_hand() -> None:
    free, most = outputs(1 << 40)
    assert most > 100_000
    tight, least = outputs(0)
    assert least == 0
    assert tight == free
    some, bounded = outputs(100_000)
    assert 0 < bounded <= 100_000
    assert some == free
