"""How every part logs: one readable line per event, to stderr, which the supervisor keeps in files."""

import logging
import sys

import structlog


def configure_logging(level: str) -> None:
    """Set up structlog and the standard library's logging. `level` is a name such as INFO."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(
        stream=sys.stderr, level=number, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for chatty in (
        "httpx",
        "aiokafka",
        "faust",
        "mode",
        "matplotlib",
        "alembic",
        "apscheduler",
        "fontTools",
        "weasyprint",
        # These tell signatures and headers at DEBUG.
        "botocore",
        "httpcore",
    ):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
