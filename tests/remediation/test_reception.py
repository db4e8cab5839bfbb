"""Many alerts in one transaction have the outcome of one by one; on the real databases an alert is in once."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.engine import connect
from db.journal import SqlJournal
from detectors.values import Alert, AlertKind
from remediation.config import AgentConfig
from remediation.fingerprints import fingerprint
from remediation.incidents import AGENT
from remediation.inhibition import explaining, explanations
from remediation.reception import receive_alert, receive_alerts, release_alerts
from remediation.routing import Route
from remediation.silences import Link, Matcher, Silence
from remediation.values import Desired, Incident
from tests.databases import migrate
from tests.remediation.fake_journal import FakeJournal, State
from tests.remediation.fakes import Faults, ManualClock, S
from tests.remediation.world import alert

CONFIG = AgentConfig(alerts_topic="a", acknowledgements_topic="k", desired_topic="d")
KINDS: tuple[AlertKind, ...] = ("data_quality", "data_drift", "prediction_drift", "performance")
START_US = 1_700_000_000 * S

series = st.builds(
    lambda model, version, kind, at_s, lag_s, state: alert(
        kind,
        model=model,
        version=version,
        at_us=START_US + at_s * S,
        change_us=START_US + (at_s - lag_s) * S,
        state=state,
    ),
    st.sampled_from(["churn", "loans"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(KINDS),
    st.integers(-30, 30),
    st.integers(0, 40),
    st.sampled_from(["firing", "firing", "cleared"]),
)


def _silence(model: str, kind: str, ends_s: int) -> Silence:
    return Silence(
        id=f"sil-{model}-{kind}",
        matchers=(Matcher(field="model", pattern=model), Matcher(field="kind", pattern=kind)),
        starts_us=START_US - 3_600 * S,
        ends_us=START_US + ends_s * S,
        author="ada",
        reason="planned",
        created_us=START_US - 3_600 * S,
    )


def _begun(held: list[Alert], ends_s: int, past: str | None) -> FakeJournal:
    """Version 2 serves, some alerts are held, and the last incident of churn ended as `past` says."""
    clock = ManualClock(START_US - 60 * S)
    journal = FakeJournal(clock, Faults())
    with journal.transaction() as unit:
        unit.add_silence(_silence("churn", "data_*", ends_s))
        for model in ("churn", "loans"):
            unit.set_desired(
                Desired(
                    model=model, version="2", digest="d", epoch=1, decided_by="ada", reason="", at_us=START_US
                ),
                expected_epoch=0,
                actor="ada",
            )
        unit.link_alerts([Link(alert=each, silence_id="sil-churn-data_*") for each in held])
        if past is not None:
            ended = Incident(
                id="inc-past",
                model="churn",
                version="2",
                state=cast(Any, past),
                change_us=START_US - 40 * S,
                opened_us=START_US - 30 * S,
                closed_us=START_US - 10 * S,
            )
            unit.add_incident(ended, actor=AGENT)
            told = alert("data_quality", model="churn", at_us=START_US - 25 * S, name="told")
            unit.link_alerts([Link(alert=told, incident_id="inc-past")])
    clock.advance(60)
    return journal


def _seen(state: State) -> tuple[Any, ...]:
    told = Counter((each.action, each.subject, str(each.detail)) for each in state.audit)
    links = {each: linked for each, (_, linked) in state.alerts.items()}
    return state.incidents, links, state.holds, state.notices, told


@settings(max_examples=150, deadline=None)
@given(
    incoming=st.lists(series, max_size=14),
    held=st.lists(series, max_size=3, unique_by=lambda each: each.id),
    ends_s=st.sampled_from([-5, 600]),
    past=st.sampled_from([None, "resolved", "escalated"]),
    cuts=st.sets(st.integers(0, 14), max_size=4),
)
def test_many_at_once_is_one_by_one(
    incoming: list[Alert], held: list[Alert], ends_s: int, past: str | None, cuts: set[int]
) -> None:
    held = [each for each in held if each.model == "churn"]
    single, many = _begun(held, ends_s, past), _begun(held, ends_s, past)
    one_by_one = [receive_alert(cast(Any, single), each, now_us=START_US, config=CONFIG) for each in incoming]
    batches: list[Route | None] = []
    edges = [0, *sorted(cuts), len(incoming)]
    for first, last in pairwise(edges):
        batch = incoming[first:last]
        batches += receive_alerts(cast(Any, many), batch, now_us=START_US, config=CONFIG)
    assert batches == one_by_one
    assert _seen(many.state) == _seen(single.state)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_database_takes_each_alert_in_once(
    kind: str, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'h.db'}"
    if kind == "postgresql":
        url = cast(Callable[[], str], request.getfixturevalue("postgres"))()
    migrate(url)
    engine = connect(url)
    journal = SqlJournal(engine, ManualClock(START_US))
    models = ("churn", "loans", "risk")
    alerts = [
        alert(each, model=model, at_us=START_US + number * S)
        for number, each in enumerate(KINDS)
        for model in models
    ]
    with journal.transaction() as unit:
        unit.add_silence(_silence("risk", "*", 600))
    first = receive_alerts(journal, alerts[:5], now_us=START_US, config=CONFIG)
    rest = receive_alerts(journal, [*alerts, alerts[-1]], now_us=START_US + S, config=CONFIG)
    assert [each.decision for each in first if each] == ["open", "open", "hold", "attach", "attach"]
    assert [each is None for each in rest] == [True] * 5 + [False] * 7 + [True]
    with journal.transaction() as unit:
        situations = unit.situations(models)
        assert [len(unit.alerts(each.current.id)) for each in situations.values() if each.current] == [4, 4]
        assert len(situations["risk"].held) == 4
        churn = situations["churn"].current
        assert churn is not None
        assert churn.severity == "critical"
        unit.save_incident(
            Incident(**{**_fields(churn), "state": "resolved"}),
            expected="open",
            actor=AGENT,
            why="well",
        )
    routes = release_alerts(journal, now_us=START_US + 601 * S, config=CONFIG)
    assert [each.decision for each in routes] == ["open", "attach", "attach", "attach"]
    with journal.reading() as unit:
        situations = unit.situations(models)
        assert situations["churn"].current is None
        assert situations["churn"].last_closed is not None
        (notice,) = unit.notices(since_us=0)
    assert notice.text.startswith(
        "The silence is over that ada had set (planned), and risk version 2 still has"
    )
    assert notice.text.endswith("So have 3 more.")
    engine.dispose()


def test_a_fingerprint_names_the_series_and_nothing_else() -> None:
    first = alert("data_drift", at_us=10 * S)
    assert fingerprint(first) == fingerprint(alert("data_drift", at_us=99 * S, state="cleared"))
    assert fingerprint(first) != fingerprint(alert("data_drift", at_us=10 * S, version="3"))
    assert fingerprint(first) == "fp-3f78ed29b3b3"


def test_broken_data_explain_drift_and_drift_explains_performance() -> None:
    broken = alert("data_quality", at_us=100 * S, change_us=96 * S)
    drift = alert("data_drift", at_us=102 * S, change_us=97 * S)
    worse = alert("performance", at_us=110 * S, change_us=99 * S)
    found = explanations([worse, drift, broken])
    assert {each: cause.kind for each, cause in found.items()} == {
        drift.id: "data_quality",
        worse.id: "data_quality",
    }
    assert explaining(worse, [drift]) == drift
    assert explaining(drift, [worse]) is None
    assert explaining(alert("performance", at_us=190 * S), [drift]) is None
    assert explaining(alert("performance", version="1", at_us=110 * S, change_us=99 * S), [drift]) is None


def _fields(incident: Incident) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in incident.__struct_fields__}
