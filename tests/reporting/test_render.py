"""The files of a report, the PDF read back."""

import os
import re
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from pypdf import PdfReader

from reporting import render
from reporting.render import render_html, write_report
from reporting.values import ReportData


def _processor_s() -> float:
    """Of this process and its children: tests may share their machine."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@pytest.mark.slow
def test_the_pdf_has_pages_text_links_and_rows(report: ReportData, tmp_path: Path) -> None:
    before_s = _processor_s()
    files = write_report(report, tmp_path / "reports", timeout_s=240.0)
    assert _processor_s() - before_s < 15
    assert files.message is None
    assert files.pdf is not None
    pdf = PdfReader(files.pdf)
    text = "\n".join(page.extract_text() for page in pdf.pages)
    assert 3 <= len(pdf.pages) <= 6
    for number in range(1, len(pdf.pages) + 1):
        assert f"Page {number} of {len(pdf.pages)}" in text
    assert f"{report.id} · times in UTC" in text
    for told in (
        "Model health report",
        "2 incidents in this period, all resolved.",
        "Healthy",
        "1. Bad release in breast-cancer, version 2: resolved",
        "2. Population shift in breast-cancer, version 1: resolved",
        "mira",
        "2 min 59 s",
        "No ticket is pending.",
        "Does every event add up?",
        "RFC 6962",
    ):
        assert told in text, told
    assert sorted(pdf.attachments) == sorted(path.name for path in files.csvs)
    (points,) = (content for name, content in pdf.attachments.items() if name.endswith("-points.csv"))
    assert points[0].count(b"\r\n") == len(report.points) + 1
    assert pdf.metadata is not None
    assert pdf.metadata.title == f"Model health report {report.id}"
    links = {
        note.get_object()["/A"]["/URI"]
        for page in pdf.pages
        for note in page.get("/Annots", [])
        if "/A" in note.get_object()
    }
    assert "http://127.0.0.1:8420/incidents/inc-0001" in links
    assert not [path.name for path in (tmp_path / "reports").iterdir() if path.name.startswith(".")]


def test_every_picture_has_words_and_nothing_comes_from_outside(report: ReportData) -> None:
    page = render_html(report)
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == 2
    assert all(re.search(r'alt="[^"]{40,}"', picture) for picture in pictures)
    assert not re.search(r'(?:src|href)="(?!data:|http://127\.0\.0\.1:8420)', page)
    assert "prefers-color-scheme: dark" in page
    assert "@page" in page


def test_lights_have_words(report: ReportData) -> None:
    page = render_html(report)
    for word in re.findall(r'<span class="light \w+">(.*?)</span>', page):
        assert re.fullmatch(r"[●▲■○] (Healthy|Watch|Act|No data|Intact)", word), word


def test_text_of_others_is_escaped(report: ReportData) -> None:
    story = report.incidents[0]
    evil = "<script>alert(1)</script>"
    story = replace(story, incident=replace(story.incident, summary=evil, outcome=evil))
    page = render_html(replace(report, incidents=(story,), verdict=evil))
    assert evil not in page
    assert "&lt;script&gt;" in page


def test_the_name_of_the_installation_is_said_where_there_is_one(report: ReportData) -> None:
    page = render_html(replace(report, environment="production"))
    assert "<title>[production] Model health report" in page
    assert '<p class="brand">Homeostat · production</p>' in page
    assert '<p class="brand">Homeostat</p>' in render_html(report)


def test_tables_are_capped_and_say_where_the_rest_is(report: ReportData) -> None:
    action = report.actions[0]
    page = render_html(replace(report, actions=tuple(replace(action, id=f"a{i}") for i in range(40))))
    assert "15 more rows are in" in page


def test_a_report_without_anything_renders(report: ReportData) -> None:
    page = render_html(
        replace(report, models=(), incidents=(), actions=(), points=(), console_url=None, light="none")
    )
    assert "No model is known yet" in page
    assert "No incident was open in this period." in page
    assert "href" not in page


def test_without_pango_the_report_is_html(
    report: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    # Python runs this before anything else: no library whose name has pango in it can be opened.
    (hooks / "sitecustomize.py").write_text(
        "import cffi\n"
        "opened = cffi.FFI.dlopen\n"
        "def dlopen(self, name, *flags):\n"
        "    if 'pango' in str(name):\n"
        "        raise OSError(f'cannot load library {name!r}')\n"
        "    return opened(self, name, *flags)\n"
        "cffi.FFI.dlopen = dlopen\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hooks))
    files = write_report(report, tmp_path / "reports")
    assert files.pdf is None
    assert files.html.read_text().startswith("<!doctype html>")
    assert files.message is not None
    assert "libpango-1.0-0 libpangoft2-1.0-0" in files.message
    assert "brew install pango" in files.message
    assert "Traceback" not in files.message
    assert len(files.csvs) == 4
    assert not list((tmp_path / "reports").glob("*.pdf"))


def test_a_pdf_that_takes_too_long_is_given_up(report: ReportData, tmp_path: Path) -> None:
    files = write_report(report, tmp_path, timeout_s=0.05)
    assert files.pdf is None
    assert files.message == "The report was written as HTML only: the PDF was not ready after 0.05 s."
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_failing_renderer_is_told(
    report: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('memory ran out')\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    files = write_report(report, tmp_path / "reports")
    assert files.message == "The report was written as HTML only: WeasyPrint failed (memory ran out)."


def test_large_rows_stay_beside_the_pdf(
    report: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "MAX_ATTACHED_BYTES", 10_000)
    files = write_report(report, tmp_path)
    assert files.pdf is not None
    assert len(PdfReader(files.pdf).attachments) == len(files.csvs) - 1
