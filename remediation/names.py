"""Names in which Homeostat signs what it does by itself: no person and no program acts in them, on any surface."""

from typing import Final

AGENT: Final = "agent"
"""The actor of everything that the agent does by itself."""
API: Final = "api"
"""The actor of what the API does by itself."""
ARCHIVE: Final = "archive"
"""The actor of what the archive role deletes by itself."""
PLAYBOOK: Final = "playbook "
"""Before the name of a playbook that may decide by itself."""
_PARTS = frozenset({AGENT, API, ARCHIVE})


def taken(name: str) -> str | None:
    """Why nobody can be called so; None where anybody can."""
    plain = " ".join(name.casefold().split())
    if plain not in _PARTS and not f"{plain} ".startswith(PLAYBOOK):
        return None
    return f"{name.strip()} is the name in which Homeostat signs what it does by itself; say who you are"
