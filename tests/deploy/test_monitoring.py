"""Alert rules and dashboard name metrics that exist, and the page that explains them names all."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.settings import Settings
from detectors.values import Accounting
from homeostat import exposition
from streams.telemetry_names import CATALOGUE
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
METRICS = {metric.name: metric for metric in CATALOGUE}
OF_SERVICES = {name for name, _ in exposition.NAMES.values()}
OF_PROCESSES = {
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "up",
}
OF_THE_API = {"homeostat_agent_heartbeat_seconds", "homeostat_overdue_steps"}
LABELS = {"role", "instance", "job", "reason"}
OUTCOMES = {*Accounting.__struct_fields__, "future"}


def rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]


def expressions() -> list[tuple[str, str]]:
    of_rules = [(rule["alert"], rule["expr"]) for rule in rules()]
    of_panels = [
        (panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", [])
    ]
    return of_rules + of_panels


@pytest.mark.parametrize(("name", "expression"), expressions())
def test_every_metric_and_label_of_an_expression_exists(name: str, expression: str) -> None:
    metrics = re.findall(r"\b(?:homeostat|process)_[a-z_]+|\bup\b", expression)
    assert metrics
    assert set(metrics) <= METRICS.keys() | OF_PROCESSES | OF_SERVICES | OF_THE_API
    known = LABELS.union(*(METRICS[metric].labels for metric in metrics if metric in METRICS))
    for chosen in re.findall(r"\{([^}]*)\}", expression):
        for label in re.findall(r"([a-z]+)\s*=~?", chosen):
            assert label in known, label
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= known
    for named in re.findall(r'outcome=~?"([^"]*)"', expression):
        assert set(named.split("|")) <= OUTCOMES
    assert expression.count("(") == expression.count(")")
    for metric in re.findall(r"(?:rate|increase)\((\w+)", expression):
        assert metric.endswith("_total"), "a rate of a gauge means nothing"


def test_alerts_are_explained() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", page, re.M)
    }
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        document, anchor = rule["annotations"]["runbook"].split("#")
        assert document == "docs/operations.md"
        assert anchor in anchors, anchor
        assert f"`{rule['alert']}`" in page


def promtool(*arguments: str) -> str:
    """What Prometheus's own tool says, with its exit code first."""
    found = shutil.which("promtool")
    assert found, "promtool is not here; Debian has it in the package prometheus (apt-get install prometheus)"
    done = subprocess.run(
        [found, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    return f"{done.returncode} {done.stdout}{done.stderr}"


def test_prometheus_takes_the_rules_and_the_scrape_configuration() -> None:
    assert promtool("check", "rules", "prometheus-rules.yml").startswith("0 ")
    assert promtool("check", "config", "prometheus.yml").startswith("0 ")


def test_every_rule_fires_when_it_should_and_only_then() -> None:
    """By Prometheus itself, on the series of prometheus-rules.test.yml."""
    said = promtool("test", "rules", "prometheus-rules.test.yml")
    assert said.startswith("0 "), said
    tests = yaml.safe_load((MONITORING / "prometheus-rules.test.yml").read_text())["tests"]
    asked = [one for test in tests for one in test["alert_rule_test"]]
    fired = {one["alertname"] for one in asked if one.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in rules()}


def test_the_dashboard_can_be_laid_out() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_page_names_every_metric_and_every_setting_of_the_workers() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for metric in CATALOGUE:
        labels = f" ({', '.join(f'`{label}`' for label in metric.labels)})" if metric.labels else ""
        row = f"| `{metric.name}`{labels} | {metric.kind} | {metric.help} |"
        assert row in page.splitlines(), f"docs/operations.md lacks this row: {row}"
    known = {f"HOMEOSTAT_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"HOMEOSTAT_[A-Z_]+", page))
    assert named <= known
    workers = ("METRICS_PORT", "METRICS_HOST", "INSTANCE", "PROFILE_WORKERS", "CHECKPOINT_INTERVAL_S")
    assert {f"HOMEOSTAT_{name}" for name in workers} <= named
