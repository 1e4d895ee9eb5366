//! Connections: the address of a caller in, a place or none out.
//!
//! A listener has a fixed number of places. One address gets at most its share of them while others have some, so that a
//! caller which opens connections without end leaves room for the others; an address alone may have nine tenths, since a
//! proxy's connections are many callers'. The rest is for whoever comes next.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::memory::caller_address;

/// One in so many places is kept from an address that has all others: somebody else would find none.
const KEPT_FREE: usize = 10;

/// The address at the other end of a request's connection; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The address that a request came from.
    pub fn of(extensions: &http::Extensions) -> Option<IpAddr> {
        extensions.get::<Self>().map(|Self(address)| *address)
    }
}

/// The places of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    /// For one address while no other has any.
    alone: usize,
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// `most` places, of which one address gets `share_percent` while others have some.
    pub(super) fn new(most: usize, share_percent: u8) -> Self {
        let share = most.saturating_mul(usize::from(share_percent)).div_ceil(100);
        let alone = most - most / KEPT_FREE;
        Self(Arc::new(Inner { most, alone, share, taken: Mutex::default() }))
    }

    /// A place for a connection from `peer`.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Place> {
        let address = caller_address(peer);
        let mut taken = self.0.taken.lock();
        let own = taken.by_address.get(&address).copied().unwrap_or(0);
        let others = taken.all - own;
        let own_most = if others > 0 { self.0.share.min(self.0.alone) } else { self.0.alone };
        if taken.all >= self.0.most || own >= own_most {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, own + 1);
        Some(Place { places: self.clone(), address })
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.0.taken.lock().all
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock();
        taken.all -= 1;
        match taken.by_address.get_mut(&self.address) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let places = Places::new(10, 50);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut of_a: Vec<_> = (0..9).map(|_| places.take(a).unwrap()).collect();
        assert!(places.take(a).is_none(), "the last is for somebody else");
        let of_b = places.take(b).unwrap();
        assert!(places.take(b).is_none() && places.take(a).is_none(), "all are taken");
        of_a.truncate(5);
        assert!(places.take(a).is_none(), "it has its share");
        let second_of_b = places.take(b).unwrap();
        drop((of_b, second_of_b));
        of_a.push(places.take(a).unwrap());
        assert_eq!(places.taken(), 6);
        drop(of_a);
        let taken = places.0.taken.lock();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
