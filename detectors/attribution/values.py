"""What is kept of a reference to tell which features matter to the model."""

from typing import Self

import msgspec

from detectors.errors import ReferenceInvalid
from detectors.values import Task, Value

Numbers = tuple[float, ...]


class Influence(Value, frozen=True, kw_only=True):
    """Additive effects of groups of each feature's bins, on the output of the model (score, or prediction of a
    regression; empty for what has neither) and on its success (1 for right, 0 for wrong; of a regression less
    the absolute error). Additive in all features at once, so that what two correlated features share is not
    counted twice. `columns`: those that the effects are of, in the layout's order; at most 24, the others have
    none."""

    reference_revision: str
    task: Task
    columns: tuple[str, ...] = ()
    output: Numbers = ()
    success: Numbers = ()

    def to_json(self) -> bytes:
        """The influence as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what `to_json` wrote; raises `ReferenceInvalid` when it is no influence."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReferenceInvalid(f"this is not the JSON of an influence: {error}") from error
