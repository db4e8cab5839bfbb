"""What the supervisor knows about a process that it keeps alive."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.probe import Probe


def _nothing() -> None:
    """No preparation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the stack.

    `ready` says whether it does its work; `depends_on` names the parts that must be ready before its first
    start; `prepare` runs before every start, in a thread, and must be idempotent. `env` is the whole
    environment. `ports`, `url` and `version` are only shown. `chore` is a command that is run once when the whole
    stack is healthy, and may be cut off; it writes to the part's log.
    """

    name: str
    argv: Sequence[str]
    log: Path
    ready: Probe
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    depends_on: Sequence[str] = ()
    prepare: Callable[[], None] = _nothing
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    url: str | None = None
    version: str | None = None
    chore: Sequence[str] = ()


def start_levels(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts in groups: each part is in the first group after all that it depends on.

    Raises `StackError` for a name given twice, an unknown dependency or a circle.
    """
    names = [part.name for part in parts]
    if len(set(names)) != len(names):
        raise StackError(f"Two parts have the same name among: {', '.join(names)}.")
    for part in parts:
        for needed in part.depends_on:
            if needed not in names:
                raise StackError(
                    f"Part {part.name} depends on {needed}, which is not among: {', '.join(names)}."
                )
    levels: list[list[Part]] = []
    placed: set[str] = set()
    waiting = list(parts)
    while waiting:
        level = [part for part in waiting if placed.issuperset(part.depends_on)]
        if not level:
            raise StackError(
                f"These parts depend on each other in a circle: {', '.join(p.name for p in waiting)}."
            )
        levels.append(level)
        placed.update(part.name for part in level)
        waiting = [part for part in waiting if part.name not in placed]
    return levels
