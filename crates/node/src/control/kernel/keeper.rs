//! Keeps devices connected: a connection that dies while the daemon lives gets a successor.
//!
//! The kernel gives a connection up when a request on it has taken too long, the daemon when its
//! client does not go on. The requests wait in the kernel then, and fail in the end, unless the
//! device is given a new connection. Each connection has a place that it frees when it ends, on
//! which a task of the device waits: the daemon's own end says all that the kernel's group of
//! netlink listeners would (`LINK_DEAD`), and what the kernel does not tell there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::super::Control;
use super::super::registry::Running;
use super::usage::Owner;
use super::{VolumeDevice, give, links, open_netlink};

/// Between the end of a connection and its successor, and between attempts: the kernel gets to know
/// meanwhile that it has ended, and who has pulled the device out gets done.
const PAUSE: Duration = Duration::from_millis(250);

/// Successors that the kernel has no use for until no more are offered: it had fewer connections.
const UNTAKEN_MAX: u32 = 8;

/// The tasks that keep devices connected, by the device's number.
#[derive(Debug, Default)]
pub(crate) struct Keepers(Mutex<BTreeMap<u32, AbortHandle>>);

impl Keepers {
    /// Whether a device is kept connected.
    pub(super) fn has(&self, index: u32) -> bool {
        self.all().get(&index).is_some_and(|task| !task.is_finished())
    }

    /// The device is to be left alone.
    pub(super) fn end(&self, index: u32) {
        if let Some(task) = self.all().remove(&index) {
            task.abort();
        }
    }

    fn put(&self, index: u32, task: AbortHandle) {
        if let Some(former) = self.all().insert(index, task) {
            former.abort();
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a place that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Its device or its resource is gone, or is another one.
    End,
    /// A connection is to be offered.
    Offer,
    /// The device has no use for it.
    GiveUp,
}

fn next(owner: &Owner, is_running: bool, untaken: u32) -> Step {
    match owner {
        Owner::None | Owner::Other(_) => Step::End,
        Owner::This if !is_running => Step::End,
        Owner::This if untaken >= UNTAKEN_MAX => Step::GiveUp,
        Owner::This => Step::Offer,
    }
}

/// Keeps a device connected, whose connections have taken the places.
pub(super) fn keep(
    control: &Arc<Control>,
    running: &Running,
    device: VolumeDevice,
    places: Arc<Semaphore>,
) {
    let index = device.index;
    let task = tokio::spawn(watch(Arc::clone(control), running.clone(), device, places));
    control.keepers.put(index, task.abort_handle());
}

async fn watch(
    control: Arc<Control>,
    running: Running,
    device: VolumeDevice,
    places: Arc<Semaphore>,
) {
    let index = device.index;
    let mut left = control.nbd.kernel_connections;
    let mut untaken = 0;
    let mut is_told = false;
    while left > 0 {
        let free = places.acquire().await.expect("the semaphore is never closed");
        tokio::time::sleep(PAUSE).await;
        let is_running = control.registry.find(&device.resource);
        let is_running = is_running.is_some_and(|it| it.key == running.key);
        match next(&device.owner(), is_running, untaken) {
            Step::End => break,
            Step::GiveUp => {
                free.forget();
                (left, untaken) = (left - 1, 0);
                continue;
            }
            Step::Offer => drop(free),
        }
        let given = async {
            let netlink = open_netlink(&control, &device).await?;
            give(&control, &device, netlink, &places, false).await
        };
        match given.await {
            Ok(0) => untaken += 1,
            Ok(count) => {
                (untaken, is_told) = (0, false);
                tracing::info!("/dev/nbd{index} has {count} connection(s) in place of dead ones");
            }
            Err(refused) if !is_told => {
                tracing::warn!("/dev/nbd{index} has lost a connection: {refused}");
                is_told = true;
            }
            Err(_) => {}
        }
    }
    if device.owner() == Owner::None {
        links::remove(Path::new(links::FOLDER), &device.resource, device.volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_place_is_filled_while_the_device_is_this_volumes() {
        let other = Owner::Other("'somebody'".to_owned());
        assert_eq!(next(&Owner::This, true, 0), Step::Offer);
        assert_eq!(next(&Owner::This, true, UNTAKEN_MAX - 1), Step::Offer);
        assert_eq!(next(&Owner::This, true, UNTAKEN_MAX), Step::GiveUp);
        for untaken in [0, UNTAKEN_MAX] {
            assert_eq!(next(&Owner::This, false, untaken), Step::End);
            for owner in [&Owner::None, &other] {
                assert_eq!(next(owner, true, untaken), Step::End);
            }
        }
    }

    #[tokio::test]
    async fn a_device_has_one_keeper() {
        let keepers = Keepers::default();
        let begin = || tokio::spawn(std::future::pending::<()>());
        let (former, latter) = (begin(), begin());
        keepers.put(3, former.abort_handle());
        keepers.put(3, latter.abort_handle());
        assert!(former.await.unwrap_err().is_cancelled());
        assert!(keepers.has(3) && !keepers.has(4));
        keepers.end(3);
        keepers.end(3);
        assert!(latter.await.unwrap_err().is_cancelled());
        assert!(!keepers.has(3));
    }
}
