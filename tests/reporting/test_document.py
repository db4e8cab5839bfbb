"""Markdown as a PDF: tables are tables, and HTML of others is text."""

from pathlib import Path

from reporting.document import render_document, write_document

TEXT = "# Post-mortem\n\n| a | b |\n|---|---|\n| 1 | <script>x</script> |\n\n![p](http://example.com/p.png)\n"


def test_what_others_wrote_is_no_markup() -> None:
    page = render_document(TEXT, "A <b>title</b>")
    assert "<table>" in page
    assert "<script>" not in page
    assert "<img" not in page
    assert "A &lt;b&gt;title" in page


def test_a_pdf_is_written(tmp_path: Path) -> None:
    assert write_document(TEXT, "Post-mortem", tmp_path / "p.pdf") is None
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")
    assert [each.name for each in tmp_path.iterdir()] == ["p.pdf"]
