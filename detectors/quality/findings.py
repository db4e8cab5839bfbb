"""All findings about the data of a window that its profile alone shows."""

from collections.abc import Mapping

from detectors.profile import Profile
from detectors.quality.alignment import misalignment
from detectors.quality.contents import constant_columns, vanished_categories
from detectors.quality.units import unit_changes
from detectors.quality.values import Finding
from detectors.reference import Reference


def findings(
    profile: Profile,
    reference: Reference,
    baseline: Profile | None = None,
    worth: Mapping[str, float] | None = None,
) -> list[Finding]:
    """Misaligned columns, changed units, constant columns and vanished categories.

    baseline: a profile of the reference's rows, or of any that were well, counted against the same reference: its
    correlations tell apart columns that are distributed alike. worth: see `dependence.column_worth`. What is said of
    the columns of a misalignment is that alone.
    """
    found: list[Finding] = []
    moved = misalignment(profile, reference, baseline)
    if moved is not None:
        found.append(moved)
    told = set(moved.columns) if moved else set[str]()
    rest = [
        *unit_changes(profile, reference),
        *constant_columns(profile, reference, worth),
        *vanished_categories(profile, reference, worth),
    ]
    return found + [one for one in rest if not told & set(one.columns)]
