//! Crashes: at every byte of a short history, and at random moments of long ones, against a model.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::simulated::{Chance, SimulatedDisk};
use super::*;

const DIRECTORY: &str = "/wal/test";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A log on a simulated disk, and what a correct one may and must hold.
struct Model {
    disk: SimulatedDisk,
    log: Arc<Log<()>>,
    options: LogOptions,
    /// Acknowledged frames, in order of their positions; the front ones go as they are evicted.
    acknowledged: VecDeque<(Position, u64)>,
    /// The number of every frame that was given to the log and refused or left without an answer.
    in_doubt: Vec<u64>,
    /// Where a frame that was in doubt was found, so that it stays there.
    settled: BTreeMap<u64, Position>,
    /// Frames that were evicted. A crash may bring them back, where they were.
    evicted: BTreeMap<u64, Position>,
    next_number: u64,
    /// The furthest release ever.
    released: Position,
    incarnation: u64,
}

impl Model {
    fn new(options: LogOptions) -> Self {
        let disk = SimulatedDisk::with_directory("/wal");
        let (log, _) = Self::open(&disk, options);
        let incarnation = log.incarnation();
        Self {
            disk,
            log,
            options,
            acknowledged: VecDeque::new(),
            in_doubt: Vec::new(),
            settled: BTreeMap::new(),
            evicted: BTreeMap::new(),
            next_number: 1,
            released: Position(0),
            incarnation,
        }
    }

    fn open(disk: &SimulatedDisk, options: LogOptions) -> (Arc<Log<()>>, crate::wal::Recovery) {
        Log::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test", options).unwrap()
    }

    /// Appends frames at the same time.
    async fn append(&mut self, sizes: &[usize]) -> usize {
        let first = self.next_number;
        self.next_number += sizes.len() as u64;
        let appends = (first..).zip(sizes).map(|(number, &bytes)| {
            let log = Arc::clone(&self.log);
            async move { (number, log.append(1, body(number, bytes), None).await) }
        });
        let mut refused = 0;
        let mut done = Vec::new();
        for (number, result) in futures::future::join_all(appends).await {
            match result {
                Ok(position) => done.push((position, number)),
                Err(_) => {
                    refused += 1;
                    self.in_doubt.push(number);
                }
            }
        }
        done.sort_unstable();
        self.acknowledged.extend(done);
        refused
    }

    fn append_lazily(&mut self, bytes: usize) {
        self.in_doubt.push(self.next_number);
        self.log.append_lazily(2, body(self.next_number, bytes), None);
        self.next_number += 1;
    }

    fn release(&mut self, share: u64) {
        if let Some(&(position, _)) =
            self.acknowledged.get(self.acknowledged.len() * usize::try_from(share).unwrap() / 8)
        {
            self.released = self.released.max(position);
            self.log.release(self.released);
        }
    }

    /// The machine loses power and starts again.
    fn crash(&mut self, seed: u64) {
        self.disk = self.disk.crash(seed);
        let (log, recovery) = Self::open(&self.disk, self.options);
        assert_eq!(log.incarnation(), self.incarnation);
        assert!(recovery.quarantined.is_empty(), "{recovery:?}");
        self.log = log;
        self.check();
    }

    /// The gateway ends in good order and starts again.
    async fn restart(&mut self) {
        self.log.close().await;
        let (log, recovery) = Self::open(&self.disk, self.options);
        assert_eq!(recovery.truncated_bytes, 0);
        assert!(recovery.quarantined.is_empty(), "{recovery:?}");
        self.log = log;
        self.check();
    }

    /// Everything acknowledged and not evicted is there, at its position, in order; nothing is there twice or was never
    /// sent.
    fn check(&mut self) {
        let mut frames = read_all(&mut self.log.reader(Position(0)));
        // Released segments may go while they are read.
        let oldest = self.log.oldest();
        frames.retain(|frame| frame.position >= oldest);
        while self.acknowledged.front().is_some_and(|(position, _)| *position < oldest) {
            let (position, number) = self.acknowledged.pop_front().unwrap();
            assert!(position < self.released, "frame {position} went before it was released");
            self.evicted.insert(number, position);
        }
        let gap = frames.windows(2).find(|pair| pair[0].position.next() != pair[1].position);
        assert!(
            gap.is_none(),
            "a gap behind {}: {:?} {:?}",
            gap.unwrap()[0].position,
            self.disk.names(Path::new(DIRECTORY)),
            self.log.status()
        );
        let mut found: BTreeMap<u64, Position> = BTreeMap::new();
        for (frame, number) in frames.iter().zip(numbers(&frames)) {
            assert_eq!(
                frame.body,
                body(number, frame.body.len() - 8).concat(),
                "frame {} is changed",
                frame.position
            );
            let earlier = found.insert(number, frame.position);
            assert_eq!(earlier, None, "frame {number} is there twice");
        }
        for (position, number) in &self.acknowledged {
            assert_eq!(found.remove(number), Some(*position), "acknowledged frame {number}");
        }
        for (number, position) in found {
            if let Some(&evicted) = self.evicted.get(&number) {
                assert_eq!(position, evicted, "evicted frame {number}");
                continue;
            }
            assert!(self.in_doubt.contains(&number), "frame {number} was never sent");
            let settled = *self.settled.entry(number).or_insert(position);
            assert_eq!(settled, position, "frame {number} has moved");
        }
        assert!(self.log.status().quarantined.is_empty());
    }
}

