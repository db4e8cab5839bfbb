"""What is kept of a reference to tell which features matter to the model."""

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
