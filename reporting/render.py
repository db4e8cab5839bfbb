"""A report's data as files: HTML that is fine on a screen, a PDF of it, and the rows as CSV."""

import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from remediation.vocabulary import ACTIONS, CAUSES
from reporting import words
from reporting.charts import Chart, drift_chart, performance_chart
from reporting.methods import methods
from reporting.pdf import NO_LIBRARY
from reporting.tables import csv_tables
from reporting.values import ReportData
from reporting.verdict import deed

PDF_TIMEOUT_S = 60.0
MAX_ROWS = 25
"""Rows of a table on the pages: 2,000 rows would take WeasyPrint 7 s and 344 MB."""
MAX_ATTACHED_BYTES = 4_000_000
"""Larger CSV files lie beside the PDF only, so that it can still be sent by mail."""
NO_PANGO = (
    "The report was written as HTML only, because the system library Pango is missing. For a PDF install it: "
    "Debian and Ubuntu `apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0`, "
    "macOS `brew install pango`."
)
_TEMPLATES = Path(__file__).parent / "templates"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Where a report lies. `pdf`: None where it could not be made; then `message` says why and what to do.

    `mailed`: whether it was sent; None: nobody asked for that.
    """

    html: Path
    pdf: Path | None
    csvs: tuple[Path, ...]
    message: str | None = None
    mailed: bool | None = None


def render_html(data: ReportData) -> str:
    """The report as one self-contained HTML file: styles and charts are inside, links lead to the console."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_filters())
    drawn = {model.model: _charts(data, index) for index, model in enumerate(data.models)}
    return environment.get_template("report.html.j2").render(
        data=data,
        charts=drawn,
        lights=words.LIGHTS,
        causes=CAUSES,
        deeds=ACTIONS,
        methods=methods(data),
        max_rows=MAX_ROWS,
        tables=[
            f"{stem(data)}-{name}"
            for name in ("points.csv", "incidents.csv", "actions.csv", "accounting.csv")
        ],
    )


def write_report(data: ReportData, folder: Path, *, timeout_s: float = PDF_TIMEOUT_S) -> ReportFiles:
    """Write HTML, CSV files and, where Pango is installed, a PDF with the CSV files attached.

    Each file appears whole or not at all. A PDF that cannot be made is no error: `message` tells why.
    Raises `OSError` when the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = stem(data)
    csvs = tuple(
        write_whole(folder / f"{name}-{table}", content) for table, content in csv_tables(data).items()
    )
    html = write_whole(folder / f"{name}.html", render_html(data).encode())
    attached = [path for path in csvs if path.stat().st_size <= MAX_ATTACHED_BYTES]
    pdf, message = make_pdf(html, folder / f"{name}.pdf", data.id, attached, timeout_s)
    if message:
        _log.warning(message)
    return ReportFiles(html=html, pdf=pdf, csvs=csvs, message=message)


def stem(data: ReportData) -> str:
    """The file name without its ending: sorts by time."""
    return f"homeostat-{words.at(data.generated_us):%Y%m%dT%H%M%SZ}-{data.id}"


def make_pdf(
    html: Path, target: Path, identifier: str, tables: list[Path], timeout_s: float
) -> tuple[Path | None, str | None]:
    """The PDF of an HTML file with tables attached, or None with the reason why there is none."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
        made = Path(folder) / target.name
        command = [sys.executable, "-m", "reporting.pdf", str(html), str(made), identifier, *map(str, tables)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return None, f"The report was written as HTML only: the PDF was not ready after {timeout_s:g} s."
        if done.returncode == NO_LIBRARY:
            return None, f"{NO_PANGO} ({done.stderr.strip()})"
        if done.returncode != 0:
            told = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return None, f"The report was written as HTML only: WeasyPrint failed ({told})."
        os.replace(made, target)
    return target, None


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file that appears whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".making-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _charts(data: ReportData, index: int) -> dict[str, dict[str, str] | None]:
    model = data.models[index]
    own = [story.incident for story in data.incidents if story.incident.model == model.model]
    return {
        "performance": _inline(performance_chart(model, own, data.since_us, data.until_us)),
        "drift": _inline(drift_chart(model.drifts)),
    }


def _inline(chart: Chart | None) -> dict[str, str] | None:
    """As an image inside the page: only so it has an alt text in HTML and PDF alike."""
    if chart is None:
        return None
    return {
        "src": f"data:image/svg+xml;base64,{base64.b64encode(chart.svg.encode()).decode()}",
        "alt": chart.alt,
    }


def _filters() -> dict[str, Callable[..., Any]]:
    return {
        "moment": words.moment,
        "duration": words.duration,
        "percent": words.percent,
        "pp": words.points,
        "number": lambda value, name: words.number(name, value),
        "measure": words.measure,
        "state": words.state,
        "deed": deed,
    }
