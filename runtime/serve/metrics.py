"""Counters of a server in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_NEXT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_WHOLE = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)

# Of the batcher's counters: the key, the metric and what it says.
_GAUGES = (
    ("running", "smelt_requests_running", "Requests that have a row."),
    ("waiting", "smelt_requests_waiting", "Requests that wait for a row."),
)
_TOTALS = (("reused_tokens", "smelt_prefix_reused_tokens", "Prompt tokens taken from the cache."),)


class ServerMetrics:
    """One server's registry; ``stats`` is asked when somebody reads."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, stats: Callable[[], Mapping[str, Any]]) -> None:
        self._registry = own = CollectorRegistry()
        self.requests = Counter(
            "smelt_requests", "Requests by route and status.", ["route", "status"], registry=own
        )
        self.seconds = Histogram(
            "smelt_request_seconds", "Whole requests.", ["route"], buckets=_WHOLE, registry=own
        )
        self.prompt = Counter("smelt_prompt_tokens", "Tokens of prompts and texts.", registry=own)
        self.generated = Counter("smelt_generated_tokens", "Tokens generated.", registry=own)
        self.finished = Counter(
            "smelt_finished", "Ends of generation by reason.", ["reason"], registry=own
        )
        self.first_token = Histogram(
            "smelt_time_to_first_token_seconds",
            "From the queue to the first token.",
            buckets=_FIRST,
            registry=own,
        )
        self.next_token = Histogram(
            "smelt_time_per_token_seconds",
            "Between a token of a request and its next.",
            buckets=_NEXT,
            registry=own,
        )
        own.register(_Stats(stats))
        ProcessCollector(registry=own)

    def text(self) -> bytes:
        """The page that is scraped."""
        return generate_latest(self._registry)


class _Stats(Collector):
    """The batcher's own counters, read at each scrape."""

    def __init__(self, stats: Callable[[], Mapping[str, Any]]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        found = self._stats()
        for key, name, told in _GAUGES:
            if key in found:
                yield GaugeMetricFamily(name, told, value=found[key])
        for key, name, told in _TOTALS:
            if key in found:
                yield CounterMetricFamily(name, told, value=found[key])
