"""An illness of one segment is told as one: in the alert, in the summary of the incident and in its post-mortem."""

from msgspec.structs import replace

from detectors.decide import alert_from
from detectors.judgement import Transition, Window
from detectors.reference import Reference
from detectors.values import Monitor
from remediation.diagnosis import diagnose, summary
from remediation.evidence import Facts
from tests.remediation.test_diagnosis import CONFIG, DRIFT, DROP, HEALTHY_ONE, ILL_TWO, _facts


def _told(facts: Facts) -> str:
    return summary(facts, diagnose(facts, CONFIG)[0])


def test_the_alert_of_a_segment_names_it() -> None:
    reference = Reference(model="m", version="1", rows=1, effective_rows=1, rows_identify=False, features=())
    told = Transition(kind="data_drift", state="firing", change_us=0, reason="Data drift: age moved.")
    window = Window(model="m", version="1", axis="event", window="w", start_us=0, end_us=1, rows=9)
    gold = replace(window, segment="plan=gold")
    reasons = [alert_from(one, told, Monitor(model="m"), reference).reason for one in (window, gold)]
    assert reasons == ["Data drift: age moved.", "In plan=gold: Data drift: age moved."]


def test_the_summary_names_the_segments_where_they_are_few() -> None:
    points = HEALTHY_ONE + ILL_TWO
    assert _told(_facts([DROP], points)).startswith("cancer: ")
    gold, basic = (replace(DROP, id=name, segment=f"plan={name}") for name in ("gold", "basic"))
    assert _told(_facts([gold], points)).startswith("cancer, only in plan=gold: ")
    assert _told(_facts([gold, basic], points)).startswith("cancer, only in plan=basic and plan=gold: ")
    assert _told(_facts([gold, DRIFT], points)).startswith("cancer: ")
