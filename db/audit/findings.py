"""Sentences about what is wrong with the log."""

from dataclasses import dataclass, field

MAX_PROBLEMS = 1_000


@dataclass(slots=True)
class Findings:
    """One sentence each; after `MAX_PROBLEMS` the log is beyond telling and the rest is dropped."""

    problems: list[str] = field(default_factory=list[str])

    def add(self, problem: str) -> None:
        """One more, unless it was said already."""
        if len(self.problems) < MAX_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)
