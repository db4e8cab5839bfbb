"""The names of causes and actions, as every surface tells them to a person."""

from typing import NamedTuple

from remediation.values import ActionKind, Cause

CAUSES: dict[Cause, str] = {
    "bad_release": "Bad release",
    "upstream_data_break": "Broken data upstream",
    "population_shift": "Population shift",
    "concept_shift": "Concept shift",
    "label_problem": "Labels cannot be trusted",
    "serving_problem": "Serving problem",
    "traffic_change": "Traffic changed",
    "unknown": "Cause unknown",
}


class Deed(NamedTuple):
    """What an action is called: as a command ("Roll back"), and as a thing ("Rollback")."""

    command: str
    noun: str


ACTIONS: dict[ActionKind, Deed] = {
    "rollback": Deed("Roll back", "Rollback"),
    "retrain": Deed("Retrain", "Retraining"),
    "promote": Deed("Promote", "Promotion"),
    "shift_traffic": Deed("Shift traffic", "Traffic shift"),
    "shadow": Deed("Shadow", "Shadowing"),
    "fall_back": Deed("Fall back", "Fallback"),
    "quarantine_feature": Deed("Quarantine", "Quarantine"),
    "pause_model": Deed("Pause", "Pause"),
    "raise_log_detail": Deed("Log in detail", "Detailed logging"),
    "refresh_reference": Deed("Refresh the reference", "Reference refresh"),
    "scale_replicas": Deed("Scale replicas", "Scaling"),
    "open_issue": Deed("Open an issue", "Issue"),
    "http_call": Deed("Call", "HTTP call"),
    "run_command": Deed("Run", "Command"),
}
