"""The page of a backtest: complete in itself, true to the numbers, safe with any name."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from reporting.backtest_page import backtest_page
from streams.files.monitor import MonitorFile
from streams.replay.backtest import backtest
from streams.replay.backtest_lines import lines_of
from streams.replay.backtest_result import Backtest

ODD = "<b>&age"


def found(folder: Path, shift_at: int | None, score: str | None = "p") -> Backtest:
    """A backtest of 4,000 rows with a score, labels, and a feature of an odd name."""
    rng = np.random.default_rng(3)

    def rows(count: int, shift: int | None) -> pd.DataFrame:
        x = rng.normal(0, 1, count)
        truth = rng.random(count) < 1 / (1 + np.exp(-2 * x))
        score = 1 / (1 + np.exp(-2 * x))
        if shift is not None:
            x[shift:] += 2
        return pd.DataFrame({ODD: x, "other": rng.normal(0, 1, count), "p": score, "y": truth.astype(int)})

    rows(3_000, None).to_csv(folder / "good.csv", index=False)
    rows(4_000, shift_at).to_csv(folder / "data.csv", index=False)
    fields = {"model": "odd & <i>", "columns": {"score": score, "label": "y"}, "window": {"rows": 500}}
    file = MonitorFile.model_validate(fields | {"reference": {"file": folder / "good.csv"}})
    return backtest(folder / "data.csv", file, keep_points=True)


def test_incidents_and_measures_are_drawn(tmp_path: Path) -> None:
    outcome = found(tmp_path, 2_000)
    lines = lines_of(outcome)
    page = backtest_page(outcome.as_dict(), lines, "data.csv <now>")
    assert "odd &amp; &lt;i&gt;" in page
    assert "<b>&age" not in page.replace("&lt;b&gt;&amp;age", "")
    assert "data.csv &lt;now&gt;" in page
    assert "http" not in page, "a page that needs nothing else"
    assert "prefers-color-scheme: dark" in page
    drawings = [part.split("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    for one in drawings:
        ElementTree.fromstring("<svg" + one)
    assert len(drawings) >= len(lines) + 1
    assert ("Data drift" in page, ">2,000<" in page, ">2,500<" in page) == (True, True, True)
    (counted,) = outcome.as_dict()["confusion"]
    assert sum(map(sum, counted["counts"])) == counted["rows"] == 4_000
    (hits, alarms), (missed, _) = counted["counts"]
    table = page.split('<table class="pairs">')[1].split("</table>")[0]
    assert f"{100 * hits / (hits + missed):.1f} %" in table
    assert f">{alarms:,}<" in table
    shown = {(line.measure, line.feature) for line in lines}
    assert {("psi", ODD), ("data_drift_evidence", None), ("accuracy", None)} <= shown
    assert max(len(line.samples) for line in lines) == 8


def test_names_of_the_time_line_stand_above_its_bars(tmp_path: Path) -> None:
    outcome = found(tmp_path, 0)
    page = backtest_page(outcome.as_dict(), [], "data.csv")
    line = page.split('<div class="area">')[1].split("</div>")[0]
    bars = {int(top) for top in re.findall(r'<rect class="bar"[^>]* y="(\d+)"', line)}
    names = {int(top) for top in re.findall(r'<span class="name" style="top:(\d+)px"', line)}
    assert len(bars) == len(names) > 1
    assert not any(name < bar + 12 and bar < name + 16 for name in names for bar in bars)


def test_labels_that_nothing_can_be_held_against_are_told(tmp_path: Path) -> None:
    outcome = found(tmp_path, None, score=None)
    page = backtest_page(outcome.as_dict(), lines_of(outcome), "data.csv")
    assert "Labels were left out: without a prediction or a score" in page
    assert outcome.as_dict()["confusion"] == []


def test_of_classes_that_are_counted_as_one_nothing_is_shown_as_right(tmp_path: Path) -> None:
    counts = [[50, 1, 2], [3, 60, 4], [5, 6, 7]]
    one = {"version": "1", "classes": ["a", "b", "other"], "rows": 138, "counts": counts, "reference": counts}
    page = backtest_page(found(tmp_path, None).as_dict() | {"confusion": [one]}, [], "data.csv")
    table = page.split('<table class="pairs">')[1].split("</table>")[0]
    right = [cell.split("</td>")[0] for cell in table.split('class="n right"')[1:]]
    assert [re.search(r'"muted">(\d+)<', cell)[1] for cell in right] == ["50", "60"]  # type: ignore[index]


def test_nothing_found_is_told(tmp_path: Path) -> None:
    outcome = found(tmp_path, None)
    page = backtest_page(outcome.as_dict(), lines_of(outcome), "data.csv")
    assert "Nothing would have alarmed." in page
    assert "nan" not in page.lower().replace("&", "")
