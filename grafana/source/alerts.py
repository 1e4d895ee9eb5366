"""The alert rules: what fires, after how long, how bad it is, and the page that says what to do.

Written to deploy/prometheus/alerts.yaml for Prometheus, and to grafana/provisioning/alerting for Grafana without one.
Thresholds are explained on the rules' pages in gateway/docs/runbooks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .conditions import Condition, Increase, Last, Left, Share, Slowest, Used

RUNBOOKS = "gateway/docs/runbooks"


@dataclass
class Rule:
    """`page` names the runbook; `minutes` is for how long the condition must hold; `promql` is for Prometheus alone.

    `only_with` names what a gateway needs to have the metric at all.
    """

    name: str
    page: str
    severity: str
    summary: str
    minutes: float
    condition: Condition | None = None
    promql: str | None = None
    only_with: str = ""

    @property
    def expression(self) -> str:
        return self.promql or (self.condition.promql() if self.condition else "")


RULES = [
    Rule(
        "TidewellDown",
        "gateway-down",
        "critical",
        "{{ $labels.instance }} does not answer",
        1,
        promql='up{job="tidewell"} == 0',
    ),
    Rule(
        "TidewellNotReady",
        "not-ready",
        "critical",
        "{{ $labels.instance }} takes no writes",
        1,
        Last(metric="tidewell_ready", below=1),
    ),
    Rule(
        "TidewellLogNotWritable",
        "log-not-writable",
        "critical",
        "{{ $labels.instance }} cannot write its log {{ $labels.log }}",
        0,
        Last(metric="tidewell_log_writable", below=1, by=["log"]),
    ),
    Rule(
        "TidewellStoreDown",
        "store-down",
        "warning",
        "{{ $labels.store }} does not answer {{ $labels.instance }}; what is meant for it waits in the log",
        1,
        Last(metric="tidewell_store_up", below=1, by=["store"]),
    ),
    Rule(
        "TidewellDeliveryLag",
        "delivery-lag",
        "warning",
        "rows in the log {{ $labels.log }} of {{ $labels.instance }} wait for {{ $value | humanizeDuration }}",
        1,
        Last(metric="tidewell_log_lag_seconds", above=60, by=["log"]),
    ),
    Rule(
        "TidewellDiskBudgetHalf",
        "disk-budget",
        "warning",
        "the log {{ $labels.log }} of {{ $labels.instance }} has used {{ $value | humanizePercentage }} of its budget",
        1,
        Share(part="tidewell_log_waiting_bytes", whole="tidewell_log_limit_bytes", above=0.5, by=["log"]),
    ),
    Rule(
        "TidewellDiskBudgetNearlyUsed",
        "disk-budget",
        "critical",
        "the log {{ $labels.log }} of {{ $labels.instance }} has used {{ $value | humanizePercentage }} of its budget",
        0,
        Share(part="tidewell_log_waiting_bytes", whole="tidewell_log_limit_bytes", above=0.85, by=["log"]),
    ),
    Rule(
        "TidewellRefusing",
        "refusals",
        "critical",
        "{{ $labels.instance }} sends {{ $labels.protocol }} requests away: {{ $labels.result }}",
        1,
        Increase(
            metric="tidewell_requests_total",
            where={"result": ["overloaded", "unavailable", "internal"]},
            above=0,
            by=["protocol", "result"],
        ),
    ),
    Rule(
        "TidewellDeadLetters",
        "dead-letters",
        "warning",
        "{{ $labels.instance }} has refused and kept {{ $value | humanize }} records for {{ $labels.table }}",
        0,
        Increase(metric="tidewell_dead_letters_total", above=0, minutes=10, by=["table"]),
    ),
    Rule(
        "TidewellDeadLettersRemoved",
        "dead-letters-removed",
        "critical",
        "{{ $labels.instance }} has removed {{ $value | humanize }} dead letters that waited: {{ $labels.cause }}",
        0,
        Increase(metric="tidewell_dead_letters_removed_total", above=0, minutes=60, by=["cause"]),
    ),
    Rule(
        "TidewellAcknowledgementSlow",
        "acknowledgement-slow",
        "warning",
        "one in a hundred {{ $labels.protocol }} requests to {{ $labels.instance }} waits {{ $value | humanizeDuration }}",
        2,
        Slowest(histogram="tidewell_request_duration_seconds", above=0.5, by=["protocol"]),
    ),
    Rule(
        "TidewellMemoryUnderWay",
        "memory-under-way",
        "warning",
        "requests under way use {{ $value | humanizePercentage }} of the memory for them on {{ $labels.instance }}",
        1,
        Share(part="tidewell_in_flight_bytes", whole="tidewell_in_flight_limit_bytes", above=0.9),
    ),
    Rule(
        "TidewellMemory",
        "memory",
        "warning",
        "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory that it may use",
        2,
        Share(part="process_resident_memory_bytes", whole="tidewell_memory_limit_bytes", above=0.8),
    ),
    Rule(
        "TidewellProcessorBusy",
        "processor-busy",
        "warning",
        "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its processors",
        5,
        Used(metric="process_cpu_seconds_total", limit="tidewell_processors", above=0.8),
    ),
    Rule(
        "TidewellStoreLostRows",
        "store-lost-rows",
        "critical",
        "the store of log {{ $labels.log }} of {{ $labels.instance }} lost what it had committed: {{ $labels.event }}",
        0,
        Increase(
            metric="tidewell_delivery_events_total",
            where={"event": ["regressed", "gap"]},
            above=0,
            minutes=30,
            by=["log", "event"],
        ),
    ),
    Rule(
        "TidewellLogDamaged",
        "log-damaged",
        "critical",
        "{{ $value | humanize1024 }}B of the log {{ $labels.log }} of {{ $labels.instance }} could not be read",
        0,
        Last(metric="tidewell_log_quarantined_bytes", above=0, by=["log"]),
    ),
    Rule(
        "TidewellLogHeld",
        "log-held",
        "critical",
        "nothing of the log {{ $labels.log }} of {{ $labels.instance }} is delivered until somebody says so",
        0,
        Last(metric="tidewell_log_lost_notes", above=0, by=["log"]),
    ),
    Rule(
        "TidewellTieringBehind",
        "tiering-behind",
        "warning",
        "the oldest rows of {{ $labels.table }} in TimescaleDB are {{ $value | humanizeDuration }} older than its policy says",
        5,
        Last(metric="tidewell_tiering_lag_seconds", above=36 * 3600, by=["table"]),
    ),
    Rule(
        "TidewellTieringBlocked",
        "tiering-blocked",
        "warning",
        "the oldest range of {{ $labels.table }} does not move to ClickHouse",
        10,
        Last(metric="tidewell_tiering_blocked", above=0, by=["table"]),
    ),
    Rule(
        "TidewellTieringDamaged",
        "tiering-damaged",
        "critical",
        "{{ $value | humanize }} moves of {{ $labels.table }} are not in ClickHouse as they were moved",
        0,
        Last(metric="tidewell_tiering_damaged_moves", above=0, by=["table"]),
    ),
    Rule(
        "TidewellCertificateExpires",
        "certificate-expires",
        "warning",
        "the certificate of {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
        0,
        Left(metric="tidewell_certificate_expires_timestamp_seconds", below=14 * 86_400),
        only_with="TLS",
    ),
]


def prometheus() -> str:
    """The rules as a file for `rule_files`."""
    lines = [
        "# Alert rules for Prometheus: rule_files: [alerts.yaml], and a scrape job called tidewell.",
        "# Written by `make dashboards` from grafana/source/alerts.py.",
        "groups:",
        "  - name: tidewell",
        "    rules:",
    ]
    for rule in RULES:
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {json.dumps(rule.expression)}",
            f"        for: {_duration(rule.minutes)}",
            "        labels:",
            f"          severity: {rule.severity}",
            "        annotations:",
            f"          summary: {json.dumps(rule.summary)}",
            f"          runbook_url: {RUNBOOKS}/{rule.page}.md",
        ]
    return "\n".join(lines) + "\n"


def grafana() -> str:
    """The rules that need no Prometheus, as Grafana provisions them. JSON, which is YAML."""
    group = {
        "orgId": 1,
        "name": "tidewell",
        "folder": "Tidewell",
        "interval": "1m",
        "rules": [_grafana_rule(rule, rule.condition) for rule in RULES if rule.condition],
    }
    comment = "# Alert rules for Grafana on TimescaleDB. Written by `make dashboards` from grafana/source/alerts.py.\n"
    return comment + json.dumps({"apiVersion": 1, "groups": [group]}, indent=1) + "\n"


def _grafana_rule(rule: Rule, condition: Condition) -> dict[str, Any]:
    above = condition.above is not None
    evaluator = {"type": "gt" if above else "lt", "params": [condition.above if above else condition.below]}
    window = {"from": condition.window_seconds, "to": 0}
    query = {
        "refId": "A",
        "datasourceUid": "tidewell-timescale",
        "relativeTimeRange": window,
        "model": {"refId": "A", "editorMode": "code", "format": "table", "rawQuery": True, "rawSql": condition.sql()},
    }
    threshold = {
        "refId": "C",
        "datasourceUid": "__expr__",
        "relativeTimeRange": window,
        "model": {"refId": "C", "type": "threshold", "expression": "A", "conditions": [{"evaluator": evaluator}]},
    }
    return {
        "uid": f"tidewell-{rule.page}-{rule.severity}",
        "title": rule.name,
        "condition": "C",
        "data": [query, threshold],
        # No rows are no news of a gateway; an error is a TimescaleDB that does not answer.
        "noDataState": "NoData" if rule.page == "not-ready" else "OK",
        "execErrState": "Error",
        "for": _duration(rule.minutes),
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary.replace("$value", "$values.A.Value"),
            "runbook_url": f"{RUNBOOKS}/{rule.page}.md",
        },
        "isPaused": False,
    }


def _duration(minutes: float) -> str:
    return f"{round(minutes * 60)}s" if minutes != int(minutes) else f"{int(minutes)}m"
