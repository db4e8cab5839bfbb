"""Playbooks in files: what is right goes round, what is wrong is told with its place, and lint finds the rest."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.errors import PlaybooksInvalid
from remediation.playbooks.files import built_in, parse_playbooks, read_playbooks, schema
from remediation.playbooks.lint import covers, lint
from remediation.playbooks.values import Playbooks
from remediation.policy import Person, Policy, Rule
from tests.remediation.test_playbooks_planner import STEPS, one

DOCS = Path(__file__).parents[2] / "docs"


def test_the_published_schema_is_the_one_of_the_code() -> None:
    """After a change: `uv run homeostat playbooks schema > docs/playbooks.schema.json`."""
    published = json.loads((DOCS / "playbooks.schema.json").read_text())
    assert published == json.loads(json.dumps(schema()))


def test_the_examples_of_the_document_are_without_fault() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (DOCS / "playbooks.md").read_text(), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        found = parse_playbooks(example.encode(), "docs/playbooks.md")
        assert lint(found, policy=Policy()) == [], example


def test_what_comes_with_us_is_without_fault() -> None:
    assert lint(Playbooks(playbooks=built_in(), built_in=False), policy=Policy()) == []
    assert {cause for each in built_in() for cause in each.match.causes} >= {"bad_release", "unknown"}


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    causes=st.sets(st.sampled_from(["bad_release", "unknown", "concept_shift"])),
    confidence=st.floats(0, 1),
    minutes=st.none() | st.integers(1, 500),
    quorum=st.none() | st.integers(1, 20),
    segments=st.none() | st.integers(1, 9),
    on_failure=st.none() | st.sampled_from(["next", "stop", "undo"]),
    tell=st.none() | st.text("abc: #'\"\n", min_size=1),
)
def test_every_file_that_is_read_goes_round(
    kinds: list[str],
    causes: set[str],
    confidence: float,
    minutes: int | None,
    quorum: int | None,
    segments: int | None,
    on_failure: str | None,
    tell: str | None,
) -> None:
    steps = [{"action": kind, **_fields(kind)} for kind in kinds]
    for step in steps:
        step |= {"approval": {"until_min": minutes, "quorum": quorum}, "on_failure": on_failure}
        step |= {"only_if": {"max_segments": segments, "change_recorded": ["release"]}}
    match = {"causes": sorted(causes), "min_confidence": confidence}
    raw = {
        "playbooks": [{"name": "p", "match": match, "steps": steps, "tell": tell}],
        "autonomy": {"a*": "act"},
    }
    first = parse_playbooks(json.dumps(raw).encode(), "first.yaml")
    again = parse_playbooks(msgspec.yaml.encode(first), "again.yaml")
    assert again == first
    assert [each.kind for each in first.playbooks[0].steps] == kinds


def _fields(kind: str) -> dict[str, Any]:
    return msgspec.yaml.decode(f"{{{STEPS[kind]}}}".encode())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("playbooks: [", "is no YAML"),
        ("playbooks: 7", "bad.yaml: playbooks is 7: Expected `array`"),
        ("playbooks: [{name: ''}]", "playbooks[0] (''), field `name` is '': Expected `str` of length >= 1"),
        (
            one("{action: dance}"),
            "playbooks[0] ('p'), step 1 (dance), field `action` is 'dance': Invalid value",
        ),
        (
            one("{action: rollback}, {action: promote}"),
            "step 2 (promote): Object missing required field `to`",
        ),
        (
            one("{action: pause_model, until: 3}"),
            "step 1 (pause_model): Object contains unknown field `until`",
        ),
        (
            one("{action: shift_traffic, to: 4, shares: [0.1, 7]}"),
            "step 1 (shift_traffic), field `shares[1]` is 7: Expected `float` <= 1",
        ),
        (
            one("{action: shift_traffic, to: 4, shares: [0.1, 0.5]}"),
            "field `shares` is [0.1, 0.5]: shares have to grow and end with 1, such as",
        ),
        (one("{action: fall_back}"), "field `to`: give either a version in `to` or a score in `constant`"),
        (one("{action: rollback, safe: true}"), "field `safe` is true: it changes what the model answers"),
        (
            one("{action: open_issue, safe: true, approval: {quorum: 2}}"),
            "field `approval` names people, and the step is safe",
        ),
        (
            one("{action: rollback, only_if: {target_is_safe: false}}"),
            "a rollback goes to a safe version or not at all",
        ),
        (
            one("{action: retrain, only_if: {change_recorded: [release], no_change_recorded: [release]}}"),
            "a change of kind release cannot be recorded and not recorded",
        ),
        (
            one("{action: rollback}", "{during: [{schedule: 'nightly', lasts_h: 1}]}"),
            "field `match.during[0].schedule`: The schedule 'nightly' has 1 fields",
        ),
        (
            "playbooks: [{name: a}, {name: a}]",
            "playbooks[1] ('a'), field `name`: another playbook is called so",
        ),
        (
            "autonomy: {x: always}",
            "autonomy.x is 'always': Invalid enum value 'always' (there are: act, observe, suggest)",
        ),
        (
            one("{action: rollback}", "{causes: [bad_relase]}"),
            "did you mean 'bad_release'? (there are: bad_release, ",
        ),
        (one("{action: roll_back}"), "did you mean 'rollback'? (there are: rollback, retrain, "),
        (one("{to: 3}"), "missing required field `action` (there are: rollback, "),
        (one("{action: promote, too: 3}"), "did you mean 'to'? (known are: action, only_if, "),
        (
            "playbooks: [{name: p, matches: {}}]",
            "unknown field `matches`; did you mean 'match'? (known are: name, ",
        ),
        (
            one("{action: open_issue, url_env: 'https://x/s3cr3t'}"),
            "field `url_env`: Expected the name of an environment",
        ),
        ("playbooks: {a: 1}", "playbooks: Expected `array`, got `object`"),
        ("autonomy: {'': act}", "Expected `str` of length >= 1"),
        ("built_in: true\nbuilt_in: false", "line 2, built_in stands there twice, first in line 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(PlaybooksInvalid) as refused:
        parse_playbooks(text.encode(), "bad.yaml")
    assert str(refused.value).startswith("bad.yaml")
    assert told in str(refused.value)


def test_every_mistake_is_told_at_once_and_no_address_with_a_secret() -> None:
    text = """
    playbooks:
      - {name: a, match: {severity: bad}, steps: [{action: dance}, {action: open_issue, url_env: "https://x/s3cr3t"}]}
      - {name: b, on_end: stop}
    autonomy: {"*": always}
    """
    with pytest.raises(PlaybooksInvalid) as refused:
        parse_playbooks(text.encode(), "bad.yaml")
    told = str(refused.value)
    for place in (
        "`match.severity`",
        "step 1 (dance)",
        "step 2 (open_issue)",
        "('b'), field `on_end`",
        "autonomy.*",
    ):
        assert place in told
    assert "s3cr3t" not in told
    assert [line.partition(": ")[0] for line in told.splitlines()] == ["bad.yaml"] * 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["it names no playbook: those that come with Homeostat treat every incident"]),
        ("built_in: false", ["it names no playbook: nothing is ever done"]),
        ("autonomy: {'*': act}", []),
    ],
)
def test_a_file_without_playbooks_is_hardly_meant(text: str, told: list[str]) -> None:
    found = lint(parse_playbooks(text.encode(), "empty.yaml"), policy=Policy())
    assert [each.text for each in found if each.level == "warning"] == told


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlaybooksInvalid, match="cannot be read"):
        read_playbooks(tmp_path / "none.yaml")


PEOPLE = Policy(people={"ada": Person(roles=("risk",)), "otto": Person()})


@pytest.mark.parametrize(
    ("text", "level", "told"),
    [
        (
            "playbooks: [{name: a, match: {causes: [bad_release, unknown]}}, {name: b, match: {causes: [unknown]}}]",
            "error",
            "playbook 'b': it is never asked: 'a' before it take every incident",
        ),
        (
            "playbooks: [{name: a, match: {models: 'c*'}}, {name: b, match: {models: 'churn-?'}}]",
            "error",
            "playbook 'b': it is never asked",
        ),
        (
            "playbooks: [{name: a, match: {causes: [unknown]}}, {name: b, match: {causes: [unknown, bad_release]}}]",
            "error",
            "playbook 'b': it is never asked about unknown: 'a' comes first",
        ),
        (
            "playbooks: [{name: a, match: {kinds: [performance]}}, {name: b, match: {causes: [unknown]}}]",
            "warning",
            "playbook 'b': it and 'a' can be for one incident",
        ),
        (
            one("{action: pause_model}, {action: rollback}"),
            "error",
            "step 2 (rollback): it can never run: step 1 (pause_model) always can",
        ),
        (
            one("{action: rollback}, {action: rollback}"),
            "warning",
            "step 2 (rollback): the same step stands before it",
        ),
        (
            one("{action: retrain}", "{causes: [label_problem]}"),
            "error",
            "it can never run: nothing is trained on what is known to be wrong, unless it says `accept: [bad_labels]`",
        ),
        (
            one("{action: rollback}", "{models: churm}"),
            "warning",
            "no model is called 'churm'; known are: churn",
        ),
        (
            one("{action: rollback, approval: {roles: [risk], quorum: 2}}"),
            "error",
            "it needs 2 people with one of the roles risk, and the policy has 1 (ada)",
        ),
        (one("{action: rollback, act: true}"), "warning", "`autonomy` gives none of its models `act`"),
        (one("{action: open_issue, url_env: NOWHERE}"), "warning", "NOWHERE is not set here"),
        (
            "autonomy: {'*': act, 'churn': observe}",
            "error",
            "autonomy of 'churn': it never counts: '*' comes first",
        ),
    ],
)
def test_lint_finds_what_was_put_in(text: str, level: str, told: str) -> None:
    known = parse_playbooks(text.encode(), "seeded.yaml")
    found = lint(known, policy=PEOPLE, models=["churn"], configured=lambda name: name == "ISSUES")
    assert [each.level for each in found if told in f"{each.place}: {each.text}"] == [level], found


@pytest.mark.parametrize(
    ("rule", "asks", "told"),
    [
        (
            Rule(roles=("risk", "lead"), quorum=2),
            "roles: [risk]",
            "it needs 2 people with one of the roles risk, and the policy has 1 (ada): nobody could ever approve it",
        ),
        (
            Rule(roles=("risk",), quorum=2),
            "roles: [lead]",
            "it needs 2 people with one of the roles risk, and the policy has 1 (ada): nobody could ever approve it",
        ),
        (
            Rule(roles=("risk", "lead"), self_approval=False),
            "roles: [risk]",
            "it needs 2 people with one of the roles risk (one more than consent, for self_approval is false), and the "
            "policy has 1 (ada): nobody could approve what becomes of a release of theirs",
        ),
        (Rule(models="other", roles=("risk", "lead"), quorum=2), "roles: [risk]", None),
        (Rule(actions=("retrain",), roles=("risk", "lead"), quorum=2), "roles: [risk]", None),
        (Rule(roles=("risk", "lead"), quorum=2), "quorum: 2", None),
    ],
)
def test_lint_counts_who_can_consent_by_the_playbook_and_the_policy_together(
    rule: Rule, asks: str, told: str | None
) -> None:
    people = {"ada": Person(roles=("risk",)), "otto": Person(roles=("lead",))}
    known = parse_playbooks(
        one(f"{{action: rollback, approval: {{{asks}}}}}", "{models: 'c*'}").encode(), "f"
    )
    found = lint(known, policy=Policy(people=people, rules=(rule,)))
    assert [(each.level, each.text) for each in found if "people" in each.text] == (
        [("error", told)] if told else []
    )


def test_lint_says_nothing_of_what_is_meant() -> None:
    text = """
    playbooks:
      - name: narrow
        match: {models: churn, kinds: [performance]}
        steps: [{action: pause_model, on_failure: next}, {action: rollback}]
      - {name: wide, match: {causes: [bad_release]}, steps: [{action: rollback, act: true}]}
    autonomy: {churn: suggest, "*": act}
    """
    assert lint(parse_playbooks(text.encode(), "fine.yaml"), policy=PEOPLE, models=["churn"]) == []


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("*", "a?", True),
        ("a*", "ab*", True),
        ("ab*", "a*", False),
        ("a?", "a*", False),
        ("a?", "ab", True),
        ("a", "a", True),
    ],
)
def test_a_pattern_covers_another(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered


def test_reading_a_file_waits_for_no_compiler() -> None:
    program = (
        "import sys; import remediation.playbooks.files, remediation.policy; "
        "print([each for each in ('numba', 'pandas', 'numpy') if each in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
