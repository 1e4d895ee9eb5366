//! A store in memory: cuts in, their numbers out, each once, as the contract asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use parking_lot::Mutex;

use crate::registry::{StoreKind, TableDef};
use crate::store::read::{ReadQuery, RowStream};
use crate::store::timescale::{Judgement, judge};
use crate::store::{Cut, Store, StoreError, TableChange, Work};

#[derive(Debug)]
pub(super) struct TestStore {
    kind: StoreKind,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What it does with the cuts of a table instead of storing them.
    pub(super) instead: HashMap<String, Instead>,
    /// Numbers by cut.
    pub(super) cuts: BTreeMap<u64, Vec<i64>>,
    /// The last cut of each lane; of Timescale only.
    pub(super) lanes: HashMap<u32, u64>,
    /// The lane of each cut.
    pub(super) lane_of: HashMap<u64, u32>,
    /// Numbers of all cuts that it was asked to store.
    pub(super) asked: Vec<u64>,
}

/// What a store may do with a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// It says nothing and has nothing.
    Hang,
    /// It stores the cut and says nothing.
    StoreAndHang,
}

impl TestStore {
    pub(super) fn new(kind: StoreKind) -> Arc<Self> {
        Arc::new(Self { kind, state: Mutex::default() })
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock())
    }

    /// From now on cuts of the table meet with this.
    pub(super) fn instead(&self, table: &str, what: Option<Instead>) {
        self.with(|state| match what {
            Some(what) => drop(state.instead.insert(table.to_owned(), what)),
            None => drop(state.instead.remove(table)),
        });
    }

    /// All numbers that it has, in order.
    pub(super) fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = self.with(|state| state.cuts.values().flatten().copied().collect());
        numbers.sort_unstable();
        numbers
    }
}

#[async_trait]
impl Store for TestStore {
    fn kind(&self) -> StoreKind {
        self.kind
    }

    fn ddl(&self, _: &TableDef) -> Vec<String> {
        Vec::new()
    }

    async fn plan(&self, _: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
        Ok(Vec::new())
    }

    async fn change(&self, _: &TableChange<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn write(&self, cut: &Cut) -> Result<(), StoreError> {
        let table = cut.rows.table().name().to_string();
        let instead = self.with(|state| {
            state.asked.push(cut.number);
            state.instead.get(&table).copied()
        });
        if instead == Some(Instead::Hang) {
            std::future::pending::<()>().await;
        }
        let batch = cut.rows.to_batch().unwrap();
        let numbers = batch.rows().column(1).as_primitive::<Int64Type>().values().to_vec();
        let stored = self.with(|state| {
            if self.kind == StoreKind::Timescale {
                let at = state.lanes.get(&cut.lane).copied().unwrap_or(0);
                let (log, lane, number) = (cut.log, cut.lane, cut.number);
                let store = "timescale";
                match judge(at, number, cut.previous, cut.fresh) {
                    Judgement::Write => {}
                    Judgement::Committed => return Ok(()),
                    Judgement::Contradicted => {
                        return Err(StoreError::Contradicted { store, log, lane, lane_at: at, cut: number });
                    }
                    Judgement::Regressed => return Err(StoreError::Regressed { store, lane_at: at }),
                }
                state.lanes.insert(cut.lane, cut.number);
                state.lane_of.insert(cut.number, cut.lane);
            }
            if let Some(known) = state.cuts.insert(cut.number, numbers.clone()) {
                assert!(!cut.fresh && known == numbers, "cut {} comes again with other rows", cut.number);
            }
            Ok(())
        });
        if instead == Some(Instead::StoreAndHang) {
            std::future::pending::<()>().await;
        }
        stored
    }

    async fn progress(&self, _: u64) -> Result<HashMap<u32, u64>, StoreError> {
        Ok(self.with(|state| state.lanes.clone()))
    }

    async fn read(&self, _: ReadQuery) -> Result<RowStream, StoreError> {
        Ok(Box::pin(futures::stream::empty()))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
