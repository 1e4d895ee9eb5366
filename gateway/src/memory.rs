//! The memory that requests under way may hold together: a request for bytes in, a grant or a refusal out.
//!
//! Limits per request do not bound a gateway: a thousand clients may each send a request of the largest size.
//! Whoever buffers what a client sent holds a [`MemoryGrant`] for it; when the budget is used up, the request is
//! refused with a retryable error, and the memory of the gateway stays where it was.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit: permits are counted in 32 bits, and an account to the byte is of no use.
const UNIT: usize = 1024;

/// A number of bytes that all requests in flight share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    bytes: usize,
}

/// The budget is used up by other requests: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("requests under way hold their {limit} bytes of memory (ingest.in_flight_bytes): try again")]
pub struct MemoryExhausted {
    /// The budget in bytes.
    pub limit: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct MemoryGrant {
    budget: MemoryBudget,
    held: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), bytes }
    }

    /// An empty grant, to be grown as bytes arrive.
    pub fn grant(&self) -> MemoryGrant {
        MemoryGrant { budget: self.clone(), held: None }
    }

    /// Bytes that nobody holds.
    pub fn available(&self) -> usize {
        self.units.available_permits().saturating_mul(UNIT).min(self.bytes)
    }
}

impl MemoryGrant {
    /// Bytes held, rounded up to the unit of account.
    pub fn bytes(&self) -> usize {
        self.units().saturating_mul(UNIT)
    }

    /// Grows or shrinks the grant to `bytes`. A refusal leaves it as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<(), MemoryExhausted> {
        let (wanted, held) = (bytes.div_ceil(UNIT), self.units());
        if wanted > held {
            let exhausted = MemoryExhausted { limit: self.budget.bytes };
            let more = u32::try_from(wanted - held).map_err(|_| exhausted)?;
            let permit =
                Arc::clone(&self.budget.units).try_acquire_many_owned(more).map_err(|_| exhausted)?;
            match &mut self.held {
                Some(held) => held.merge(permit),
                None => self.held = Some(permit),
            }
        } else if let Some(permit) = &mut self.held {
            drop(permit.split(held - wanted));
        }
        Ok(())
    }

    fn units(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_come_back_when_they_shrink_and_when_they_end() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut first = budget.grant();
        first.resize(7 * UNIT).unwrap();
        let mut second = budget.grant();
        assert_eq!(second.resize(4 * UNIT), Err(MemoryExhausted { limit: 10 * UNIT }));
        assert_eq!(second.bytes(), 0);
        first.resize(UNIT / 2).unwrap();
        second.resize(9 * UNIT).unwrap();
        assert_eq!(budget.available(), 0);
        drop((first, second));
        assert_eq!(budget.available(), 10 * UNIT);
    }
}
