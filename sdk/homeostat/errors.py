"""The one error of the event contract."""

_SHOWN_CHARS = 120


class ContractError(ValueError):
    """Something offered as an event batch breaks the contract.

    Attributes say what a dead letter needs: `field` (a column, a header, or `value` for the bytes as a
    whole), `found` (the offending value, shortened) and `expected` (what would be right).
    """

    def __init__(self, field: str, found: object, expected: str) -> None:
        shown = found if isinstance(found, str) else repr(found)
        self.field = field
        self.found = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "…"
        self.expected = expected
        super().__init__(f"{self.field}: found {self.found}; expected {self.expected}")

    def __reduce__(self) -> tuple[type["ContractError"], tuple[str, str, str]]:
        return (ContractError, (self.field, self.found, self.expected))
