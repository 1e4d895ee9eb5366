//! PostgreSQL's settings for one machine that is shared with a second database, the gateway and its builds.

use std::fs;

use anyhow::{Context as _, Result};

const MIB: u64 = 1 << 20;

/// The `postgresql.conf` for a port and this much memory (bytes); `custom` is a further file to read at its end.
pub(super) fn render(port: u16, memory: u64, custom: Option<&str>) -> String {
    let include = custom.map(|file| format!("include '{file}'\n")).unwrap_or_default();
    // A twelfth of the memory, 2 GiB of 24: the operating system's cache and the other store need the rest.
    let shared_buffers = (memory / 12 / MIB).clamp(64, 2048);
    let cache = (memory / 3 / MIB).clamp(128, 8192);
    let maintenance = (memory / 96 / MIB).clamp(32, 256);
    format!(
        "\
# Written at each start: put settings of your own into custom.conf beside this file and restart.

# Plain TCP on the loopback interface only; without a password there, so with no other way in.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200

shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
# One worker per database with the extension: tests run many databases at once.
timescaledb.max_background_workers = 48
max_worker_processes = 64
max_parallel_workers = 2
max_parallel_workers_per_gather = 1
# A query over a hypertable locks every chunk it touches.
max_locks_per_transaction = 256

shared_buffers = {shared_buffers}MB
effective_cache_size = {cache}MB
maintenance_work_mem = {maintenance}MB
work_mem = 16MB

# Durable as in production. Checkpoints are rare, so that a steady stream of rows is not written twice.
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = lz4
min_wal_size = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1

timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
lc_messages = 'C.UTF-8'
default_text_search_config = 'pg_catalog.english'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off

{include}"
    )
}

/// Memory that this machine, or the container it is, has in bytes.
///
/// # Errors
/// When `/proc/meminfo` cannot be read.
pub(super) fn memory() -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let total = total_memory(&info).context("/proc/meminfo does not tell the memory's size")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    Ok(limit.trim().parse().map_or(total, |limit: u64| limit.min(total)))
}

fn total_memory(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_settings_follow_the_machine() {
        let large = render(15432, 24 << 30, None);
        assert!(large.contains("port = 15432\n") && large.contains("shared_buffers = 2048MB\n"), "{large}");
        let small = render(1, 1 << 30, Some("custom.conf"));
        assert!(small.contains("shared_buffers = 85MB\n"), "{small}");
        assert!(!large.contains("include") && small.ends_with("\ninclude 'custom.conf'\n"), "{small}");
    }

    #[test]
    fn reads_the_machines_memory() {
        assert_eq!(total_memory("MemTotal:       24110812 kB\nMemFree: 1 kB\n"), Some(24_110_812 << 10));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
        assert!(memory().unwrap() > MIB);
    }
}
