//! Two streams of rows as one, in order of time: each sorted in, both sorted out, no more than a batch of each held.

use arrow::array::AsArray as _;
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;
use futures::stream::{self, StreamExt as _};

use crate::store::StoreError;
use crate::store::read::{Order, RowStream};

/// One of the streams, and how far it has been taken.
struct Side {
    rows: RowStream,
    batch: Option<RecordBatch>,
    at: usize,
}

struct Merge {
    sides: [Side; 2],
    time: usize,
    order: Order,
    left: usize,
}

/// The rows of both streams, each of which is in `order` of its column `time`; at most `limit` of them.
pub(super) fn by_time(a: RowStream, b: RowStream, time: usize, order: Order, limit: usize) -> RowStream {
    let sides = [a, b].map(|rows| Side { rows, batch: None, at: 0 });
    let merge = Merge { sides, time, order, left: limit };
    stream::try_unfold(merge, |mut merge| async move {
        let run = merge.next_run().await?;
        Ok(run.map(|run| (run, merge)))
    })
    .boxed()
}

/// The first `limit` rows.
pub(super) fn first(rows: RowStream, limit: usize) -> RowStream {
    stream::try_unfold((rows, limit), |(mut rows, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        match rows.next().await {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(batch)) => {
                let batch = batch.slice(0, batch.num_rows().min(left));
                let left = left - batch.num_rows();
                Ok(Some((batch, (rows, left))))
            }
        }
    })
    .boxed()
}

impl Side {
    /// Whether there is a row; fetches the next batch where the last one has been taken.
    async fn fill(&mut self) -> Result<bool, StoreError> {
        while self.batch.as_ref().is_none_or(|batch| self.at >= batch.num_rows()) {
            let Some(batch) = self.rows.next().await else { return Ok(false) };
            (self.batch, self.at) = (Some(batch?), 0);
        }
        Ok(true)
    }

    /// The times of the rows that are left of the batch.
    fn times(&self, time: usize) -> &[i64] {
        let times =
            self.batch.as_ref().map(|batch| batch.column(time).as_primitive::<TimestampNanosecondType>());
        times.and_then(|times| times.values().get(self.at..)).unwrap_or_default()
    }

    fn take(&mut self, rows: usize) -> Option<RecordBatch> {
        let run = self.batch.as_ref().map(|batch| batch.slice(self.at, rows));
        self.at += rows;
        run
    }
}

impl Merge {
    /// As many rows of one side as come before all others.
    async fn next_run(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        let [a, b] = &mut self.sides;
        let chosen = match (a.fill().await?, b.fill().await?) {
            (false, false) => return Ok(None),
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => usize::from(!self.order.is_before(a.times(self.time), b.times(self.time))),
        };
        let other = self.sides[1 - chosen].times(self.time).first().copied();
        let times = self.sides[chosen].times(self.time);
        let run = match other {
            None => times.len(),
            Some(other) => times.partition_point(|&time| self.order.is_before(&[time], &[other])).max(1),
        };
        let run = run.min(self.left);
        self.left -= run;
        Ok(self.sides[chosen].take(run))
    }
}

impl Order {
    /// Whether the first of these times comes first, or both do.
    fn is_before(self, a: &[i64], b: &[i64]) -> bool {
        match self {
            Self::NewestFirst => a.first() >= b.first(),
            Self::OldestFirst | Self::Any => a.first() <= b.first(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, TimestampNanosecondArray};
    use futures::TryStreamExt as _;
    use proptest::prelude::*;

    use super::*;

    /// Rows with a time and a number, in batches of different sizes.
    fn side(times: &[i64], first: i64, cut: usize) -> RowStream {
        let rows = |(at, times): (usize, &[i64])| {
            let numbers = (0..times.len()).map(|n| first + i64::try_from(at * cut + n).unwrap());
            let time: ArrayRef = Arc::new(TimestampNanosecondArray::from(times.to_vec()));
            let number: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
            Ok(RecordBatch::try_from_iter([("time", time), ("n", number)]).unwrap())
        };
        stream::iter(times.chunks(cut).enumerate().map(rows).collect::<Vec<_>>()).boxed()
    }

    proptest! {
        #[test]
        fn every_row_comes_once_and_in_order(
            mut a in prop::collection::vec(0_i64..50, 0..40),
            mut b in prop::collection::vec(0_i64..50, 0..40),
            cut in 1_usize..9, limit in 0_usize..100, newest in any::<bool>(),
        ) {
            for times in [&mut a, &mut b] {
                times.sort_unstable();
                if newest {
                    times.reverse();
                }
            }
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            let merged = by_time(side(&a, 0, cut), side(&b, 1000, cut), 0, order, limit);
            let batches: Vec<RecordBatch> =
                futures::executor::block_on(merged.try_collect()).unwrap();
            let values = |column: usize| -> Vec<i64> {
                batches.iter().flat_map(|batch| {
                    let array = arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Int64);
                    array.unwrap().as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
                }).collect()
            };
            let mut wanted = [a, b].concat();
            wanted.sort_unstable();
            if newest {
                wanted.reverse();
            }
            wanted.truncate(limit);
            prop_assert_eq!(values(0), wanted);
            let mut numbers = values(1);
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), count, "no row twice");
        }
    }
}
