"""A few scenarios of the fault campaign, with little history: from events to the end of the incident."""

import asyncio
from dataclasses import replace

import pytest

from benchmarks.campaign.__main__ import main
from benchmarks.campaign.plant import play
from benchmarks.campaign.scenarios import CAUSE_OF, Fault, Scenario, scenarios
from benchmarks.campaign.score import NOTHING, confusion, outcome, said_of_the_fault, wilson

ONSET = 6.0


def scenario(fault: Fault | None, release: float | None = None) -> Scenario:
    return Scenario(
        seed=3, fault=fault, size=0.7, onset=ONSET, pace=4.0, label_delay=0.15, release=release, wobble=0.3
    )


@pytest.mark.parametrize(
    ("fault", "release", "does"),
    [
        ("wrong_model", None, "rollback"),
        ("rotation", ONSET - 2.5, "quarantine_feature"),
        ("shift_with_loss", None, "retrain"),
        ("turned_concept", ONSET + 0.5, "retrain"),
        ("labels_one_class", None, None),
        (None, ONSET, None),
    ],
)
def test_a_fault_is_named_and_treated(fault: Fault | None, release: float | None, does: str | None) -> None:
    found = outcome(asyncio.run(play(scenario(fault, release))))
    assert found.found == (CAUSE_OF[fault] if fault else "nothing told")
    assert found.acted[:1] == ((does,) if does else ())
    assert (found.action_is_right, found.harm, found.endless) == (True, (), 0)


def test_scenarios_are_the_same_for_the_same_seed_and_every_fourth_is_a_control() -> None:
    found = scenarios(80, 5)
    assert found == scenarios(80, 5)
    assert [each.cause is None for each in found[:8]] == [False, False, False, True] * 2
    assert {each.fault for each in found} == {None, *CAUSE_OF}
    assert scenarios(80, 6) != found


def test_a_diagnosis_of_what_was_ill_before_counts_only_where_it_is_the_only_one() -> None:
    ill_before = replace(scenario("shift_with_loss"), first=("latency", ONSET - 2))
    both = ["population_shift", "serving_problem"]
    assert said_of_the_fault(ill_before, both) == "population_shift"
    assert said_of_the_fault(ill_before, both[1:]) == "serving_problem"
    assert said_of_the_fault(scenario("shift_with_loss"), both) == "serving_problem"
    assert said_of_the_fault(ill_before, []) == NOTHING


def test_a_share_has_an_interval_and_mistakes_have_a_table() -> None:
    low, high = wilson(45, 50)
    assert (round(low, 3), round(high, 3)) == (0.786, 0.957)
    assert wilson(0, 0) == (0.0, 1.0)
    assert confusion([]) == ["|  |", "|---|"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            ["--stack", "2", "--only", "units"],
            "invalid choice: 'units' (choose from 'control', 'wrong_model'",
        ),
        (["--only", "units"], "invalid choice: 'units'"),
        (["--stack", "2", "--only", "surge"], "surge is told by hours of the week"),
    ],
)
def test_a_fault_that_is_unknown_or_cannot_be_played_is_an_error_that_says_which_can(
    asked: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["campaign", *asked])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
