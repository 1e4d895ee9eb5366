//! A full disk: requests are refused, and the frames of delivery go where space was set aside for them.

use std::sync::Arc;
use std::time::Instant;

use super::super::AppendError;
use super::super::budget::ORDINARY_KIND;
use super::super::queue::Pending;
use super::super::reserve::{State, kept_for_delivery};
use super::{RETRY, Writer, is_out_of_space};

impl<T: Send + Sync + 'static> Writer<T> {
    /// Whether the reserve is there, made now if it was not. Released segments go for it.
    pub(in super::super) fn set_aside(&mut self) -> bool {
        if self.reserve.shortage().is_none() {
            return true;
        }
        if Instant::now() < self.reserve.retry_at {
            return false;
        }
        let log = self.directory.log();
        loop {
            match self.reserve.make(&*self.directory.disk) {
                Ok(()) if self.reserve.state == State::Impossible => {
                    tracing::warn!(
                        log,
                        "the file system sets no space aside: should the disk be full, delivery waits until it is not"
                    );
                    return true;
                }
                Ok(()) => return true,
                Err(error) if is_out_of_space(&error) && self.directory.evict_one() => {}
                Err(error) => {
                    let reason = match is_out_of_space(&error) {
                        true => kept_for_delivery(&error),
                        false => Arc::from(format!("no space can be set aside for delivery: {error}")),
                    };
                    self.reserve.state = State::GivenUp(reason);
                    self.reserve.retry_at = Instant::now() + RETRY;
                    let shortage = self.reserve.shortage();
                    self.directory.with(|state| state.health.unwritable = shortage);
                    return false;
                }
            }
        }
    }

    /// Why a frame of this kind cannot be taken while the disk is full.
    pub(super) fn check_space(&mut self, kind: u8) -> Result<(), AppendError> {
        if kind != ORDINARY_KIND || self.set_aside() {
            return Ok(());
        }
        let reason = self.reserve.shortage().unwrap_or_else(|| Arc::clone(&self.reason));
        Err(AppendError::Failed { log: self.directory.log().to_owned(), reason })
    }

    /// What becomes of frames that could not be written: when it is space that lacks, those of delivery get the reserve
    /// and are given back to be written into it; all others are told that they failed.
    pub(super) fn rescue(&mut self, group: Vec<Pending<T>>) -> Vec<Pending<T>> {
        let ours = |frame: &Pending<T>| frame.kind != ORDINARY_KIND;
        if !self.lacks_space || self.reserve.state != State::Held || !group.iter().any(ours) {
            self.fail(group);
            return Vec::new();
        }
        let (ours, others) = group.into_iter().partition(ours);
        self.fail(others);
        tracing::warn!(
            log = self.directory.log(),
            "the disk is full: delivery goes on in the space set aside for it"
        );
        if self.durable < self.next {
            // If that fails, what was not durable has failed with its segment: nobody waits for it.
            self.sync();
        }
        self.end_segment();
        if self.begin_in_reserve() {
            return ours;
        }
        self.fail(ours);
        Vec::new()
    }
}
