//! The process as the kernel sees it, read from `/proc`: the metrics that Prometheus calls `process_*`. Where there is
//! no `/proc`, there are none of them.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Ticks in a second of the times in `/proc`: what Linux shows to programs on all machines that we run on, whatever its
/// own clock does. Asking (`sysconf`) would take `unsafe`.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is known of the process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// Seconds of processor time, user and system.
    pub cpu_seconds: f64,
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Most file descriptors; none without a limit.
    pub max_files: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// When it started, in seconds since 1970.
    pub start_seconds: f64,
}

impl Process {
    /// This process now; none where `/proc` cannot be read.
    pub fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let process = Self::parse(&stat, &status, &limits, &system)?;
        // One of them is the folder being read.
        Some(Self { open_files: open_files.saturating_sub(1), ..process })
    }

    /// The fields as proc(5) numbers them, from the texts of the four files.
    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Option<Self> {
        // The second field is the program's name in brackets, and may hold spaces and brackets.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Field 3 is the first of these.
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
        let status_bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
                .map(|kib| kib * 1024)
        };
        let max_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let booted =
            system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            resident_bytes: status_bytes("VmRSS")?,
            virtual_bytes: status_bytes("VmSize")?,
            open_files: 0,
            max_files: max_files.and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
            threads: fields.get(20 - 3)?.parse().ok()?,
            start_seconds: booted + field(22)? / TICKS_PER_SECOND,
        })
    }

    /// Adds these values under the names that Prometheus's own client libraries give them.
    pub(super) fn register(self, registry: &mut Registry) {
        let gauge = |value: u64| {
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(value);
            gauge
        };
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(self.cpu_seconds);
        let start = Gauge::<f64, AtomicU64>::default();
        start.set(self.start_seconds);
        registry.register("process_cpu_seconds", "Processor time, user and system", cpu);
        registry.register("process_resident_memory_bytes", "Bytes in memory", gauge(self.resident_bytes));
        registry.register(
            "process_virtual_memory_bytes",
            "Bytes of address space",
            gauge(self.virtual_bytes),
        );
        registry.register("process_open_fds", "Open file descriptors", gauge(self.open_files));
        if let Some(most) = self.max_files {
            registry.register("process_max_fds", "Most file descriptors", gauge(most));
        }
        registry.register("process_threads", "Threads", gauge(self.threads));
        registry.register(
            "process_start_time_seconds",
            "When the process started, seconds since 1970",
            start,
        );
    }
}

/// The most memory that this process may use: the smallest limit of the control groups that it is in, or the memory of
/// the machine. None where `/proc` cannot be read.
pub(super) fn memory_limit() -> Option<u64> {
    let machine = memory_of_machine(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |file: String| fs::read_to_string(file).ok()?.trim().parse().ok();
    memory_limit_files(&groups).into_iter().filter_map(limit).chain([machine]).min()
}

fn memory_of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The files with the limits of the groups that `/proc/self/cgroup` names and of all that these are in, for both
/// versions of control groups: cgroups(7).
fn memory_limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            version_1 if version_1.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = group.trim_end_matches('/');
        let outer = group.match_indices('/').filter_map(|(at, _)| group.get(..at));
        files.extend(outer.chain([group]).map(|group| format!("{root}{group}/{file}")));
    }
    files
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 1000 5 6";
        let status = "Name:\tx\nVmSize:\t  200 kB\nVmRSS:\t  100 kB\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        let process = Process::parse(stat, status, limits, "cpu 1\nbtime 5000\n").unwrap();
        assert_eq!(
            process,
            Process {
                cpu_seconds: 2.0,
                resident_bytes: 100 * 1024,
                virtual_bytes: 200 * 1024,
                open_files: 0,
                max_files: Some(1024),
                threads: 9,
                start_seconds: 5010.0,
            }
        );
        assert_eq!(Process::parse("", status, limits, ""), None);
    }

    #[test]
    fn the_memory_limit_is_that_of_the_group_or_of_the_machine() {
        assert_eq!(memory_of_machine("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2_097_152));
        assert_eq!(
            memory_limit_files("7:cpu,memory:/a\n3:name=x:/y\n0::/b/c\n"),
            [
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/b/memory.max",
                "/sys/fs/cgroup/b/c/memory.max",
            ]
        );
        assert_eq!(memory_limit_files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert!(memory_limit().unwrap() > 1_000_000);
    }

    #[test]
    fn this_process_is_alive_and_young() {
        let process = Process::now().unwrap();
        assert!(process.resident_bytes > 1_000_000 && process.resident_bytes < process.virtual_bytes);
        assert!(process.open_files >= 3 && process.threads >= 2);
        let started = UNIX_EPOCH + Duration::from_secs_f64(process.start_seconds);
        let age = SystemTime::now().duration_since(started).unwrap_or_default();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
