"""What a worker says before its first start, which compiles."""

import pytest
from structlog.testing import capture_logs

from streams import app


@pytest.mark.parametrize(("compiled", "lines"), [(False, 1), (True, 0)])
def test_a_worker_that_compiles_says_so(compiled: bool, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []
    monkeypatch.setattr(app, "warm_up", lambda *, backwards: done.append(backwards))
    monkeypatch.setattr(app, "is_compiled", lambda: compiled)
    with capture_logs() as logs:
        app.prepare(backwards=True)
    assert [line["event"] for line in logs if "compiles its kernels" in line["event"]] == [
        "This worker compiles its kernels; this happens once and can take minutes."
    ] * lines
    assert done == [True]
