"""Vector's internal metrics without a Vector: the text that its `prometheus_exporter` gives for vector/agent.yaml.

Names, tags and types as in Vector 0.58 (lib/vector-common/src/internal_event/metric_name.rs, src/sources/internal_metrics.rs,
src/sinks/prometheus/exporter.rs): namespace `vector`, tags `component_id`, `component_kind`, `component_type` and `host`.
The numbers are made up and grow with the time that it claims to run.
"""

from __future__ import annotations

SOURCES = {"machine_journal": "journald", "machine_files": "file", "machine_metrics": "host_metrics"}
TRANSFORMS = {"structured_logs": "remap", "by_kind": "route"}
SINKS = {"tidewell_logs": "http", "tidewell_metrics": "prometheus_remote_write", "tidewell_traces": "opentelemetry"}
BUCKETS = ("0.015625", "0.03125", "0.0625", "0.125", "+Inf")


def exposition(running_s: float, host: str) -> str:
    """What /metrics would say after running for so long."""
    lines: list[str] = []

    def metric(name: str, kind: str, series: list[tuple[dict[str, str], float]]) -> None:
        lines.append(f"# TYPE vector_{name} {kind}")
        for tags, value in series:
            text = ",".join(f'{key}="{tag}"' for key, tag in ({"host": host} | tags).items())
            lines.append(f"vector_{name}{{{text}}} {value}")

    events = int(running_s * 120)
    sources, transforms, sinks = (
        [{"component_id": name, "component_kind": kind, "component_type": of} for name, of in components.items()]
        for kind, components in (("source", SOURCES), ("transform", TRANSFORMS), ("sink", SINKS))
    )
    everything = sources + transforms + sinks
    metric("build_info", "gauge", [({"version": "0.58.0", "arch": "x86_64", "debug": "false", "revision": "1"}, 1)])
    metric("uptime_seconds", "gauge", [({}, running_s)])
    metric("started_total", "counter", [({}, 1)])
    metric("open_files", "gauge", [(sources[1], 7)])
    metric("component_received_events_total", "counter", [(tags, events) for tags in everything])
    metric("component_received_event_bytes_total", "counter", [(tags, events * 300) for tags in everything])
    metric("component_received_bytes_total", "counter", [(tags, events * 280) for tags in sources])
    metric("component_sent_events_total", "counter", [(tags, events) for tags in everything])
    metric("component_sent_event_bytes_total", "counter", [(tags, events * 300) for tags in everything])
    metric("component_sent_bytes_total", "counter", [(tags | {"protocol": "http"}, events * 60) for tags in sinks])
    metric(
        "component_discarded_events_total",
        "counter",
        [(transforms[1] | {"intentional": "true"}, events // 50), (sinks[0] | {"intentional": "false"}, 0)],
    )
    error = {"error_type": "request_failed", "stage": "sending"}
    metric("component_errors_total", "counter", [(tags | error, events // 5000) for tags in sinks])
    metric("utilization", "gauge", [(tags, 0.03) for tags in transforms + sinks])
    buffers = [tags | {"buffer_id": tags["component_id"], "stage": "0"} for tags in sinks]
    metric("buffer_max_size_bytes", "gauge", [(tags, 1_073_741_824) for tags in buffers])
    metric("buffer_size_events", "gauge", [(tags, 40) for tags in buffers])
    metric("buffer_size_bytes", "gauge", [(tags, 12_000) for tags in buffers])
    metric("buffer_received_events_total", "counter", [(tags, events) for tags in buffers])
    metric("buffer_sent_events_total", "counter", [(tags, events - 40) for tags in buffers])
    metric("buffer_discarded_events_total", "counter", [(tags | {"intentional": "false"}, 0) for tags in buffers])
    requests = max(events // 500, 1)
    metric("http_client_requests_sent_total", "counter", [(tags | {"method": "POST"}, requests) for tags in sinks])
    metric("http_client_responses_total", "counter", [(tags | {"status": "200"}, requests) for tags in sinks])
    lines.append("# TYPE vector_http_client_response_rtt_seconds histogram")
    for tags in sinks:
        text = ",".join(f'{key}="{tag}"' for key, tag in ({"host": host, "status": "200"} | tags).items())
        for place, upper in enumerate(BUCKETS, 1):
            counted = requests * place // len(BUCKETS)
            lines.append(f'vector_http_client_response_rtt_seconds_bucket{{{text},le="{upper}"}} {counted}')
        lines.append(f"vector_http_client_response_rtt_seconds_sum{{{text}}} {requests * 0.02}")
        lines.append(f"vector_http_client_response_rtt_seconds_count{{{text}}} {requests}")
    return "\n".join(lines) + "\n"
