"""The engine's figures for Prometheus, in a registry of their own.

Knows counts, codes and durations; never a word of what was asked or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from engine.schema import StoryResult

PREFIX = "wordtale_engine"
SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)


class Metrics:
    """Counters and histograms of one engine; `gauges` is asked at each scrape."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            f"{PREFIX}_requests", "Requests by kind and outcome", ("kind", "outcome"), registry=self.registry
        )
        self._seconds = self._histogram("request_seconds", "From arrival to the end of the answer")
        self._queued = self._histogram("queued_seconds", "From arrival to the first decoding step")
        self._first_text = self._histogram("first_text_seconds", "From arrival to the first text")
        self._tokens = Counter(
            f"{PREFIX}_tokens", "Tokens generated over all candidates", registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_Gauges(gauges))

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, buckets=SECONDS, registry=self.registry)

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a request that ended: `outcome` is done, left, or an error code."""
        self._requests.labels(kind, outcome).inc()
        self._seconds.observe(seconds)

    def count_tokens(self, tokens: int) -> None:
        """Add generated tokens."""
        self._tokens.inc(tokens)

    def count_story(self, result: StoryResult) -> None:
        """Count what a finished story's timing says."""
        self.count_tokens(result.timing.tokens)
        self._queued.observe(result.timing.queued_ms / 1000)
        self._first_text.observe(result.timing.first_text_ms / 1000)

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", name.replace("_", " "), value=value)
