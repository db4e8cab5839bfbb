"""A text in Markdown as a document for people who read on paper."""

import hashlib
import html
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

from reporting.render import PDF_TIMEOUT_S, make_pdf, write_whole

_STYLE = Path(__file__).parent / "templates" / "report.css"


def render_document(markdown: str, title: str) -> str:
    """One self-contained HTML file. HTML inside the Markdown is shown as text, links and pictures of others are not
    followed."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(markdown)
    style = _STYLE.read_text(encoding="utf-8")
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{style}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><main>{body}</main></body></html>"


def write_document(markdown: str, title: str, target: Path) -> str | None:
    """Write the PDF; None where it lies at `target`, else why it does not, and the HTML lies beside it."""
    page = render_document(markdown, title).encode()
    identifier = hashlib.sha256(markdown.encode()).hexdigest()[:32]
    with tempfile.TemporaryDirectory(prefix="homeostat-document-") as folder:
        source = write_whole(Path(folder) / "document.html", page)
        made, message = make_pdf(source, target, identifier, [], PDF_TIMEOUT_S)
    if made is None:
        write_whole(target.with_suffix(".html"), page)
    return message
