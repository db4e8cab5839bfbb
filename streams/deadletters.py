"""Dead letters: rows that could not be accepted, with the reason, where they stood, and what they were."""

import msgspec

from detectors.values import UNKNOWN_MODEL

MAX_ORIGINAL_BYTES = 400_000
"""Base64 makes 4 bytes of 3: 400 kB of original stay below the 1 MB that a broker takes by default."""

HEADER_REPLAY_OF = "replay-of"
"""On a record that is a dead letter sent again: the letter's number."""
HEADER_ONLY_ROW = "only-row"
"""On a record that is sent again for one of its rows: which."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One refused row. `topic`, `partition`, `offset` and `row` (in an array, from 0) say where it stood;
    `field` is the path in the row, empty when the row as a whole was refused. `original` is base64 in JSON;
    `truncated` tells that it is only the beginning. `headers` are those of the record that its bytes are not
    understood without; `only_row` is set where the original holds more rows than the refused one; `replay_of` is
    the number of the letter that was sent again and failed once more. `number` and `written_ms` are its own
    position in the dead-letter topic and the time of the broker, known when it is read back."""

    reason: str
    field: str = ""
    topic: str
    partition: int
    offset: int
    row: int | None = None
    model: str = UNKNOWN_MODEL
    stage: str = "gate"
    original: bytes = b""
    truncated: bool = False
    headers: tuple[tuple[str, bytes], ...] = ()
    only_row: int | None = None
    replay_of: int | None = None
    number: int = -1
    written_ms: int = 0

    def to_json(self) -> bytes:
        """The record's value; a long original is cut."""
        if len(self.original) <= MAX_ORIGINAL_BYTES:
            return msgspec.json.encode(self)
        cut = msgspec.structs.replace(self, original=self.original[:MAX_ORIGINAL_BYTES], truncated=True)
        return msgspec.json.encode(cut)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters: all of `model`, with `reason` in reason or field (small and capital letters alike), written at or
    after `since_ms`, with one of `numbers`. What is None does not choose."""

    model: str | None = None
    reason: str | None = None
    since_ms: int | None = None
    numbers: frozenset[int] | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them."""
        if self.reason is not None and self.reason.lower() not in f"{letter.field} {letter.reason}".lower():
            return False
        return (
            self.model in (None, letter.model)
            and (self.since_ms is None or letter.written_ms >= self.since_ms)
            and (self.numbers is None or letter.number in self.numbers)
        )
