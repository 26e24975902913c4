"""docs/metrics.md, deploy/alerts.yaml and deploy/grafana.json against the metrics that there are."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from syncd import metrics
from tests.docs.promql import NotPromql, named

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
ALERTS = ROOT / "deploy" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana.json"
TARGET_LABELS = {"job", "instance"}
"""Prometheus adds them to everything that it scrapes."""
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "info": ("_info",),
    "histogram": ("_bucket", "_count", "_sum"),
}


@dataclass(frozen=True, slots=True)
class Series:
    """What a name in an expression stands for."""

    type: str
    labels: frozenset[str]


@cache
def registered() -> dict[str, Series]:
    """The metrics by the names that the page tells: of a counter with its suffix, of a histogram without."""
    found = {}
    for name, collector in metrics.registry._names_to_collectors.items():
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            if family.name == name:
                shown = name + SUFFIXES[family.type][0] if family.type in ("counter", "info") else name
                if family.type == "info":
                    labels = frozenset(family.samples[0].labels)
                found[shown] = Series("gauge" if family.type == "info" else family.type, labels)
    return found


@cache
def series() -> dict[str, Series]:
    """All time series by their full names."""
    found = {}
    for name, one in registered().items():
        for suffix in SUFFIXES[one.type] if one.type == "histogram" else ("",):
            more = {"le"} if suffix == "_bucket" else set()
            found[name + suffix] = Series("counter" if suffix else one.type, one.labels | more)
    return found


def wrong(expression: str) -> list[str]:
    """What an expression names that is not there, or is of another kind."""
    try:
        found = named(expression)
    except NotPromql as error:
        return [str(error)]
    known = series()
    faults = [f"no such metric: {name}" for name in found.metrics if name not in known]
    if not faults:
        every = TARGET_LABELS.union(*(known[name].labels for name in found.metrics))
        faults += [
            f"{name} has no label {label}"
            for name, labels in found.metrics.items()
            for label in labels - known[name].labels - TARGET_LABELS
        ]
        faults += [f"nothing has a label {label}" for label in found.grouped - every]
        faults += [f"{name} is no counter" for name in found.counted if known[name].type != "counter"]
    return faults


def told() -> dict[str, Series]:
    """The metrics of the page."""
    rows = re.findall(r"^\| `(syncd_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows}), "a metric is told twice"
    return {name: Series(kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    assert [set(group) for group in groups] == [{"name", "rules"}]
    found: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    return found


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, rows aside."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_every_metric_is_told_as_it_is_and_no_other() -> None:
    assert told() == {name: one for name, one in registered().items() if name.startswith("syncd_")}


def test_labels_are_bounded() -> None:
    assert set().union(*(one.labels for one in told().values())) == {
        *("account", "link", "listener"),  # names of the config
        *("via", "outcome", "state", "result", "reason", "status", "limit", "version"),  # fixed words
    }


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ('sum by (link) (syncd_deliveries{state="dead"}) > 0', ""),
        ("time() - max by (account) (syncd_last_webhook_time_seconds) > 1800", ""),
        ("histogram_quantile(0.5, sum by (le) (rate(syncd_delivery_seconds_bucket[$__rate_interval])))", ""),
        ("syncd_nothing > 0", "no such metric: syncd_nothing"),
        ("rate(syncd_events[5m])", "no such metric: syncd_events"),
        ("rate(syncd_delivery_seconds[5m])", "no such metric: syncd_delivery_seconds"),
        ("rate(syncd_deliveries[5m])", "syncd_deliveries is no counter"),
        ('syncd_deliveries{contact="x"}', "syncd_deliveries has no label contact"),
        ("sum by (contact) (syncd_deliveries)", "nothing has a label contact"),
        ("summ(syncd_deliveries)", "no such function is known: summ"),
        ("sum(syncd_deliveries", "brackets do not match: sum(syncd_deliveries"),
        ("syncd_deliveries{state}", "not a matcher of labels: syncd_deliveries{state}"),
        ("syncd_deliveries # 3", "not understood: # 3"),
    ],
)
def test_expressions_are_read(expression: str, fault: str) -> None:
    assert wrong(expression) == ([fault] if fault else [])


def test_alerts_name_what_there_is() -> None:
    found = rules()
    assert 10 <= len(found) == len({rule["alert"] for rule in found})
    faults = [f"{rule['alert']}: {fault}" for rule in found for fault in wrong(rule["expr"])]
    assert faults == []


def test_alerts_are_whole() -> None:
    for rule in rules():
        name = rule["alert"]
        assert re.fullmatch(r"Syncd([A-Z][a-z]+)+", name), name
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}, name
        assert re.fullmatch(r"[1-9]\d*[mh]", rule.get("for", "1m")), name
        assert rule["labels"].keys() == {"severity"} and rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"].keys() == {"summary", "runbook"}, name
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        expression = named(rule["expr"])
        # What is grouped has the labels that it was grouped by, and no others.
        assert shown <= (expression.grouped or TARGET_LABELS) | TARGET_LABELS, name


def test_runbooks_are_there() -> None:
    for rule in rules():
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, rule["alert"]


def test_panels_name_what_there_is() -> None:
    faults = []
    for panel in panels():
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            faults += [f"{panel['title']}: {fault}" for fault in wrong(target["expr"])]
            grouped = named(target["expr"]).grouped
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            own = set().union(*(series()[name].labels for name in named(target["expr"]).metrics if name in series()))
            faults += [f"{panel['title']}: no {label}" for label in legend - (grouped or own) - TARGET_LABELS]
    assert faults == []


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["schemaVersion"] >= 36 and dashboard["title"] == "syncd" and "id" not in dashboard
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    for name in variables.keys() - {"datasource"}:
        query = variables[name]["query"]["query"]
        metric = re.fullmatch(rf"label_values\((\w+), {name}\)", query)
        assert metric is not None and name in series()[metric[1]].labels
    used = set(re.findall(r'~"\$(\w+)"', " ".join(t["expr"] for panel in panels() for t in panel["targets"])))
    assert used == variables.keys() - {"datasource"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_panels_do_not_lie_on_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_what_is_worth_watching_is_watched() -> None:
    """Every metric of syncd's own is on the dashboard or in a rule."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    shown += [rule["expr"] for rule in rules()]
    there = set().union(*(named(one).metrics.keys() for one in shown))
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) if name not in registered() else name for name in there}
    assert told().keys() - bases == {"syncd_report_time_seconds"}
