// The OpenTelemetry SDK for Node.js: spans, log records and points of a counter, each with its number.
// Arguments: grpc, proto or json, then the gRPC address, the HTTP address, the service and the count.

import { SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetrics } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

const [transport, grpc, http, service, text] = process.argv.slice(2);
const count = Number(text);
const exporters = {
  grpc: [GrpcTraces, GrpcMetrics, GrpcLogs],
  proto: [ProtoTraces, ProtoMetrics, ProtoLogs],
  json: [JsonTraces, JsonMetrics, JsonLogs],
}[transport];
const [traceExporter, metricExporter, logExporter] = exporters.map((Exporter, at) =>
  new Exporter({ url: transport === 'grpc' ? `http://${grpc}` : `http://${http}/v1/${['traces', 'metrics', 'logs'][at]}` }));

const resource = resourceFromAttributes({ 'service.name': service });
const queue = { maxQueueSize: 4 * count };
const traces = new TracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor({ exporter: traceExporter, ...queue })],
});
const reader = new PeriodicExportingMetricReader({
  exporter: metricExporter,
  exportIntervalMillis: 3_600_000,
  cardinalityLimits: { default: 4 * count },
});
const metrics = new MeterProvider({ resource, readers: [reader] });
const logs = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: logExporter, ...queue })],
});

const tracer = traces.getTracer('senders');
const logger = logs.getLogger('senders');
const counter = metrics.getMeter('senders').createCounter('numbers');
for (let number = 0; number < count; number++) {
  const span = tracer.startSpan('step', { attributes: { number } });
  logger.emit({ severityNumber: SeverityNumber.INFO, body: `number ${number}`, attributes: { number } });
  counter.add(number, { number });
  span.end();
}
for (const provider of [traces, metrics, logs]) await provider.shutdown();
