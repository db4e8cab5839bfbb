"""The alert rules about wrong clocks, evaluated by hand on what the workers tell Prometheus."""

import re
from pathlib import Path

import yaml

from tests.streams.fault_roles import Scrape

RULES = Path(__file__).parents[2] / "deploy" / "monitoring" / "prometheus-rules.yml"


def expression_of(alert: str) -> str:
    """What the rule says."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return str(
        next(rule["expr"] for group in groups for rule in group["rules"] if rule.get("alert") == alert)
    )


def selected(scrape: Scrape, selector: str) -> dict[str, float]:
    """`sum by (model) (selector)`; the selector names labels that must be equal."""
    name, labels = re.fullmatch(r"(\w+)\{([^}]*)\}", selector).groups()  # type: ignore[union-attr]
    wanted = set(re.findall(r'(\w+)="([^"]*)"', labels))
    sums: dict[str, float] = {}
    for (metric, of), value in scrape.items():
        if metric == name and wanted <= of:
            model = dict(of)["model"]
            sums[model] = sums.get(model, 0.0) + value
    return sums


def events_ahead(before: Scrape, after: Scrape) -> dict[str, float]:
    """HomeostatFutureEvents: the models of which it fires, and its value. By `increase` where the counter was there
    before, by its value where it was not."""
    selectors = set(re.findall(r"homeostat_\w+\{[^}]*\}", expression_of("HomeostatFutureEvents")))
    assert len(selectors) == 1, "both parts of the rule read the same counter"
    (selector,) = selectors
    then, now = selected(before, selector), selected(after, selector)
    grown = {model: value - then.get(model, 0.0) for model, value in now.items()}
    return {model: value for model, value in grown.items() if value > 0}


def events_late(before: Scrape, after: Scrape) -> dict[str, float]:
    """HomeostatLateEvents: the models of which it fires, and the share of late events."""
    late, received, share = re.fullmatch(
        r"sum by \(model\) \(rate\((\S+ \S+)\[10m\]\)\) "
        r"/ sum by \(model\) \(rate\((\S+ \S+)\[10m\]\)\) > (\S+)",
        expression_of("HomeostatLateEvents"),
    ).groups()  # type: ignore[union-attr]
    grown = [
        {model: value - then.get(model, 0.0) for model, value in now.items()}
        for then, now in ((selected(before, one), selected(after, one)) for one in (late, received))
    ]
    shares = {model: grown[0].get(model, 0.0) / more for model, more in grown[1].items() if more}
    return {model: value for model, value in shares.items() if value > float(share)}
