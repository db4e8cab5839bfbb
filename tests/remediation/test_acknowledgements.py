"""Who serves what: only digests count."""

from typing import Any

import pytest

from remediation.acknowledgements import Acknowledgements, Standing
from remediation.config import ExecutionConfig
from remediation.values import Acknowledgement, Desired
from tests.remediation.fakes import S

DESIRED = Desired(
    model="m", version="1", digest="sha256:aa", epoch=5, decided_by="agent", reason="r", at_us=0
)


def _said(server: str, epoch: int = 5, **more: Any) -> Acknowledgement:
    fields = {"version": "1", "digest": "sha256:aa", "loaded": True, "at_us": 7} | more
    return Acknowledgement(model="m", epoch=epoch, server=server, **fields)


def _standing(said: list[Acknowledgement], after_s: float = 1.0) -> Standing:
    book = Acknowledgements()
    for each in said:
        book.record(each)
    return book.standing(DESIRED, asked_us=0, now_us=round(after_s * S), config=ExecutionConfig())


EARLIER = [_said("a", 4, digest="sha256:bb"), _said("b", 4, digest="sha256:bb"), _said("old", 2)]
REFUSED = {"loaded": False, "digest": "", "detail": "broken file"}


@pytest.mark.parametrize(
    ("said", "after_s", "expected", "sentence"),
    [
        ([], 1, "waiting", "waiting for a, b"),
        ([], 61, "refused", "no inference server acknowledged"),
        ([_said("a")], 1, "waiting", "waiting for b"),
        ([_said("a"), _said("b")], 1, "loaded", "loaded by a, b"),
        ([_said("a")], 16, "loaded", "no answer from b, taken for gone"),
        ([_said("a"), _said("b", **REFUSED)], 1, "waiting", "waiting for b"),
        ([_said("a"), _said("b", **REFUSED)], 16, "refused", "b: broken file"),
        ([_said("a"), _said("b", digest="sha256:cc")], 16, "refused", "it runs sha256:cc, not sha256:aa"),
        ([_said("a"), _said("b", **REFUSED), _said("b")], 1, "loaded", "loaded by a, b"),
        ([_said("a"), _said("b", arrangement="cafe")], 16, "refused", "b: its arrangement is cafe, not none"),
    ],
)
def test_standing(said: list[Acknowledgement], after_s: float, expected: str, sentence: str) -> None:
    found = _standing([*EARLIER, *said], after_s)
    assert found.state == expected
    assert sentence in found.sentence


def test_the_first_deployment_waits_for_whoever_is_there() -> None:
    assert _standing([]).sentence == "version 1 (sha256:aa): waiting for any inference server"
    assert _standing([_said("a")]).state == "loaded"


def test_old_epochs_are_forgotten() -> None:
    book = Acknowledgements()
    for epoch in range(1, 50):
        book.record(_said("a", epoch))
    assert book.servers_before("m", 42) == frozenset()
    assert book.servers_before("m", 50) == {"a"}
