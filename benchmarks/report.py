"""What every benchmark prints: one object with scenarios whose ids never change their meaning."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One measured figure. `value` is compared with `target` in the stated direction; `peers` were measured in
    the same run on the same work, in the unit of `value` or in the one that their name says."""

    id: str
    value: float
    unit: str
    higher_is_better: bool
    peers: dict[str, float] = field(default_factory=dict[str, float])
    target: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.higher_is_better else self.value <= self.target


def parser(description: str) -> argparse.ArgumentParser:
    """Command line options that every benchmark has."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    found.add_argument("--seed", type=int, default=7, help="seed of the generated events (default: 7)")
    return found


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(scenarios: list[Scenario], *, as_json: bool) -> int:
    """Print the scenarios; the exit code is 1 when a target is missed."""
    if as_json:
        rows = [asdict(one) | {"holds": one.holds} for one in scenarios]
        print(json.dumps({"scenarios": rows}, indent=2))
    else:
        for one in scenarios:
            target = (
                "" if one.target is None else f"  target {one.target:g}: {'holds' if one.holds else 'MISSED'}"
            )
            peers = "".join(f"\n    {name}: {value:,.4g}" for name, value in one.peers.items())
            print(f"{one.id}: {one.value:,.4g} {one.unit}{target}{peers}")
    return 0 if all(one.holds is not False for one in scenarios) else 1
