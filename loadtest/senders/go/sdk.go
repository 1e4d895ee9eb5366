package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// exporters of one transport.
type exporters struct {
	traces  sdktrace.SpanExporter
	metrics sdkmetric.Exporter
	logs    sdklog.Exporter
	err     error
}

func overGrpc(endpoint string) exporters {
	ctx := context.Background()
	traces, err1 := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure())
	metrics, err2 := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(endpoint), otlpmetricgrpc.WithInsecure())
	logs, err3 := otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(endpoint), otlploggrpc.WithInsecure())
	return exporters{traces, metrics, logs, errors.Join(err1, err2, err3)}
}

func overHTTP(endpoint string) exporters {
	ctx := context.Background()
	traces, err1 := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(endpoint), otlptracehttp.WithInsecure())
	metrics, err2 := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(endpoint), otlpmetrichttp.WithInsecure())
	logs, err3 := otlploghttp.New(ctx, otlploghttp.WithEndpoint(endpoint), otlploghttp.WithInsecure())
	return exporters{traces, metrics, logs, errors.Join(err1, err2, err3)}
}

// emit sends count spans, log records and points of a counter, each with its number.
func emit(ctx context.Context, to exporters, service string, count int) error {
	if to.err != nil {
		return to.err
	}
	of := resource.NewSchemaless(attribute.String("service.name", service))
	traces := sdktrace.NewTracerProvider(
		sdktrace.WithResource(of), sdktrace.WithBatcher(to.traces, sdktrace.WithMaxQueueSize(4*count)))
	metrics := sdkmetric.NewMeterProvider(
		sdkmetric.WithResource(of), sdkmetric.WithCardinalityLimit(0), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(to.metrics, sdkmetric.WithInterval(time.Hour))))
	logs := sdklog.NewLoggerProvider(
		sdklog.WithResource(of), sdklog.WithProcessor(sdklog.NewBatchProcessor(to.logs, sdklog.WithMaxQueueSize(4*count))))
	tracer, logger := traces.Tracer("senders"), logs.Logger("senders")
	counter, err := metrics.Meter("senders").Int64Counter("numbers")
	if err != nil {
		return err
	}
	for number := range count {
		_, span := tracer.Start(ctx, "step", trace.WithAttributes(attribute.Int("number", number)))
		var record otellog.Record
		record.SetTimestamp(time.Now())
		record.SetSeverity(otellog.SeverityInfo)
		record.SetBody(attribute.StringValue(fmt.Sprintf("number %d", number)))
		record.AddAttributes(attribute.Int("number", number))
		logger.Emit(ctx, record)
		counter.Add(ctx, int64(number), metric.WithAttributes(attribute.Int("number", number)))
		span.End()
	}
	return errors.Join(traces.Shutdown(ctx), metrics.Shutdown(ctx), logs.Shutdown(ctx))
}
