"""Names of models that nobody has registered: taken, but not without end.

Every name is an account, a series of metrics and a table in the next stage for as long as the gate lives; a client that
writes ids where models belong would make millions.
"""

import structlog

from detectors.values import UNKNOWN_MODEL
from streams.control.configuration import Configuration

_log = structlog.get_logger()

MAX_STRANGERS = 1_000
REASON = (
    f"no monitor, reference or schema names this model, and {MAX_STRANGERS} such names have come in this partition of "
    "the input; expected a model that is registered (`homeostat monitor apply`), or a right name"
)


class Strangers:
    """The names that one input partition has taken without knowing them. What is `registered` is never refused."""

    def __init__(self, registered: Configuration) -> None:
        self._registered = registered
        self._taken: set[str] = set()
        self._told = False

    def restore(self, model: str) -> None:
        """A name that has an account."""
        self._taken.add(model)

    def admits(self, model: str) -> bool:
        """Whether events of this model go on; from now on they do, if so."""
        if model == UNKNOWN_MODEL or model in self._taken or self._registered.names(model):
            return True
        if len(self._taken) >= MAX_STRANGERS:
            self._taken = {name for name in self._taken if not self._registered.names(name)}
        if len(self._taken) < MAX_STRANGERS:
            self._taken.add(model)
            return True
        if not self._told:
            self._told = True
            _log.error(
                "Too many models that nobody has registered: events of new ones become dead letters under _unknown.",
                most=MAX_STRANGERS,
                model=model[:200],
            )
        return False
