"""Columns of free text: what they are reduced to, and a change of words that is found."""

import numpy as np
import pytest

from detectors.columns import Coded
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.text import MOST_WORDS, PARTS, as_sent, expand, part_names, vocabulary, watched, with_parts
from detectors.values import FeatureSpec
from tests.detectors.sequential_parts import Stream

REVIEW = FeatureSpec(name="review", kind="categorical", text=True)
SPECS = (FeatureSpec(name="stars"), REVIEW)
WORDS = np.array([f"word{number}" for number in range(500)])
SHARES = 1 / np.arange(1, 501) / (1 / np.arange(1, 501)).sum()


def _texts(rng, rows, new=0.0, missing=0.0):
    found = []
    for _ in range(rows):
        words = rng.choice(WORDS, 1 + rng.poisson(6), p=SHARES)
        fresh = rng.random(len(words)) < new
        text = " ".join(np.where(fresh, "n" + words.astype(object), words))
        found.append(None if rng.random() < missing else text)
    return np.array(found, dtype=object)


def _table(rng, rows, **changes):
    return {"stars": rng.standard_normal(rows), "review": _texts(rng, rows, **changes)}


def test_a_text_is_its_length_its_new_words_and_its_characters():
    known = {"review": frozenset(vocabulary(np.array(["good phone"] * 3 + ["bad"], dtype=object)))}
    texts = np.array(["Good phone", "bad 12 ab!", "дом", "", None], dtype=object)
    found = expand(known, {"review": texts})
    parts = np.array([found[name] for name in part_names("review")]).T
    assert parts[0] == pytest.approx([10, 0, 0.9, 0, 0, 0])
    assert parts[1] == pytest.approx([10, 1, 0.5, 0.2, 0.1, 0])
    assert parts[2] == pytest.approx([3, 1, 0, 0, 0, 1])
    assert np.isnan(parts[3:]).all()
    coded = Coded(np.array([1, 0, -1]), ["bad 12 ab!", "Good phone"])
    again = expand(known, {"review": coded})
    assert [again[name][0] for name in part_names("review")] == pytest.approx(parts[0])
    assert watched(SPECS) == ("stars", "review", *(f"review.{part}" for part in PARTS))


def test_no_text_is_kept_and_the_vocabulary_is_bounded():
    rng = np.random.default_rng(1)
    many = np.array([f"a{number // 3} b{number % 7}" for number in range(9_000)], dtype=object)
    reference = build_reference("m", "1", {"review": many}, [REVIEW])
    part = reference.feature("review")
    assert part.categories == ()
    assert part.other == 9_000
    assert 0 < len(part.words) <= MOST_WORDS
    assert "a17" not in reference.to_json().decode()
    assert Reference.from_json(reference.to_json()) == reference
    specs, columns = with_parts(SPECS, _table(rng, 50))
    assert as_sent(specs) == list(SPECS)
    assert with_parts(specs, columns)[0] == specs


def test_batches_and_their_order_leave_no_trace_and_rows_have_the_cells_of_their_batch():
    rng = np.random.default_rng(2)
    table = _table(rng, 400, missing=0.1)
    reference = build_reference("m", "1", table, SPECS)
    whole = Profile.empty(reference)
    cells = whole.fold(table, None, None)
    assert (whole.cells(table) == cells).all()
    parts = []
    for part in np.array_split(rng.permutation(400), 3):
        parts.append(Profile.empty(reference))
        parts[-1].fold({name: column[part] for name, column in table.items()}, None, None)
    assert Profile.merged(reference, parts).to_bytes() == whole.to_bytes()
    assert whole.unknown_values == 0


def test_new_words_alarm_and_the_same_language_does_not():
    rng = np.random.default_rng(3)
    table = _table(rng, 4_000)
    stream = Stream(table, reference=build_reference("m", "1", table, SPECS))
    for _ in range(8):
        stream.window(_table(rng, 500))
    assert stream.changes == []
    for _ in range(3):
        stream.window(_table(rng, 500, new=0.08))
    assert "review.unknown_words" in {column for one in stream.changes for column in one.columns}
    assert {one.since_us for one in stream.changes} == {8_000_000}
