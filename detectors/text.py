"""Free text as columns of numbers: how long it is, how many of its words are new, and of which characters it is made.

A text is never kept: of the reference's, the hashes of its common words are. What a text is reduced to are numeric
columns like any other, named after it: `review.length`, `review.unknown_words` and so on.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np

from detectors.columns import Coded, Column, Floats, categories, encoded
from detectors.remembered import Remembered
from detectors.values import FeatureSpec

PARTS: Final = ("length", "unknown_words", "letters", "digits", "symbols", "foreign")
"""Characters; share of the words that few texts of the reference hold; shares of the characters that are letters,
digits and other signs of ASCII, and that are none of ASCII. The rest is white space."""
MOST_WORDS: Final = 2_000
LEAST_TEXTS: Final = 3
"""Texts of the reference that hold a word which counts as known."""

Columns = Mapping[str, Column | Coded]


def part_names(name: str) -> tuple[str, ...]:
    """The columns that a text becomes."""
    return tuple(f"{name}.{part}" for part in PARTS)


def watched(specs: Sequence[FeatureSpec]) -> tuple[str, ...]:
    """The names of the columns of these features, with those that texts become."""
    return tuple(
        name for spec in specs for name in (spec.name, *(part_names(spec.name) if spec.text else ()))
    )


WATCHED: Final = Remembered(watched)
"""The same for the features of a monitor, which never change."""


def as_sent(specs: Sequence[FeatureSpec]) -> list[FeatureSpec]:
    """The features as events bring them, without the columns that texts become."""
    made = {name for spec in specs if spec.text for name in part_names(spec.name)}
    return [spec for spec in specs if spec.name not in made]


def with_parts(
    specs: Sequence[FeatureSpec], features: Mapping[str, Column]
) -> tuple[list[FeatureSpec], dict[str, Column]]:
    """Features of a reference, and its columns, with those that its texts become. What is there already stays.

    A word is known to a row by the other rows that hold it, as it will be to the rows of a window."""
    names, found, columns = {spec.name for spec in specs}, list[FeatureSpec](), dict(features)
    for spec in specs:
        found.append(spec)
        if not spec.text or part_names(spec.name)[0] in names:
            continue
        texts = _Texts(features[spec.name])
        known = {word for word, count in texts.counts.items() if count > texts.least}
        columns |= texts.parts(spec.name, known)
        found += [FeatureSpec(name=name) for name in part_names(spec.name)]
    return found, columns


def vocabulary(column: Column) -> tuple[int, ...]:
    """Hashes of the words that a window's texts are compared with, ascending."""
    texts = _Texts(column)
    return tuple(sorted(word for word, count in texts.counts.items() if count >= texts.least))


def expand(texts: Mapping[str, frozenset[int]], features: Columns) -> Columns:
    """A batch with the columns that its texts become. texts: name -> the reference's vocabulary."""
    found = dict(features)
    for name, words in texts.items():
        column = features.get(name)
        if column is not None and part_names(name)[0] not in features:
            found |= _Texts(column).parts(name, words)
    return found


class _Texts:
    """A column of texts: each different one once."""

    def __init__(self, column: Column | Coded) -> None:
        self._names, self._codes = categories(column)
        self._words = [[zlib.crc32(encoded(word)) for word in name.lower().split()] for name in self._names]

    @cached_property
    def counts(self) -> Counter[int]:
        """In how many rows each word is."""
        rows = np.bincount(self._codes[self._codes >= 0], minlength=len(self._names))
        found = Counter[int]()
        for words, count in zip(self._words, rows.tolist(), strict=True):
            for word in set(words):
                found[word] += count
        return found

    @cached_property
    def least(self) -> int:
        """Rows that hold a known word: so many that there are `MOST_WORDS` of them at most."""
        common = sorted(self.counts.values(), reverse=True)
        return max(LEAST_TEXTS, common[MOST_WORDS] + 1 if len(common) > MOST_WORDS else 0)

    def parts(self, name: str, known: set[int] | frozenset[int]) -> dict[str, Column]:
        """The columns that the texts become; NaN where there is no text."""
        rows = [self._of(text, words, known) for text, words in zip(self._names, self._words, strict=True)]
        table: Floats = np.array([*rows, (np.nan,) * len(PARTS)], dtype=np.float64)
        return dict(zip(part_names(name), table[self._codes].T.copy(), strict=True))

    @staticmethod
    def _of(text: str, words: list[int], known: set[int] | frozenset[int]) -> tuple[float, ...]:
        size = max(len(text), 1)
        ascii_ones = [sign for sign in text if sign < "\x80"]
        letters, digits = sum(map(str.isalpha, ascii_ones)), sum(map(str.isdigit, ascii_ones))
        foreign = len(text) - len(ascii_ones)
        symbols = len(ascii_ones) - letters - digits - sum(map(str.isspace, ascii_ones))
        new = sum(word not in known for word in words) / len(words) if words else 0.0
        return float(len(text)), new, letters / size, digits / size, symbols / size, foreign / size
