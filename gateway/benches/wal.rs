//! The write-ahead log: time per row of encoding, appending and reading back, with and without compression.
//!
//! `cargo bench -p tidewell-gateway --bench wal [-- DIRECTORY]` writes up to 2 GiB below the directory, or below the
//! target directory, and removes it. Rows are log records of about 300 bytes with varied content. CPU is that of the
//! whole process, in the kernel as well.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark prints its result and ends at the first surprise"
)]

use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewell_gateway::decode::{DecodeContext, DecodeLimits, TableBuilder};
use tidewell_gateway::registry::{Snapshot, TableBatch, TableDef, Tenant, builtin};
use tidewell_gateway::wal::entry::{Compression, RequestEntry};
use tidewell_gateway::wal::{Definitions, Entry, LocalDisk, Log, LogOptions, Position};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: i64 = 1_700_000_000_000_000_000;
const RUNS: usize = 15;
/// Bytes that one run of appending writes.
const RUN_BYTES: u64 = 256 << 20;

fn main() {
    // Cargo passes --bench along.
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let parent = given.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = parent.join(format!("wal-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();

    for bytes in [64 << 10, 1 << 20] {
        probe(&directory, bytes);
    }
    let table = Arc::new(
        builtin::tables(&Tenant::default())
            .unwrap()
            .into_iter()
            .find(|table| table.name().as_str() == builtin::LOGS_EVENTS)
            .unwrap(),
    );
    let definitions = Definitions::new(Arc::new(LocalDisk), &directory.join("definitions"));
    for (name, compression) in [("none", Compression::None), ("lz4", Compression::Lz4)] {
        for rows in [100, 8000] {
            codec(name, compression, &definitions, &table, rows);
        }
    }
    for (name, compression) in [("none", Compression::None), ("lz4", Compression::Lz4)] {
        for (rows, callers) in [(1000, 1), (1000, 16), (8000, 8)] {
            let log = directory.join("log");
            let entry = request(batch(&table, rows));
            runtime.block_on(append(name, compression, &log, &definitions, &entry, rows, callers));
            std::fs::remove_dir_all(&log).unwrap();
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A bare `fdatasync` of this many bytes at the end of a file: what an acknowledgement cannot beat.
fn probe(directory: &Path, bytes: usize) {
    let path = directory.join("probe");
    let mut file = std::fs::File::create(&path).unwrap();
    let block = vec![7; bytes];
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&block).unwrap();
        let started = Instant::now();
        file.sync_data().unwrap();
        times.push(started.elapsed());
    }
    println!("fdatasync of {:5} KiB           {}", bytes >> 10, percentiles(&mut times));
    std::fs::remove_file(path).unwrap();
}

fn codec(
    name: &str,
    compression: Compression,
    definitions: &Definitions,
    table: &Arc<TableDef>,
    rows: usize,
) {
    let entry = Entry::Request(request(batch(table, rows)));
    let mut body = Vec::new();
    let encode = best(|| body = entry.encode(definitions, compression).unwrap());
    let checksum = best(|| {
        let mut hasher = crc32fast::Hasher::new();
        body.iter().for_each(|piece| hasher.update(piece));
        hasher.finalize()
    });
    let body = Bytes::from(body.concat());
    let decode = best(|| Entry::decode(Entry::REQUEST, &body, definitions).unwrap());
    let per_row = |time: Duration| time.as_nanos() as f64 / rows as f64;
    println!(
        "{name:4} {rows:5} rows a batch: {:4} bytes a row; encode {:5.1} ns, checksum {:4.1} ns, decode {:5.1} ns a row",
        body.len() / rows,
        per_row(encode),
        per_row(checksum),
        per_row(decode),
    );
}

/// Callers that append one request after the other, each waiting for its acknowledgement, and then a reader.
async fn append(
    name: &str,
    compression: Compression,
    directory: &Path,
    definitions: &Definitions,
    entry: &RequestEntry,
    rows: usize,
    callers: usize,
) {
    let options = LogOptions {
        segment_bytes: 64 << 20,
        max_bytes: 4 << 30,
        retain_age: Duration::from_secs(600),
        retain_bytes: 4 << 30,
        recent_bytes: 0,
    };
    let (log, _) = Log::<()>::open(Arc::new(LocalDisk), directory, "bench", options).unwrap();
    let entry = Entry::Request(entry.clone());
    let size: u64 =
        entry.encode(definitions, compression).unwrap().iter().map(|piece| piece.len() as u64).sum();
    let frames = (RUN_BYTES / size).max(callers as u64);
    let (cpu, started) = (cpu_time(), Instant::now());
    let runs = (0..callers).map(|_| async {
        let mut times = Vec::new();
        for _ in 0..frames / callers as u64 {
            let begun = Instant::now();
            let body = entry.encode(definitions, compression).unwrap();
            log.append(entry.kind(), body, None).await.unwrap();
            times.push(begun.elapsed());
        }
        times
    });
    let mut times = futures::future::join_all(runs).await.concat();
    let (cpu, took) = (cpu_time() - cpu, started.elapsed());
    let total_rows = times.len() * rows;
    let megabytes = times.len() as f64 * size as f64 / 1e6;
    println!(
        "{name:4} {rows:5} rows a request, {callers:2} callers: {:4.0} k rows/s, {:4.0} MB/s, {:4.0} ns CPU a row, \
         {:.1} frames a sync; acknowledged {}",
        total_rows as f64 / took.as_secs_f64() / 1e3,
        megabytes / took.as_secs_f64(),
        cpu.as_nanos() as f64 / total_rows as f64,
        times.len() as f64 / log.status().syncs as f64,
        percentiles(&mut times),
    );
    let (cpu, started) = (cpu_time(), Instant::now());
    let mut reader = log.reader(Position(1));
    while let Some(frame) = reader.next().unwrap() {
        black_box(Entry::decode(frame.kind, &frame.body, definitions).unwrap());
    }
    println!(
        "     read back: {:4.0} k rows/s, {:4.0} MB/s, {:4.0} ns CPU a row",
        total_rows as f64 / started.elapsed().as_secs_f64() / 1e3,
        megabytes / started.elapsed().as_secs_f64(),
        (cpu_time() - cpu).as_nanos() as f64 / total_rows as f64
    );
    log.close().await;
}

fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    let once = |run: &mut dyn FnMut() -> T| {
        let started = Instant::now();
        black_box(run());
        started.elapsed()
    };
    (0..RUNS).map(|_| once(&mut run)).min().unwrap()
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}

/// Time that this process spent on all processors, its own and the kernel's.
fn cpu_time() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.cast_unsigned(), usage.tv_nsec as u32)
}

