"""What a run of the demo was asked to do."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of `homeostat demo`.

    Attributes:
        seed: of the split, the training and the stream.
        data: folder with the four UCI Heart Disease files, or None for scikit-learn's digits.
        faults: whether the release is faulty and the population shifts.
        approve: True when the person approves; False when the demo does, after `approve_after_s`.
        keep: leave the stack running.
        json_path: where the summary goes as JSON.
        side_rows: predictions to be seen on each side of an incident.
    """

    seed: int = 7
    data: Path | None = None
    faults: bool = True
    approve: bool = False
    keep: bool = False
    json_path: Path | None = None
    approve_after_s: float = 1.5
    side_rows: int = 4_000
    step_timeout_s: float = 120.0
