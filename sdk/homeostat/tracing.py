"""The trace that an event belongs to: of the host's code where it uses OpenTelemetry, or as a message's header says."""

import re
import sys
from typing import Any, Final

TRACE_MODULE: Final = "opentelemetry.trace"
TRACE_HEADER: Final = "traceparent"

# Of a version that is still to come only the first three parts are known.
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


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


def trace_of(traceparent: str) -> str | None:
    """The trace id in a header `traceparent`; None where it is none: then a receiver goes on without.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    found = _PARENT.fullmatch(traceparent.strip())
    return None if found is None else found[1]