/// Three groups and a roll, cut off after every byte that is written; each cut with several outcomes of the crash.
#[test]
fn a_crash_at_every_byte_loses_nothing_acknowledged() {
    let runtime = runtime();
    let options = LogOptions { segment_bytes: 700, ..options() };
    let (mut bytes, mut acknowledged) = (0, 0);
    loop {
        for seed in 0..3 {
            let mut model = Model::new(options);
            model.disk.faults(|faults| faults.power = Some(bytes));
            runtime.block_on(async {
                model.append(&[40, 0, 17]).await;
                model.append(&[100]).await;
                model.append(&[300, 8]).await;
            });
            acknowledged += model.acknowledged.len();
            let survived = !model.disk.is_off();
            model.crash(seed * 1000 + bytes as u64);
            runtime.block_on(model.append(&[30, 30]));
            assert!(model.acknowledged.len() >= 2, "the log cannot be written after the crash");
            model.crash(seed);
            if survived {
                assert!(bytes > 1000 && acknowledged > 100, "{bytes} bytes, {acknowledged} acknowledged");
                return;
            }
        }
        bytes += 1;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Lazily(usize),
    Release(u64),
    Crash(u64),
    /// The power fails after so many written bytes.
    PowerFails(usize, u64),
    Restart,
    WritesFail(u32),
    SyncsFail(u32),
    DirectorySyncsFail(u32),
    ShortWrites(Option<usize>),
    DiskIsFull,
    DiskHasSpace,
    ReadOnly(bool),
    Hidden(bool),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(0..400_usize, 1..6).prop_map(Step::Append),
        2 => (0..100_usize).prop_map(Step::Lazily),
        2 => (0..8_u64).prop_map(Step::Release),
        2 => any::<u64>().prop_map(Step::Crash),
        2 => (0..2000_usize, any::<u64>()).prop_map(|(bytes, seed)| Step::PowerFails(bytes, seed)),
        1 => Just(Step::Restart),
        1 => (1..4_u32).prop_map(Step::WritesFail),
        1 => (1..4_u32).prop_map(Step::SyncsFail),
        1 => (1..4_u32).prop_map(Step::DirectorySyncsFail),
        1 => prop::option::of(1..64_usize).prop_map(Step::ShortWrites),
        1 => Just(Step::DiskIsFull),
        2 => Just(Step::DiskHasSpace),
        1 => any::<bool>().prop_map(Step::ReadOnly),
        1 => any::<bool>().prop_map(Step::Hidden),
        2 => Just(Step::Read),
    ]
}

async fn take(model: &mut Model, step: Step) {
    match step {
        Step::Append(sizes) => {
            model.append(&sizes).await;
        }
        Step::Lazily(bytes) => model.append_lazily(bytes),
        Step::Release(share) => model.release(share),
        Step::Crash(seed) => model.crash(seed),
        Step::PowerFails(bytes, seed) => {
            model.disk.faults(|faults| faults.power = Some(bytes));
            let mut chance = Chance::new(seed);
            for _ in 0..8 {
                model.append(&[usize::try_from(chance.below(500)).unwrap()]).await;
            }
            model.crash(seed);
        }
        Step::Restart => {
            // In good order is only what ends without faults.
            model.disk.faults(|faults| *faults = Default::default());
            heal(model).await;
            model.restart().await;
        }
        Step::WritesFail(count) => model.disk.faults(|faults| faults.writes = count),
        Step::SyncsFail(count) => model.disk.faults(|faults| faults.syncs = count),
        Step::DirectorySyncsFail(count) => model.disk.faults(|faults| faults.directory_syncs = count),
        Step::ShortWrites(most) => model.disk.faults(|faults| faults.short_writes = most),
        Step::DiskIsFull => model.disk.faults(|faults| faults.capacity = Some(0)),
        Step::DiskHasSpace => model.disk.faults(|faults| faults.capacity = None),
        Step::ReadOnly(yes) => model.disk.faults(|faults| faults.read_only = yes),
        Step::Hidden(yes) => model.disk.faults(|faults| faults.hidden = yes),
        Step::Read => {
            let hidden = std::cell::Cell::new(false);
            model.disk.faults(|faults| hidden.set(std::mem::take(&mut faults.hidden)));
            model.check();
            model.disk.faults(|faults| faults.hidden = hidden.get());
        }
    }
}

/// After all faults are gone, appends succeed again without a restart.
async fn heal(model: &mut Model) {
    for attempt in 0.. {
        if model.append(&[10]).await == 0 {
            return;
        }
        assert!(attempt < 500, "the log does not recover: {:?}", model.log.status());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// Whatever the disk does, in whatever order.
    #[test]
    fn acknowledged_frames_survive_everything(
        steps in prop::collection::vec(step(), 1..40), segment_bytes in 300..3000_u64, seed in any::<u64>(),
    ) {
        let options = LogOptions { segment_bytes, retain_bytes: 3 * segment_bytes, ..options() };
        let runtime = runtime();
        runtime.block_on(async {
            let mut model = Model::new(options);
            for step in steps {
                take(&mut model, step).await;
            }
            model.disk.faults(|faults| *faults = Default::default());
            heal(&mut model).await;
            model.check();
            model.crash(seed);
            heal(&mut model).await;
            model.restart().await;
        });
    }
}
