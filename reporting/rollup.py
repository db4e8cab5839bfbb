"""From the database to a report's data, for one period."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from db.audit.verify import VerifyReport
from db.points import SqlRecordStore
from db.queries import MAX_POINTS
from detectors.values import UNKNOWN_MODEL, AlertKind, MetricPoint
from remediation.ports import Journal, Reader
from remediation.values import Action
from reporting import incidents, measures, verdict
from reporting.values import Accounts, ModelHealth, ReportData

_ALERTS = 10_000
_KINDS: tuple[AlertKind, ...] = (
    "performance",
    "estimated_performance",
    "concept_drift",
    "data_quality",
    "prediction_drift",
    "data_drift",
)


def collect(
    journal: Journal,
    records: SqlRecordStore,
    audit: VerifyReport,
    *,
    since_us: int,
    until_us: int,
    now_us: int,
    console_url: str | None = None,
    environment: str = "",
) -> ReportData:
    """Everything that a report on [since_us, until_us) says, read in one view of the journal.

    `now_us`: when it is made; lights and tickets are those of now. `console_url`: where links lead to
    (None: no links). `environment`: the name of the installation, where it has one. Times in microseconds since the
    epoch, UTC. Raises `ValueError` for an empty period and `db.errors.StoreError`.
    """
    if since_us >= until_us:
        raise ValueError(f"since_us must be before until_us, got {since_us} and {until_us}")
    with journal.reading() as reader:
        names = sorted({*records.models(), *reader.deployed_models()} - {UNKNOWN_MODEL})
        points: dict[str, list[MetricPoint]] = {}
        cut = False
        for name in names:
            points[name], each_cut = _points(reader, name, since_us, until_us)
            cut = cut or each_cut
        models = tuple(_model(reader, records, name, points[name], since_us, until_us) for name in names)
        stories = incidents.stories(reader, incidents.of_period(reader, since_us, until_us), points)
        waiting = tuple(incidents.waiting(reader))
        actions = tuple(_actions(reader, since_us, until_us))
    light, sentence, asks = verdict.conclude(models, stories, waiting, audit)
    return ReportData(
        id=_report_id(names, since_us, until_us, now_us),
        since_us=since_us,
        until_us=until_us,
        generated_us=now_us,
        light=light,
        verdict=sentence,
        asks=asks,
        models=models,
        incidents=stories,
        actions=actions,
        waiting=waiting,
        audit=audit,
        unnamed=_accounts(records, UNKNOWN_MODEL),
        points=tuple(point for name in names for point in points[name]),
        points_cut=cut,
        console_url=console_url.rstrip("/") if console_url else None,
        environment=environment,
        software=_software(),
    )


def _points(reader: Reader, model: str, since_us: int, until_us: int) -> tuple[list[MetricPoint], bool]:
    """Kind by kind, so that a flood of drift measures never pushes out the performance."""
    found: list[MetricPoint] = []
    cut = False
    for kind in _KINDS:
        some = reader.points(
            model,
            measures=measures.measures_of(kind),
            since_us=since_us,
            until_us=until_us,
            limit=MAX_POINTS,
        )
        cut = cut or len(some) == MAX_POINTS
        found += some
    return found, cut


def _model(
    reader: Reader,
    records: SqlRecordStore,
    model: str,
    points: Sequence[MetricPoint],
    since_us: int,
    until_us: int,
) -> ModelHealth:
    serving = reader.desired(model)
    series = measures.series(points)
    accounts = _accounts(records, model)
    found = verdict.checks(points, records.alerts(model, limit=_ALERTS), accounts, serving)
    return ModelHealth(
        model=model,
        serving=serving,
        light=verdict.worst([check.light for check in found]),
        checks=found,
        deltas=measures.deltas(series),
        series=series,
        changes=tuple(one for one in reader.deployments(model) if since_us <= one.at_us < until_us),
        drifts=measures.drifts(points, serving.version if serving else None),
        quality=measures.quality(points),
        accounts=accounts,
        windows=len({(one.version, one.segment, one.axis, one.window) for one in points}),
        undefined=measures.undefined(points),
    )


def _accounts(records: SqlRecordStore, model: str) -> Accounts:
    totals = records.accounting_totals(model)
    return Accounts(
        model=model, closes=totals["closes"], predictions=totals["predictions"], labels=totals["labels"]
    )


def _actions(reader: Reader, since_us: int, until_us: int) -> list[Action]:
    """Actions that were under way in the period, oldest first."""
    found: list[Action] = []
    before: str | None = None
    while page := reader.actions(before=before, limit=incidents.PAGE):
        before = page[-1].id
        found += [
            one
            for one in page
            if one.started_us < until_us and (one.finished_us is None or one.finished_us >= since_us)
        ]
        if len(page) < incidents.PAGE or page[-1].started_us < since_us - incidents.LONGEST_US:
            break
    return found[::-1]


def _report_id(names: Sequence[str], since_us: int, until_us: int, now_us: int) -> str:
    text = "|".join((*names, str(since_us), str(until_us), str(now_us)))
    return "rep-" + hashlib.sha256(text.encode()).hexdigest()[:10]


def _software() -> str:
    try:
        return f"Homeostat {version('homeostat-server')}"
    except PackageNotFoundError:
        return "Homeostat"
