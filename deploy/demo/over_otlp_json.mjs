// OTLP/HTTP JSON: spans, metrics and logs that the OpenTelemetry SDK for Node.js emits while it looks at the
// processes of this machine. Arguments: HTTP address, run id. Prints one JSON line with the counts.

import { readFile, readdir } from 'node:fs/promises';
import os from 'node:os';

import { SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { TracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace';

const [address, run] = process.argv.slice(2);
const counts = { sent: 0, accepted: 0 };

// The exporter itself, with its `export` counting what it carried and what was acknowledged.
function counting(exporter, size) {
  const send = exporter.export.bind(exporter);
  exporter.export = (batch, done) =>
    send(batch, (result) => {
      counts.sent += size(batch);
      if (result.code === 0) counts.accepted += size(batch);
      else console.error(`export failed: ${result.error?.message}`);
      done(result);
    });
  return exporter;
}

const points = (data) =>
  data.scopeMetrics.flatMap((scope) => scope.metrics).reduce((sum, metric) => sum + metric.dataPoints.length, 0);

const url = (signal) => ({ url: `http://${address}/v1/${signal}` });
const resource = resourceFromAttributes({
  'service.name': 'tidewell-demo-node',
  'host.name': os.hostname(),
  demo_run: run,
  demo_protocol: 'otlp_http_json',
});
const traces = new TracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor({ exporter: counting(new OTLPTraceExporter(url('traces')), (batch) => batch.length) })],
});
const metrics = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: counting(new OTLPMetricExporter(url('metrics')), points) })],
});
const logs = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: counting(new OTLPLogExporter(url('logs')), (batch) => batch.length) })],
});

const tracer = traces.getTracer('tidewell.demo');
const logger = logs.getLogger('tidewell.demo');
const meter = metrics.getMeter('tidewell.demo');
const resident = meter.createGauge('process.memory.usage', { unit: 'By', description: 'resident memory of a process' });
const looked = meter.createCounter('demo.processes.read', { unit: '{process}' });

const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
for (const pid of processes) {
  const span = tracer.startSpan('read process', { attributes: { 'process.pid': Number(pid) } });
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const name = /^Name:\s+(.*)$/m.exec(status)?.[1] ?? '';
    const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    const attributes = { 'process.pid': Number(pid), 'process.executable.name': name };
    resident.record(kilobytes * 1024, attributes);
    looked.add(1);
    logger.emit({
      severityNumber: SeverityNumber.INFO,
      severityText: 'INFO',
      body: { process: name, resident_kilobytes: kilobytes },
      attributes,
    });
  } catch (error) {
    span.recordException(error); // the process has ended since
  } finally {
    span.end();
  }
}

await traces.shutdown();
await metrics.shutdown();
await logs.shutdown();
console.log(JSON.stringify(counts));
