"""What Python has compiled is kept for the next process, also where nothing may be written beside the sources.

Containers often set PYTHONDONTWRITEBYTECODE, and uv installs libraries uncompiled: both together let each of the
stack's ten processes compile all its libraries at every start, which is two thirds of what a start costs.
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import structlog
from platformdirs import user_cache_path

FORBIDS, ELSEWHERE = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"


def kept_compiled(cache: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for the stack's processes: what is compiled lies in the cache folder, nothing beside the sources.

    Empty where it is kept as usual, where the libraries were compiled when they were installed, or where the
    environment says itself where it is to be kept. `cache`: as for the jars (default: the user's cache folder).
    """
    if not environment.get(FORBIDS) or environment.get(ELSEWHERE) or _installed_compiled():
        return {}
    return {FORBIDS: "", ELSEWHERE: str((cache or user_cache_path("homeostat")).resolve() / "bytecode")}


def _installed_compiled() -> bool:
    """Told by one library that every process imports."""
    return Path(importlib.util.cache_from_source(structlog.__file__)).exists()