fn request(batch: TableBatch) -> RequestEntry {
    RequestEntry {
        tenant: Tenant::default(),
        protocol: "otlp_grpc".to_owned(),
        caller: "anonymous".to_owned(),
        records: 1,
        key: None,
        batches: vec![batch],
    }
}

/// Log records whose texts vary as those of a busy service do.
fn batch(table: &Arc<TableDef>, rows: usize) -> TableBatch {
    const WORDS: [&str; 12] = [
        "handled", "request", "for", "user", "order", "failed", "retrying", "after", "timeout", "cache",
        "miss", "checkout",
    ];
    let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits };
    let mut builder = TableBuilder::new(Arc::clone(table), &context);
    let mut seed = 42_u64;
    let mut random = move |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    let column = |name: &str| table.column_index(name).unwrap();
    let (body, labels) = (column("message"), table.label_column().unwrap());
    for row in 0..rows {
        builder.set_time(table.time_column().unwrap(), NOW - row as i64 * 1000).unwrap();
        let mut text = format!("{:016x}", random(u64::MAX));
        for _ in 0..6 {
            text += " ";
            text += WORDS[random(12) as usize];
        }
        text += &format!(" in {} us", random(90_000));
        builder.set_text(body, &text).unwrap();
        builder.set_int(column("severity_number"), 9).unwrap();
        builder.set_text(column("level"), "info").unwrap();
        builder.set_text(column("app"), ["checkout", "cart", "payment"][random(3) as usize]).unwrap();
        builder
            .set_text(column("trace_id"), &format!("{:016x}{:016x}", random(u64::MAX), random(u64::MAX)))
            .unwrap();
        let attributes = builder.attributes(labels).unwrap();
        attributes.push_str("http.route", &format!("/api/v1/items/{}", random(500)));
        attributes.push_str("net.peer.ip", &format!("10.0.{}.{}", random(16), random(256)));
        attributes.push_str("user.id", &format!("{:08x}", random(1 << 20)));
        attributes.push_int("http.status_code", if random(20) == 0 { 500 } else { 200 });
        attributes.push_str("http.method", "GET");
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}
