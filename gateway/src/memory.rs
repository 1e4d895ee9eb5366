//! The memory that requests under way may hold together: a request for bytes in, a grant or a refusal out.
//!
//! Limits per request do not bound a gateway: a thousand clients may each send a request of the largest size.
//! Whoever buffers what a client sent holds a [`MemoryGrant`] for it; when the budget is used up, the request is
//! refused with a retryable error, and the memory of the gateway stays where it was.
//!
//! Fair: a caller that holds its share of the budget gets no more of it while others hold some or were refused lately. A
//! caller alone may use all of it, and a caller's only request may be larger than the share: it would never get
//! through otherwise. Callers are told apart by their address, see [`caller_address`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Bytes per permit: permits are counted in 32 bits, and an account to the byte is of no use.
const UNIT: usize = 1024;

/// How long a caller that was refused counts as one that wants some: what a sender waits before it tries again, and a
/// little more.
const WANTS_FOR: Duration = Duration::from_secs(3);

/// Accounts from which on those that hold nothing are looked for and closed.
const MANY_ACCOUNTS: usize = 1024;

/// A number of bytes that all requests in flight share, seen by one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    total: Arc<Total>,
    account: Arc<Account>,
}

#[derive(Debug)]
struct Total {
    units: Arc<Semaphore>,
    bytes: usize,
    /// Units that one caller may hold while others want some.
    share: usize,
    accounts: Mutex<HashMap<IpAddr, Arc<Account>>>,
}

/// What one caller holds.
#[derive(Debug, Default)]
struct Account {
    units: AtomicUsize,
    /// Until when it counts as wanting some, after it was refused.
    wants_until: Mutex<Option<Instant>>,
}

/// Bytes were refused: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryExhausted {
    /// The budget is used up by other requests.
    #[error("requests under way hold their {limit} bytes of memory (ingest.in_flight_bytes): try again")]
    Budget {
        /// The budget in bytes.
        limit: usize,
    },
    /// The caller holds its share, and others want some.
    #[error(
        "this sender's requests under way hold its share of memory, {share} bytes (ingest.caller_share_percent), and \
         others want some: try again"
    )]
    Share {
        /// The share in bytes.
        share: usize,
    },
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct MemoryGrant {
    budget: MemoryBudget,
    held: Option<OwnedSemaphorePermit>,
}

