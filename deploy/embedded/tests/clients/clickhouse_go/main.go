// Holds the ClickHouse server of tidewell-embedded to what clickhouse-go expects over HTTP.
//
// Usage: go run . HOST:PORT. Uses a database of its own.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

type event struct {
	ID     uint64            `ch:"id"`
	Name   string            `ch:"name"`
	Labels map[string]string `ch:"labels"`
	Time   time.Time         `ch:"time"`
	Value  *float64          `ch:"value"`
	List   []int32           `ch:"list"`
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func run(compression clickhouse.CompressionMethod) {
	ctx := context.Background()
	client, err := clickhouse.Open(&clickhouse.Options{
		Addr:        []string{os.Args[1]},
		Protocol:    clickhouse.HTTP,
		Compression: &clickhouse.Compression{Method: compression},
	})
	must(err)
	must(client.Ping(ctx))
	database := fmt.Sprintf("go_%d", time.Now().UnixNano())
	must(client.Exec(ctx, "CREATE DATABASE "+database))
	defer func() { must(client.Exec(ctx, "DROP DATABASE "+database+" SYNC")) }()
	must(client.Exec(ctx, "CREATE TABLE "+database+`.t (id UInt64, name LowCardinality(String),
		labels Map(LowCardinality(String), String), time DateTime64(9, 'UTC'), value Nullable(Float64),
		list Array(Int32)) ENGINE = MergeTree ORDER BY id`))
	batch, err := client.PrepareBatch(ctx, "INSERT INTO "+database+".t")
	must(err)
	var sent []event
	for n := range 10_000 {
		value := float64(n) / 2
		one := event{uint64(n), fmt.Sprint("s", n%3), map[string]string{"k": fmt.Sprint(n)},
			time.Unix(1_700_000_000, 123_456_789).UTC(), &value, []int32{int32(n)}}
		sent = append(sent, one)
		must(batch.AppendStruct(&one))
	}
	must(batch.Send())
	var received []event
	must(client.Select(ctx, &received, "SELECT * FROM "+database+".t ORDER BY id"))
	if !reflect.DeepEqual(sent, received) {
		log.Fatal("what was read is not what was sent")
	}
	var count uint64
	must(client.QueryRow(ctx, "SELECT count() FROM "+database+".t WHERE id < {limit:UInt32}",
		clickhouse.Named("limit", 10)).Scan(&count))
	if count != 10 {
		log.Fatalf("a parameter did not reach the query: %d", count)
	}
	err = client.QueryRow(ctx, "SELECT nosuch").Scan(&count)
	if err == nil || !strings.Contains(err.Error(), "UNKNOWN_IDENTIFIER") {
		log.Fatalf("an unknown column: %v", err)
	}
	fmt.Printf("compression %v: ok\n", compression)
}

func main() {
	for _, compression := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP,
	} {
		run(compression)
	}
}
