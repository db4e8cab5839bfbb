"""The demo's data: no subject is in two parts, and wrong files are named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deploy.demo.data import load_scenario
from deploy.demo.digits import digits_scenario
from deploy.demo.heart import heart_scenario
from deploy.demo.heart_files import HOSPITALS
from deploy.demo.scenario import Scenario
from deploy.errors import UserError

GOOD = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0"
SICK = "67.0,1.0,4.0,160.0,0,?,2.0,108.0,1.0,1.5,2.0,?,3.0,2"


def rows_of(features: pd.DataFrame) -> set[bytes]:
    return {row.tobytes() for row in features.to_numpy(dtype=np.float64)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four hospitals of 40 different patients each."""
    for number, hospital in enumerate(HOSPITALS):
        lines = [f"{20 + 40 * number + i}," + (GOOD, SICK)[i % 2].split(",", 1)[1] for i in range(40)]
        (tmp_path / f"processed.{hospital}.data").write_text("\n".join(lines) + "\n")
    return tmp_path


def check_parts(scenario: Scenario) -> None:
    worlds = [scenario.healthy, scenario.shifted, scenario.later]
    parts = [rows_of(scenario.train.features), *(rows_of(world.features) for world in worlds)]
    for i, part in enumerate(parts):
        for other in parts[i + 1 :]:
            assert part.isdisjoint(other)
    oracle = rows_of(scenario.oracle.features)
    assert parts[0] | parts[1] | parts[2] <= oracle
    assert oracle.isdisjoint(parts[3])
    assert scenario.faulty.labels.equals(scenario.train.labels)
    for world in worlds:
        assert set(np.unique(world.labels)) == {0, 1}
        assert len(world.labels) == len(world.features)


@pytest.mark.parametrize("seed", [0, 7, 19])
def test_nobody_is_in_two_parts(seed: int, folder: Path) -> None:
    check_parts(digits_scenario(seed))
    check_parts(heart_scenario(folder, seed))


def test_the_seed_decides_who_is_where() -> None:
    assert rows_of(load_scenario(None, 1).train.features) == rows_of(load_scenario(None, 1).train.features)
    assert rows_of(load_scenario(None, 1).train.features) != rows_of(load_scenario(None, 2).train.features)


def test_missing_values_stay_missing_and_zeros_zero(folder: Path) -> None:
    scenario = load_scenario(folder, 0)
    sick = scenario.shifted.features[scenario.shifted.labels == 1]
    assert sick["ca"].isna().all()
    assert (sick["chol"] == 0).all()
    assert list(sick.columns)[-1] == "thal"


WRONG = [
    ("1,2,3", r"line 41: 3 values; each line has 14"),
    (GOOD.replace("145.0", "high"), r"line 41, column 'trestbps': 'high' is no number"),
    (GOOD.replace("145.0", "inf"), r"line 41, column 'trestbps': 'inf' is not finite"),
    (GOOD[:-1] + "5", r"line 41, column 'num': '5' is no diagnosis; give 0 \(healthy\) to 4"),
    (GOOD[:-1] + "?", r"line 41, column 'num': '\?' is no number"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_wrong_line_is_named(folder: Path, line: str, message: str) -> None:
    path = folder / "processed.va.data"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=f"{path}, {message}"):
        heart_scenario(folder, 0)


def test_a_wrong_directory_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nowhere: does not exist; give the directory with processed\.cleveland"
    ):
        heart_scenario(tmp_path / "nowhere", 0)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is not a directory"):
        heart_scenario(tmp_path / "file", 0)
    (folder / "processed.va.data").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"processed\.va\.data: byte 0 is not text"):
        heart_scenario(folder, 0)
    (folder / "processed.va.data").write_text("\n")
    with pytest.raises(UserError, match=r"processed\.va\.data: the file has no lines"):
        heart_scenario(folder, 0)
    (folder / "processed.va.data").unlink()
    with pytest.raises(UserError, match=r"processed\.va\.data is not there; the directory must hold"):
        heart_scenario(folder, 0)