/// The address by which callers are told apart: that of the machine, for IPv6 of its network of 2^64.
pub fn caller_address(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl MemoryBudget {
    /// A budget of `bytes`, of which each caller may hold `share_percent` while others want some. What is asked for
    /// here belongs to no caller; see [`MemoryBudget::of_caller`].
    pub fn new(bytes: usize, share_percent: u8) -> Self {
        let units = bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let percent = usize::from(share_percent.min(100));
        let total = Total {
            units: Arc::new(Semaphore::new(units)),
            bytes,
            share: units / 100 * percent + units % 100 * percent / 100,
            accounts: Mutex::default(),
        };
        Self { total: Arc::new(total), account: Arc::default() }
    }

    /// The same budget as one caller sees it.
    pub fn of_caller(&self, peer: IpAddr) -> Self {
        let (mut accounts, address) = (self.total.accounts.lock(), caller_address(peer));
        if !accounts.contains_key(&address)
            && accounts.len() >= MANY_ACCOUNTS
            && accounts.len().is_power_of_two()
        {
            let now = Instant::now();
            accounts.retain(|_, account| Arc::strong_count(account) > 1 || account.wants_some(now));
        }
        let account = accounts.entry(address).or_default();
        Self { total: Arc::clone(&self.total), account: Arc::clone(account) }
    }

    /// An empty grant, to be grown as bytes arrive.
    pub fn grant(&self) -> MemoryGrant {
        MemoryGrant { budget: self.clone(), held: None }
    }

    /// Bytes that nobody holds.
    pub fn available(&self) -> usize {
        self.total.units.available_permits().saturating_mul(UNIT).min(self.total.bytes)
    }

    /// The part of the budget that is held, from 0 to 1.
    pub fn load(&self) -> f64 {
        if self.total.bytes == 0 {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let free = self.available() as f64 / self.total.bytes as f64;
        1.0 - free
    }

    /// Takes `units` more for a request of the caller that holds `own` already.
    fn take(&self, units: usize, own: usize) -> Result<OwnedSemaphorePermit, MemoryExhausted> {
        let before = self.account.units.fetch_add(units, Ordering::AcqRel);
        let (held, is_only_one) = (before + units, before <= own);
        let permit = if held > self.total.share && !is_only_one && self.others_want_some() {
            Err(MemoryExhausted::Share { share: self.total.share.saturating_mul(UNIT) })
        } else {
            let budget = MemoryExhausted::Budget { limit: self.total.bytes };
            u32::try_from(units)
                .ok()
                .and_then(|units| Arc::clone(&self.total.units).try_acquire_many_owned(units).ok())
                .ok_or(budget)
        };
        if permit.is_err() {
            self.account.units.fetch_sub(units, Ordering::AcqRel);
            // One that holds its share already wants no more than others do.
            if held <= self.total.share {
                *self.account.wants_until.lock() = Some(Instant::now() + WANTS_FOR);
            }
        }
        permit
    }

    /// Whether another caller holds some or was refused lately. Asked only by a caller above its share.
    fn others_want_some(&self) -> bool {
        let now = Instant::now();
        let accounts = self.total.accounts.lock();
        accounts.values().any(|account| !Arc::ptr_eq(account, &self.account) && account.wants_some(now))
    }
}

impl Account {
    fn wants_some(&self, now: Instant) -> bool {
        self.units.load(Ordering::Acquire) > 0 || self.wants_until.lock().is_some_and(|until| now < until)
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
            let permit = self.budget.take(wanted - held, held)?;
            match &mut self.held {
                Some(held) => held.merge(permit),
                None => self.held = Some(permit),
            }
        } else if let Some(permit) = &mut self.held {
            self.budget.account.units.fetch_sub(held - wanted, Ordering::AcqRel);
            drop(permit.split(held - wanted));
        }
        Ok(())
    }

    fn units(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

// === impl MemoryGrant ===

impl Drop for MemoryGrant {
    fn drop(&mut self) {
        self.budget.account.units.fetch_sub(self.units(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn held(budget: &MemoryBudget, units: usize) -> Result<MemoryGrant, MemoryExhausted> {
        let mut grant = budget.grant();
        grant.resize(units * UNIT).map(|()| grant)
    }

    #[test]
    fn grants_come_back_when_they_shrink_and_when_they_end() {
        let budget = MemoryBudget::new(10 * UNIT, 100);
        let mut first = budget.grant();
        first.resize(7 * UNIT).unwrap();
        let mut second = budget.grant();
        assert_eq!(second.resize(4 * UNIT), Err(MemoryExhausted::Budget { limit: 10 * UNIT }));
        assert_eq!(second.bytes(), 0);
        first.resize(UNIT / 2).unwrap();
        second.resize(9 * UNIT).unwrap();
        assert_eq!((budget.available(), budget.load()), (0, 1.0));
        drop((first, second));
        assert_eq!((budget.available(), budget.load()), (10 * UNIT, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_alone_may_use_all_and_gives_way_when_others_come() {
        let budget = MemoryBudget::new(10 * UNIT, 50);
        let (a, b) = (budget.of_caller(A), budget.of_caller(B));
        let mut of_a: Vec<_> = (0..10).map(|_| held(&a, 1).unwrap()).collect();
        assert_eq!(held(&b, 1).unwrap_err(), MemoryExhausted::Budget { limit: 10 * UNIT });

        // What A gives back is left for B, who was refused.
        of_a.truncate(6);
        assert_eq!(held(&a, 1).unwrap_err(), MemoryExhausted::Share { share: 5 * UNIT });
        let of_b = held(&b, 3).unwrap();
        of_a.truncate(4);
        of_a.push(held(&a, 1).unwrap());
        assert_eq!(held(&a, 1).unwrap_err(), MemoryExhausted::Share { share: 5 * UNIT });

        // B is done, and after a while nobody waits for it any longer.
        drop(of_b);
        assert!(held(&a, 5).is_err());
        tokio::time::advance(WANTS_FOR).await;
        of_a.push(held(&a, 5).unwrap());
        assert_eq!(budget.available(), 0);
    }

    #[test]
    fn a_request_larger_than_the_share_gets_through_by_itself() {
        let budget = MemoryBudget::new(10 * UNIT, 50);
        let (a, _of_b) = (budget.of_caller(A), held(&budget.of_caller(B), 2).unwrap());
        let mut large = held(&a, 4).unwrap();
        large.resize(7 * UNIT).unwrap();
        assert_eq!(held(&a, 1).unwrap_err(), MemoryExhausted::Share { share: 5 * UNIT });
        drop(large);
        let _small = held(&a, 1).unwrap();
        assert!(held(&a, 7).is_err(), "not beside another one");
    }

    #[test]
    fn what_belongs_to_no_caller_is_not_counted_against_one() {
        let budget = MemoryBudget::new(10 * UNIT, 50);
        let _of_nobody = held(&budget, 3).unwrap();
        let _of_a = held(&budget.of_caller(A), 7).unwrap();
    }

    #[test]
    fn accounts_of_callers_that_are_gone_are_closed() {
        let budget = MemoryBudget::new(1 << 20, 50);
        let stays = budget.of_caller(A);
        for number in 0..100_000_u32 {
            drop(held(&budget.of_caller(IpAddr::V4(number.into())), 1).unwrap());
        }
        assert!(budget.total.accounts.lock().len() <= MANY_ACCOUNTS);
        let _grant = held(&stays, 1).unwrap();
        assert!(Arc::ptr_eq(&budget.of_caller(A).account, &stays.account));
    }

    #[test]
    fn callers_are_told_apart_by_machine_or_network() {
        let address = |text: &str| caller_address(text.parse().unwrap());
        assert_eq!(address("::ffff:10.0.0.1"), A);
        assert_eq!(address("2001:db8:0:1::5"), address("2001:db8:0:1:ffff::9"));
        assert_ne!(address("2001:db8:0:1::5"), address("2001:db8:0:2::5"));
    }
}
