"""Vectors at hand: the same as unpacking, once each, within their room."""

import numpy as np
import pytest

from detectors.at_hand import LATELY, AtHand
from detectors.errors import ProfileInvalid
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec


def _packed(value: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    return bytes([value]) * 9, np.full(10, value), np.full(20, value, dtype=np.uint8)


def test_what_was_packed_lately_is_given_once_and_as_it_was() -> None:
    hand = AtHand(most_bytes=1_000)
    packed, counters, registers = _packed(3)
    hand.keep(packed, counters, registers)
    counters += 1
    found = hand.take(bytes(bytearray(packed)))
    assert found is not None
    assert (found[0] == 3).all()
    assert (found[1] == 3).all()
    assert hand.take(packed) is None


def test_packed_bytes_that_begin_alike_are_told_apart() -> None:
    hand = AtHand(most_bytes=1_000)
    start, counters, registers = bytes(64), *_packed(3)[1:]
    hand.keep(start + b"a", counters, registers)
    hand.keep(start + b"b", counters + 1, registers)
    assert hand.take(start + b"b") is None
    found = hand.take(start + b"a")
    assert found is not None
    assert (found[0] == 3).all()


def test_the_oldest_go_where_room_runs_out_and_without_room_nothing_is_kept() -> None:
    hand = AtHand(most_bytes=250)
    for value in range(4):
        hand.keep(*_packed(value))
    assert [hand.take(_packed(value)[0]) is not None for value in range(4)] == [False, False, True, True]
    hand.keep(*_packed(5))
    hand.most_bytes = 99
    hand.keep(*_packed(6))
    assert hand.take(_packed(6)[0]) is None


def test_a_profile_that_is_at_hand_is_the_one_that_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    column = {"x": rng.normal(size=500)}
    reference = build_reference("m", "1", column, (FeatureSpec(name="x"),))
    profile = Profile.empty(reference)
    profile.fold(column, np.ones(500), rng.random(500))
    unpacked = Profile.from_bytes(reference, profile.to_bytes())
    monkeypatch.setattr(LATELY, "most_bytes", 1_000_000)
    packed = profile.to_bytes()
    given, again = Profile.from_bytes(reference, packed), Profile.from_bytes(reference, packed)
    profile.fold(column, np.ones(500), rng.random(500))
    for one in (given, again):
        assert one.to_bytes() == unpacked.to_bytes() == packed
        assert one.counters.dtype == unpacked.counters.dtype
        assert one.registers.dtype == unpacked.registers.dtype
    assert given.counters is not again.counters
    with pytest.raises(ProfileInvalid, match="was counted against reference"):
        Profile.from_bytes(None, profile.to_bytes())
