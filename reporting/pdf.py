"""`python -m reporting.pdf IN.html OUT.pdf ID [CSV ...]`: HTML to PDF in a process of its own.

WeasyPrint needs 100 MB and more, and it holds the interpreter for seconds: neither belongs into a server.
Exit 0: written; `NO_LIBRARY`: a system library is missing, stderr names it.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

NO_LIBRARY = 69
"""EX_UNAVAILABLE of sysexits.h."""


def main(arguments: Sequence[str]) -> int:
    """Convert, attach the CSV files, and return the exit code."""
    source, target, identifier, *tables = arguments
    try:
        from weasyprint import CSS, HTML, Attachment
        from weasyprint.urls import URLFetcher
    except OSError as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return NO_LIBRARY
    # Charts and styles stand in the file itself: no text in it can make this process read or fetch anything.
    fetcher = URLFetcher(allowed_protocols=["data"])
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    page = HTML(string=Path(source).read_text(encoding="utf-8"), url_fetcher=fetcher)
    page.write_pdf(
        target,
        stylesheets=list[CSS](),
        attachments=[Attachment(string=Path(each).read_bytes(), name=Path(each).name) for each in tables],
        pdf_identifier=identifier.encode(),
        pdf_tags=True,
        custom_metadata=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
