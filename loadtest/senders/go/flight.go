package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const rowsPerBatch = 1000

// putBatches puts count log lines, each with its number, and reads the acknowledgements to their end.
func putBatches(ctx context.Context, endpoint, app string, count int) error {
	client, err := flight.NewClientWithMiddleware(
		endpoint, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.DoPut(ctx)
	if err != nil {
		return err
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
		{Name: "app", Type: arrow.BinaryTypes.String},
		{Name: "message", Type: arrow.BinaryTypes.String},
	}, nil)
	writer := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
	writer.SetFlightDescriptor(&flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{"logs_events"}})
	now := arrow.Timestamp(time.Now().UnixNano())
	for first := 0; first < count; first += rowsPerBatch {
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for number := first; number < min(first+rowsPerBatch, count); number++ {
			builder.Field(0).(*array.TimestampBuilder).Append(now)
			builder.Field(1).(*array.StringBuilder).Append(app)
			builder.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("number %d", number))
		}
		batch := builder.NewRecordBatch()
		err := writer.Write(batch)
		batch.Release()
		builder.Release()
		if err != nil {
			return err
		}
	}
	if err := errors.Join(writer.Close(), stream.CloseSend()); err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
