"""Tables of the command line: nothing short is cut in two, in a pipe each row is a line."""

import pytest

from deploy.cli.printing import moment, rfc_3339, show_table

ROWS = [
    {"model": "car-loan-europe", "time": "2026-11-21 18:41:40", "reason": "a field is not there " * 6},
    {"model": "[red]x", "time": None, "reason": ""},
]


def test_in_a_pipe_each_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(ROWS, ["model", "time", "reason"])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "time", "reason"]
    assert first.count("a field is not there") == 6
    assert second.split() == ["[red]x"]


def test_in_a_terminal_long_texts_go_on_by_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for columns in ("60", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        show_table(ROWS, {"which": "model", "time": "time", "why": "reason"})
        shown = capsys.readouterr().out
        assert "car-loan-europe" in shown
        assert "2026-11-21 18:41:40" in shown
        assert len(shown.splitlines()) > 4
        assert not any(line.rstrip().endswith((" no", " fiel")) for line in shown.splitlines())


def test_in_a_terminal_a_text_that_may_be_cut_keeps_its_row_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for columns in ("90", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        show_table(ROWS, ["model", "time", "reason"], cut="reason")
        _, first, _ = capsys.readouterr().out.splitlines()
        assert "car-loan-europe  2026-11-21 18:41:40  a field is not there" in first
        assert first.rstrip().endswith("…")


def test_nothing_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([], ["model"], "The archive is empty.")
    assert capsys.readouterr().out == "The archive is empty.\n"


def test_a_time_reads_the_same_in_every_table_and_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    told = "2026-11-21 12:05:09 UTC"
    assert moment(rfc_3339(1_795_262_709_999_999)) == told
    times = ["2026-11-21T12:05:09Z", "2026-11-21T12:05:09.123456+00:00", rfc_3339(1_795_262_709_000_000)]
    show_table([{"at": time} for time in times], ["at"])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["at", told, told, told]


def test_a_text_of_several_lines_is_one_line_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"check": "policy", "found": "line 3 is wrong\nline 5 is wrong"}]
    show_table(rows, ["check", "found"])
    assert capsys.readouterr().out.splitlines()[1].rstrip().endswith("line 3 is wrong; line 5 is wrong")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    show_table(rows, ["check", "found"])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_number_is_told_with_as_many_digits_as_people_read(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(
        [{"now": now} for now in (0.9251736111, 8.027e-05, 0.0, 9_999.6, 1_609_816.4, 97_000)], ["now"]
    )
    told = [line.rstrip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert told == ["0.9252", "8.027e-05", "0", "10,000", "1,609,816", "97000"]
