"""Which statuses of requests say that they did not fail."""

from typing import Final

FINE: Final = frozenset(
    {"", "ok", "success", "succeeded", "successful", "completed", "done", "true", "constant"}
)
"""In lower case; so are the codes 100 to 399. `constant`: a score that was decided was answered."""


def is_fine(status: str) -> bool:
    """Whether a request with this status did not fail."""
    text = status.strip().lower()
    return text in FINE or (len(text) == 3 and text.isdigit() and text[0] in "123")
