"""What stays in memory of the versions that served."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from serving.standby import Standby

_KEYS = st.sampled_from([("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("1", "e")])


def _loaded(key: tuple[str, str]) -> Any:
    return cast("Any", SimpleNamespace(version=key[0], digest=key[1]))


@given(st.lists(_KEYS, min_size=1, max_size=30), st.integers(0, 3))
def test_the_latest_others_are_kept(served: list[tuple[str, str]], room: int) -> None:
    standby, before = Standby(room), []
    for key in served:
        now = [standby.find("m", *key) or _loaded(key)]
        standby.swapped("m", before, now)
        before = now
    others = [key for key in dict.fromkeys(reversed(served)) if key != served[-1]]
    found = [key for key in dict.fromkeys(served) if standby.find("m", *key) is not None]
    assert set(found) == set(others[:room])
    assert standby.find("another", *served[0]) is None
