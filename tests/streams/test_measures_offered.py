"""Measures of other packages: taken when they keep the laws, left out with a reason when not."""

from importlib.metadata import EntryPoint

import pytest

from detectors.library.measure import Found, Measure
from streams.control import measures

GOOD = Measure(name="nothing", column=lambda before, now: Found(0.0))
LAWLESS = Measure(name="one", column=lambda before, now: Found(1.0))
RAISES = Measure(name="raises", column=lambda before, now: Found(1 / (before.present - before.present)))
OTHER = "a text"


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("GOOD", None),
        ("LAWLESS", "must be 0"),
        ("RAISES", "ZeroDivisionError"),
        ("OTHER", "a str, not"),
        ("ABSENT", "AttributeError"),
    ],
)
def test_a_measure_is_taken_or_left_out_with_a_reason(monkeypatch, name, because):
    entry = EntryPoint(name=name, value=f"{__name__}:{name}", group="homeostat.measures")
    monkeypatch.setattr(
        EntryPoint, "load", lambda self: globals()[name] if name in globals() else getattr(None, name)
    )
    monkeypatch.setattr(measures, "entry_points", lambda group: [entry])
    said = []
    monkeypatch.setattr(measures.log, "error", lambda text, **words: said.append(words["because"]))
    known = measures.known_measures.__wrapped__().known
    assert ("nothing" in known) == (because is None)
    assert "psi" in known
    assert all(because in one for one in said)
    assert bool(said) == (because is not None)
