"""Prometheus metrics: every name and label in one place. Labels are bounded: accounts, links and fixed words only.

docs/metrics.md tells operators of each of them; a test compares.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

import syncd

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)
Info("syncd_build", "The version that runs", registry=registry).info({"version": syncd.__version__})

REMOVED = "(removed)"
"""Stands for a link, and its account, that the config has no longer; no link can be called so."""

events = Counter(
    "syncd_events",
    "Events taken, by way (webhook, poll, …) and outcome (done, ignored, echo, duplicate, waiting, parked, failed)",
    ["account", "via", "outcome"],
    registry=registry,
)
hooks_refused = Counter(
    "syncd_webhooks_refused", "Webhooks answered with anything but 2xx, by HTTP status", ["status"], registry=registry
)
attempts = Counter("syncd_attempts", "Attempts to deliver, by how they ended", ["account", "result"], registry=registry)
delivery_seconds = Histogram(
    "syncd_delivery_seconds",
    "From the commit of a message to the platform's answer",
    ["account"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
    registry=registry,
)
commit_seconds = Histogram(
    "syncd_commit_seconds",
    "Time of one group commit",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=registry,
)
commit_units = Counter("syncd_commit_units", "Units of work committed", registry=registry)
last_webhook = Gauge(
    "syncd_last_webhook_time_seconds",
    "When the account's last webhook was stored, in Unix time; 0 before the first since the start",
    ["account"],
    registry=registry,
)
polls = Counter("syncd_polls", "Polls, by result (ok, error)", ["account", "result"], registry=registry)
last_poll = Gauge(
    "syncd_last_poll_time_seconds",
    "When the link's channel was last polled with success, in Unix time; 0: never",
    ["account", "link"],
    registry=registry,
)
poll_found = Counter(
    "syncd_poll_found", "Events that a poll brought before any webhook did", ["account"], registry=registry
)
webhook_late = Histogram(
    "syncd_webhook_late_seconds",
    "From the poll that found an event to the webhook that brought it too",
    ["account"],
    buckets=(1, 5, 15, 60, 300, 900, 3600, 21600, 86400),
    registry=registry,
)
requests_in_hand = Gauge("syncd_webhooks_in_hand", "Webhooks being answered now", registry=registry)
requests_limit = Gauge("syncd_webhooks_limit", "server.max_concurrent", registry=registry)
account_up = Gauge("syncd_account_up", "1 while the account can send, else 0", ["account"], registry=registry)
lanes_active = Gauge("syncd_lanes_active", "Lanes in the hands of the senders", ["account"], registry=registry)
paused = Gauge(
    "syncd_paused",
    "1 while an operator keeps what goes on this link through this account from being sent, else 0",
    ["link", "account"],
    registry=registry,
)
deliveries = Gauge(
    "syncd_deliveries",
    "Deliveries by state: backlog (not settled), unknown (in doubt or held), dead (given up)",
    ["link", "account", "state"],
    registry=registry,
)
oldest = Gauge(
    "syncd_oldest_delivery_seconds",
    "Age of the oldest delivery that is not settled; 0 without any",
    ["link", "account"],
    registry=registry,
)
lanes_waiting = Gauge(
    "syncd_lanes_waiting",
    "Lanes with something to deliver, by what they wait for",
    ["link", "account", "reason"],
    registry=registry,
)
events_held = Gauge(
    "syncd_events_held",
    "Events stored and not yet applied: waiting (for a send to be settled), parked (for their message)",
    ["account", "state"],
    registry=registry,
)
media_wanted = Gauge("syncd_media_wanted", "Files that are to be fetched", ["account"], registry=registry)
media = Counter(
    "syncd_media",
    "Attempts to fetch a file, by result (kept, missing, postponed)",
    ["account", "result"],
    registry=registry,
)
database_up = Gauge("syncd_database_up", "1 while the database takes what it is given, else 0", registry=registry)
report_time = Gauge(
    "syncd_report_time_seconds",
    "When the figures that are read from the database were read, in Unix time; 0: not yet",
    registry=registry,
)
report_seconds = Gauge("syncd_report_seconds", "How long it took to read them", registry=registry)
connections = Gauge("syncd_connections", "Open connections, by listener", ["listener"], registry=registry)
limits = Gauge(
    "syncd_limit", "Limits in force, by listener and key of [server]", ["listener", "limit"], registry=registry
)
limit_reached = Counter(
    "syncd_limit_reached", "How often a caller met a limit", ["listener", "limit"], registry=registry
)
malformed = Counter("syncd_malformed_requests", "Requests that were not HTTP", ["listener"], registry=registry)


def outcome_of(state: str, reason: str) -> str:
    """What `syncd_events` counts an event as: its state, or what an ignored one repeats."""
    word, of, _ = reason.partition(" of message ")
    return word if of and word in ("echo", "duplicate") else state


class CommitObserver:
    """Counts the store's commits."""

    def committed(self, units: int, seconds: float) -> None:
        """So many units were committed in so many seconds."""
        commit_seconds.observe(seconds)
        commit_units.inc(units)
