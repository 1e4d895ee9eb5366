// Senders in Go: the OpenTelemetry SDK over gRPC and over HTTP, and a Flight client. Usage:
//
//	senders sdk-grpc|sdk-http GRPC HTTP SERVICE COUNT
//	senders flight GRPC APP COUNT
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
)

func main() {
	if len(os.Args) < 5 {
		log.Fatal("usage: senders sdk-grpc|sdk-http GRPC HTTP SERVICE COUNT, or senders flight GRPC APP COUNT")
	}
	count, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	switch os.Args[1] {
	case "flight":
		err = putBatches(ctx, os.Args[2], os.Args[3], count)
	case "sdk-grpc":
		err = emit(ctx, overGrpc(os.Args[2]), os.Args[4], count)
	case "sdk-http":
		err = emit(ctx, overHTTP(os.Args[3]), os.Args[4], count)
	default:
		err = fmt.Errorf("%q is no sender", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
