"""The appendix: how the numbers were made, for who wants to check them."""

from reporting import words
from reporting.measures import ENDS
from reporting.values import ReportData


def methods(data: ReportData) -> list[tuple[str, str]]:
    """Headings and paragraphs."""
    return [
        (
            "Windows",
            "Events are folded into windows of event time; a window is closed by watermark and corrected when late "
            "events or labels change it. Labels are counted at the time at which they became known. "
            f"{words.count(sum(model.windows for model in data.models), 'window')} with "
            f"{words.count(len(data.points), 'metric point')} fall into this period. "
            "Charts and lights cover all rows; segments are in points.csv.",
        ),
        (
            "Thresholds",
            "A monitor states how many false incidents are acceptable; that budget is split over all measures and "
            "features, and every threshold follows from it, from the rows of the window and from those of the "
            "reference. A measure crosses it only where the change is also large enough to matter. One breach is "
            "shown as Watch; an alarm (Act) needs two windows in a row, or gross damage to the data.",
        ),
        (
            "Measures",
            "PSI: population stability index against the version's reference profile. KS: largest distance between "
            "the two distribution functions. Out of range: outside the range known from the reference. Accuracy, F1 "
            "and AUC are computed on predictions whose label has come back. Effect: distance from the reference "
            "divided by the threshold's distance.",
        ),
        (
            "Start, worst and now",
            f"Start and now are means over the first and last {ENDS} windows of the period, weighted by rows, over "
            "whatever versions served. Worst is a single window. Accuracy before an incident is that of the last "
            "five windows before the change; during: of the ill version until the action took effect; after: of "
            "the version that replaced it.",
        ),
        (
            "Times of incidents",
            "Detect: from the estimated change to the incident. Approve: from the question to the decision. Act: "
            "from the decision until the inference servers confirmed the version by its digest. Recover: from "
            "there until new labels proved the recovery.",
        ),
        (
            "Accounting",
            "Cumulative since the model is watched. Predictions: received = profiled + late + dead letters + "
            "duplicates. Labels: received = joined + waiting + orphaned + revised + dead letters + duplicates.",
        ),
        ("Audit", _audit(data)),
        ("Undefined measures", _undefined(data)),
    ]


def _audit(data: ReportData) -> str:
    if not data.audit.entries and data.audit.ok:
        return "The audit log had no sequenced entry when this report was made."
    head = (
        f"When this report was made, {words.count(data.audit.entries, 'entry', 'entries')} of the audit log were "
        f"hashed again (RFC 6962 Merkle tree) and compared with "
        f"{words.count(data.audit.checkpoints, 'signed checkpoint')}: "
    )
    if data.audit.ok:
        waiting = words.count(data.audit.pending, "entry", "entries")
        return head + f"all agree. {waiting} waited for a place in the tree."
    return head + "they do NOT agree. " + " ".join(data.audit.problems)


def _undefined(data: ReportData) -> str:
    reasons = [
        f"{model.model}: {reason} ({words.count(many, 'point')})"
        for model in data.models
        for reason, many in list(model.undefined.items())[:5]
    ]
    told = "; ".join(reasons) if reasons else "none"
    cut = (
        " More points were measured than a report reads: the oldest are left out." if data.points_cut else ""
    )
    return f"A measure without meaning is left empty and never counted as good. In this period: {told}.{cut}"
