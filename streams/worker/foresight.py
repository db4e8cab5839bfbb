"""Letting a stage read some records of a chunk at once, before each is taken when it is its turn."""

from collections.abc import Sequence
from typing import Any

import structlog

from streams.broker.log import input_record
from streams.stages import Foresighted, Stage

_log = structlog.get_logger()

_RECORDS = 16
"""Few enough for the event loop to wait for."""


def look_ahead(stage: Stage, records: Sequence[Any], number: int) -> None:
    """Call it before the record of this number is taken: every `_RECORDS`th time the stage reads the next ones."""
    if number % _RECORDS or not isinstance(stage, Foresighted):
        return
    try:
        stage.look_ahead([input_record(record) for record in records[number : number + _RECORDS]])
    except Exception as error:  # noqa: BLE001  (whatever a bug may raise comes again when it is the record's turn)
        _log.warning("Records could not be read ahead; they are read one by one.", reason=repr(error))
