"""All findings about the data of a window that its profile alone shows."""

from detectors.column_pairs import column_pairs
from detectors.profile import Profile
from detectors.quality.alignment import misalignment
from detectors.quality.contents import constant_columns, vanished_categories
from detectors.quality.units import unit_changes
from detectors.quality.values import SURPRISE, Finding
from detectors.reference import Reference


def findings(profile: Profile, reference: Reference, surprise: float = SURPRISE) -> list[Finding]:
    """Misaligned columns, changed units, constant columns and vanished categories.

    What the reference has learned counts: correlations tell apart columns that are distributed alike, and rows that
    resemble their neighbours are worth less. What is said of the columns of a misalignment is that alone.
    surprise: minus the logarithm of the chance that each may be there by.
    """
    found: list[Finding] = []
    pairs = column_pairs(profile, reference)
    moved = misalignment(profile, reference, pairs)
    if moved is not None:
        found.append(moved)
    told = set(moved.columns) if moved else set[str]()
    learned = reference.learned
    worth, runs = (learned.worth, learned.runs) if learned is not None else (None, None)
    rest = [
        *unit_changes(profile, reference, worth, surprise, pairs),
        *constant_columns(profile, reference, worth, runs, surprise, pairs),
        *vanished_categories(profile, reference, worth, surprise),
    ]
    return found + [one for one in rest if not told & set(one.columns)]
