//! The NBD handshakes of one listener, bounded: when there are too many, one makes room.
//!
//! A client needs milliseconds for its handshake, a stranger may take the whole deadline and come
//! back. So nobody waits for a place: a newcomer gets one at once, and the handshake that has been
//! under way longest among those of the source with the most is ended. Who floods a listener ends
//! his own.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::limits;

/// Between two complaints about a flood.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Where connections come from, as far as it is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// This machine, by a Unix socket.
    Here,
    V4(Ipv4Addr),
    /// The network of 64 bits: one host may have every address of it.
    V6(Ipv6Addr),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((u128::from(address) >> 64 << 64).into()),
        }
    }
}

/// The handshakes under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<Mutex<Members>>);

#[derive(Debug, Default)]
struct Members {
    /// In the order of their coming. Dropping the sender ends the handshake.
    all: BTreeMap<u64, (Source, oneshot::Sender<()>)>,
    came: u64,
    complained_at: Option<Instant>,
}

/// One handshake's place; dropped when that is over.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Crowd,
    number: u64,
    ended: oneshot::Receiver<()>,
}

impl Crowd {
    /// A place for a newcomer. If there was none, another handshake is ended.
    pub(crate) fn enter(&self, source: Source) -> Place {
        let (end, ended) = oneshot::channel();
        let mut members = self.members();
        if members.all.len() >= limits::HANDSHAKES_MAX {
            members.make_room();
        }
        let number = members.came;
        members.came += 1;
        members.all.insert(number, (source, end));
        Place { crowd: self.clone(), number, ended }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn make_room(&mut self) {
        let Some((number, source)) = self.superfluous() else { return };
        self.all.remove(&number);
        let now = Instant::now();
        if self.complained_at.is_none_or(|at| now.duration_since(at) >= COMPLAINT_INTERVAL) {
            self.complained_at = Some(now);
            let count = limits::HANDSHAKES_MAX;
            tracing::warn!(
                "{count} NBD handshakes are under way at once, most of them of {source}: \
                 the oldest of those are closed"
            );
        }
    }

    /// The oldest of the source that has the most.
    fn superfluous(&self) -> Option<(u64, Source)> {
        let mut counts: BTreeMap<Source, (usize, u64)> = BTreeMap::new();
        for (number, (source, _)) in &self.all {
            counts.entry(*source).or_insert((0, *number)).0 += 1;
        }
        let (source, (_, oldest)) = counts.into_iter().max_by_key(|(_, (count, _))| *count)?;
        Some((oldest, source))
    }
}

impl Place {
    /// Waits until somebody else gets the place.
    pub(crate) async fn is_lost(&mut self) {
        // Nothing is ever sent: the sender goes away.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().all.remove(&self.number);
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this machine"),
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{network}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    async fn is_lost(place: &mut Place) -> bool {
        tokio::time::timeout(Duration::ZERO, place.is_lost()).await.is_ok()
    }

    #[tokio::test]
    async fn who_floods_makes_room_for_all() {
        let crowd = Crowd::default();
        let mut quiet = crowd.enter(source("192.0.2.1"));
        let mut flood: Vec<Place> = Vec::new();
        for _ in 0..limits::HANDSHAKES_MAX + 9 {
            flood.push(crowd.enter(source("192.0.2.2")));
        }
        let mut late = crowd.enter(Source::Here);
        assert!(!is_lost(&mut quiet).await && !is_lost(&mut late).await);
        for (index, place) in flood.iter_mut().enumerate() {
            assert_eq!(is_lost(place).await, index <= 10, "{index}");
        }
        assert_eq!(crowd.members().all.len(), limits::HANDSHAKES_MAX);
        drop((quiet, flood, late));
        assert!(crowd.members().all.is_empty());
    }

    #[test]
    fn a_host_of_many_addresses_is_one_source() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_eq!(source("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
    }
}
