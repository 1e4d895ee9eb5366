//! Who a record is: a run and a sequence number in, the ids that carry them through the gateway out.
//!
//! Every record must be recognised in the stores, yet look like telemetry, since a column of counting numbers
//! compresses and sorts better than any real one. So the number hides in fields that real senders fill as well:
//!
//! | signal | run | sequence number |
//! |---|---|---|
//! | logs, traces | first 4 bytes of the trace id | span id, scattered by [`scatter`] |
//! | metrics | label `run` | the value |
//!
//! Eight records next to each other share a trace: its id is made of the number of the first one.

/// The first sequence number of every run: all numbers of a run have 13 decimal digits, so that a placeholder of
/// that width can be overwritten in place, and all fit a double exactly.
pub const FIRST_SEQUENCE: u64 = 1_000_000_000_000;

/// Records that share a trace.
pub const RECORDS_PER_TRACE: u64 = 8;

/// Odd, so that multiplying by it is a bijection of 64-bit numbers; 2^64 divided by the golden ratio.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The inverse of [`SCATTER`] modulo 2^64; the audit undoes the scattering in SQL with it.
pub const GATHER: u64 = 0xf1de_83e1_9937_733d;

/// Names one run of one workload among all that ever wrote to the same tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunId(u32);

impl RunId {
    /// The run with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// A run that no other has the number of, but for one chance in four thousand million.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Eight lower-case hex digits: the label `run`, and what the trace ids begin with.
    pub fn hex(self) -> String {
        format!("{:08x}", self.0)
    }
}

/// Spreads neighbouring numbers over all 64-bit numbers, one to one.
pub fn scatter(sequence: u64) -> u64 {
    sequence.wrapping_mul(SCATTER)
}

/// The number that [`scatter`] made this of.
pub fn gather(scattered: u64) -> u64 {
    scattered.wrapping_mul(GATHER)
}

/// The span id of a record, in network byte order.
pub fn span_id(sequence: u64) -> [u8; 8] {
    scatter(sequence).to_be_bytes()
}

/// The trace id of the records whose first one has this number.
pub fn trace_id(run: RunId, first: u64) -> [u8; 16] {
    // Twelve bytes that look random, as those of a real trace id do, and differ from the span id of its first record.
    let high = scatter(scatter(first) ^ (first << 20));
    let mut id = [0; 16];
    id[..4].copy_from_slice(&run.0.to_be_bytes());
    id[4..8].copy_from_slice(&high.to_be_bytes()[..4]);
    id[8..].copy_from_slice(&scatter(first ^ high).to_be_bytes());
    id
}

/// How long the span at this place in its request took, in nanoseconds: between 50 us and 10 ms.
pub fn duration_nanos(position: u64) -> u64 {
    50_000 + (position * 7_919 % 1_000) * 10_000
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn gathering_undoes_scattering() {
        assert_eq!(SCATTER.wrapping_mul(GATHER), 1);
        for sequence in [0, 1, FIRST_SEQUENCE, FIRST_SEQUENCE + 12_345, u64::MAX] {
            assert_eq!(gather(scatter(sequence)), sequence);
        }
    }

    #[test]
    fn ids_differ_and_name_their_run() {
        let run = RunId::new(0x0a1b_2c3d);
        let mut spans = HashSet::new();
        let mut traces = HashSet::new();
        for sequence in FIRST_SEQUENCE..FIRST_SEQUENCE + 20_000 {
            assert!(spans.insert(span_id(sequence)));
            let trace = trace_id(run, sequence);
            assert_eq!(trace[..4], [0x0a, 0x1b, 0x2c, 0x3d]);
            assert!(traces.insert(trace));
        }
        assert_eq!(run.hex(), "0a1b2c3d");
    }

    #[test]
    fn sequence_numbers_fit_a_double_and_13_digits() {
        let last = 9_999_999_999_999_u64;
        assert_eq!(FIRST_SEQUENCE.to_string().len(), last.to_string().len());
        assert!(last < 1 << 53);
    }
}
