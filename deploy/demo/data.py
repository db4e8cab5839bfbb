"""Which data the demo plays with."""

from pathlib import Path

from deploy.demo.digits import digits_scenario
from deploy.demo.heart import heart_scenario
from deploy.demo.scenario import Scenario


def load_scenario(folder: Path | None, seed: int) -> Scenario:
    """The four hospitals of UCI Heart Disease in `folder`, or without one the digits that scikit-learn ships."""
    return digits_scenario(seed) if folder is None else heart_scenario(folder, seed)
