"""The files of UCI Heart Disease as published: no header, 14 values a line, `?` = missing."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from deploy.errors import UserError

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = (
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
    "num",
)
LABELS = (0.0, 1.0, 2.0, 3.0, 4.0)


def read_hospital(folder: Path, hospital: str) -> pd.DataFrame:
    """One hospital's patients, float64 [n, 14], NaN = missing. Raises `UserError`."""
    path = folder / f"processed.{hospital}.data"
    lines = _text(folder, path).splitlines()
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise UserError(f"{path}: the file has no lines; it needs one per patient")
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=np.float64)


def _text(folder: Path, path: Path) -> str:
    if not folder.is_dir():
        what = "is not a directory" if folder.exists() else "does not exist"
        raise UserError(f"--data {folder}: {what}; give the directory with {_wanted()}")
    if not path.is_file():
        raise UserError(f"--data {folder}: {path.name} is not there; the directory must hold {_wanted()}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not text; give the file as published") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _wanted() -> str:
    return ", ".join(f"processed.{hospital}.data" for hospital in HOSPITALS)


def _row(path: Path, number: int, line: str) -> list[float]:
    values = line.split(",")
    if len(values) != len(COLUMNS):
        raise UserError(
            f"{path}, line {number}: {len(values)} values; each line has {len(COLUMNS)}, "
            f"separated by commas ({', '.join(COLUMNS)})"
        )
    return [_value(path, number, name, value.strip()) for name, value in zip(COLUMNS, values, strict=True)]


def _value(path: Path, number: int, name: str, text: str) -> float:
    place = f"{path}, line {number}, column {name!r}"
    if text == "?" and name != "num":
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{place}: {text!r} is no number; give a number, or ? where it is missing") from None
    if not math.isfinite(value):
        raise UserError(f"{place}: {text!r} is not finite; give a number, or ? where it is missing")
    if name == "num" and value not in LABELS:
        raise UserError(f"{place}: {text!r} is no diagnosis; give 0 (healthy) to 4")
    return value
