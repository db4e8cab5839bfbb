"""What one series of a model remembers of its labels, so that others can be held against it."""

from typing import NamedTuple

from detectors.values import Value


class Loss(NamedTuple):
    """Of labelled rows: how many, and the sum of what their answers cost: 1 for a wrong one, of a regression the
    absolute error."""

    rows: int = 0
    total: float = 0.0

    def plus(self, other: "Loss") -> "Loss":
        """Both together."""
        return Loss(self.rows + other.rows, self.total + other.total)


class Tally(Value, frozen=True, kw_only=True):
    """Of the last window: `rows`, what they are worth as independent ones (`size`), mean `loss` and its variance in
    a row, the confusion of a binary model (tp, fp, fn, tn), and its `scores` by measure. `since_us`: start of the
    first window; `end_us`: of the last one. `recent`: end and loss of the last windows; `older`: of all before."""

    since_us: int
    end_us: int
    rows: int
    size: float
    loss: float
    variance: float
    confusion: tuple[int, ...] = ()
    scores: dict[str, float]
    recent: tuple[tuple[int, Loss], ...]
    older: Loss = Loss()

    def before(self, change_us: int) -> Loss:
        """The windows that ended before a change, as far as they are told apart."""
        found = self.older
        for end_us, loss in self.recent:
            found = found.plus(loss) if end_us <= change_us else found
        return found

    def after(self, change_us: int) -> Loss:
        """The recent windows that ended after it."""
        found = Loss()
        for end_us, loss in self.recent:
            found = found.plus(loss) if end_us > change_us else found
        return found
