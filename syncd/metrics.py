"""Prometheus metrics: every name and label in one place. Labels are bounded: accounts, links and fixed words only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry(auto_describe=True)

events = Counter(
    "syncd_events",
    "Events taken, by way (webhook, poll) and outcome (done, ignored, waiting, failed, duplicate)",
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
polls = Counter("syncd_polls", "Polls, by result (ok, error)", ["account", "result"], registry=registry)
poll_found = Counter(
    "syncd_poll_found", "Events that a poll brought before any webhook did", ["account"], registry=registry
)
requests_in_hand = Gauge("syncd_webhooks_in_hand", "Webhooks being answered now", registry=registry)
requests_limit = Gauge("syncd_webhooks_limit", "server.max_concurrent", registry=registry)
account_up = Gauge("syncd_account_up", "1 while the account can send, else 0", ["account"], registry=registry)
lanes_active = Gauge("syncd_lanes_active", "Lanes in the hands of the senders", ["account"], registry=registry)
backlog = Gauge("syncd_deliveries", "Deliveries not settled, by state", ["state"], registry=registry)
oldest = Gauge("syncd_oldest_delivery_seconds", "Age of the oldest delivery that is ready", registry=registry)


class CommitObserver:
    """Counts the store's commits."""

    def committed(self, units: int, seconds: float) -> None:
        """So many units were committed in so many seconds."""
        commit_seconds.observe(seconds)
        commit_units.inc(units)
