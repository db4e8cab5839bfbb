"""The stages in memory against pandas: late, early, backdated, revised and repeated labels, several versions, segments
with missing values, disorder beyond the watermark's delay, any cut and any spread."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.streams.batch_truth import assert_accounting, assert_points
from tests.streams.fault_load import Load
from tests.streams.fault_outcome import undisturbed
from tests.streams.fault_plan import Plan

PARTITIONS = 4
BY_ROWS = {"window_rows": 200, "label_window_rows": 100}
BY_TIME = {"window_s": 4.0, "label_window_s": 3.0}
PLAN = Plan(model="truth", requests=800, rate=60.0, labelled=0.7, missing=0.1)

PLANS = st.builds(
    replace,
    st.sampled_from([replace(PLAN, **one) for one in (BY_ROWS, BY_TIME)]),
    seed=st.integers(0, 2**16),
    spread=st.integers(1, 3),
    shadow=st.sampled_from([0.0, 0.9]),
    early=st.sampled_from([0.05, 0.4]),
    backdated_s=st.sampled_from([0.0, 3.0, 20.0]),
    revised=st.sampled_from([0.0, 0.3]),
    repeated=st.sampled_from([0.0, 0.3]),
    disorder_s=st.sampled_from([0.2, 5.0, 15.0]),
    delay_s=st.sampled_from([0.0, 1.0, 5.0]),
    batch_rows=st.sampled_from([0, 37, 500]),
)


@settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])
@example(plan=replace(PLAN, **BY_ROWS, spread=2, early=0.4, backdated_s=5.0, shadow=0.9), flush_every=5)
@given(plan=PLANS, flush_every=st.integers(1, 64))
def test_the_stages_say_what_pandas_says(plan: Plan, flush_every: int) -> None:
    load = Load.of([plan], PARTITIONS)
    found, truth = undisturbed(load, flush_every), load.truth()
    assert_accounting(truth, found.profiled)
    agreement = assert_points(truth, found.seals, found.points.values())
    assert agreement.windows >= 5
    assert agreement.points >= 50
