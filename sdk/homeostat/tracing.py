"""The trace that the host's code is in, where the host uses OpenTelemetry."""

import sys
from typing import Any, Final

TRACE_MODULE: Final = "opentelemetry.trace"


def current_trace() -> str | None:
    """The W3C trace id of the current span, 32 hexadecimal digits; None without a span, or without OpenTelemetry in
    the host.
    """
    api: Any = sys.modules.get(TRACE_MODULE)
    current = getattr(api, "get_current_span", None)
    if current is None:
        return None
    context = current().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
