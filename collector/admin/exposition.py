"""The text that Prometheus scrapes. Imported at the first scrape: until then nothing pays for it."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from collector.core.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from collector.admin.families import Family
    from collector.admin.readings import Reading


def expose(readings: Iterable[Reading], families: Iterable[Family], labels: Mapping[str, str]) -> bytes:
    """Put readings, and what the kernel says of the process, into Prometheus' text format.

    Args:
        readings: in any order.
        families: those to be shown; one without a reading still has its HELP.
        labels: put on every sample.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(readings, families, labels))
    return generate_latest(registry)


class _Once(Collector):
    """Gives the readings of one scrape."""

    def __init__(
        self, readings: Iterable[Reading], families: Iterable[Family], labels: Mapping[str, str]
    ) -> None:
        self._readings = readings
        self._families = families
        self._labels = dict(labels)

    def collect(self) -> Iterator[Metric]:
        metrics = {family: Metric(family.name, family.help, family.kind) for family in self._families}
        for family, values, value in self._readings:
            labels = dict(zip(family.labels, values, strict=True)) | self._labels
            metric = metrics[family]
            if isinstance(value, Histogram):
                _add_histogram(metric, labels, value)
            else:
                metric.add_sample(family.shown, labels, value)
        yield from metrics.values()
        for metric in ProcessCollector(registry=None).collect():
            for index, sample in enumerate(metric.samples):
                metric.samples[index] = sample._replace(labels={**sample.labels, **self._labels})
            yield metric


def _add_histogram(metric: Metric, labels: dict[str, str], histogram: Histogram) -> None:
    count = 0
    for bound, count in histogram.cumulative():
        metric.add_sample(
            f"{metric.name}_bucket", {**labels, "le": "+Inf" if isinf(bound) else str(float(bound))}, count
        )
    metric.add_sample(f"{metric.name}_sum", labels, histogram.total)
    metric.add_sample(f"{metric.name}_count", labels, count)
