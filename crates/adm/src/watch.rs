//! `status --watch`: the states, and a bar with rate and time left for each resync.
//!
//! On a terminal the picture is drawn in place; elsewhere the text is printed again whenever it
//! changed. It ends when it is interrupted, or when the daemon goes away.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tandem_control::admin::Client;
use tandem_control::status::{PeerDeviceStatus, ResourceStatus, TextOptions, clock_text, text};

use crate::object::Object;
use crate::output::{self, Failure};
use crate::show::fetch_all;

/// Often enough for a bar to move, seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shows until interrupted.
pub(crate) fn watch(client: &mut Client, objects: &[Object]) -> Result<(), Failure> {
    match output::terminal_width() {
        Some(width) => draw(client, objects, width),
        None => print(client, objects),
    }
}

fn print(client: &mut Client, objects: &[Object]) -> Result<(), Failure> {
    let mut shown = None;
    loop {
        let now = text(&fetch_all(client, objects)?, TextOptions::default());
        if shown.as_ref() != Some(&now) {
            output::print(&now);
            shown = Some(now);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn draw(client: &mut Client, objects: &[Object], width: usize) -> Result<(), Failure> {
    let options = TextOptions { terminal: true, width, ..TextOptions::default() };
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
    let states = screen.add(ProgressBar::new_spinner());
    states.set_style(style("{msg}"));
    let mut bars: Vec<ProgressBar> = Vec::new();
    loop {
        let resources = fetch_all(client, objects)?;
        states.set_message(text(&resources, options).trim_end().to_owned());
        states.tick();
        let resyncs = resyncs(&resources);
        while bars.len() > resyncs.len() {
            if let Some(bar) = bars.pop() {
                bar.finish_and_clear();
                screen.remove(&bar);
            }
        }
        while bars.len() < resyncs.len() {
            let bar = screen.add(ProgressBar::new(0));
            bar.set_style(style("{prefix} [{bar:30}] {msg}").progress_chars("=> "));
            bars.push(bar);
        }
        for (bar, resync) in bars.iter().zip(&resyncs) {
            bar.set_prefix(resync.name.clone());
            bar.set_length(resync.total_bytes);
            bar.set_position(resync.done_bytes);
            bar.set_message(resync.progress.clone());
        }
        std::thread::sleep(INTERVAL);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written here")
}

/// A resync as a bar shows it.
#[derive(Debug, PartialEq, Eq)]
struct Resync {
    name: String,
    total_bytes: u64,
    done_bytes: u64,
    progress: String,
}

fn resyncs(resources: &[ResourceStatus]) -> Vec<Resync> {
    let mut found = Vec::new();
    for resource in resources {
        for connection in &resource.connections {
            for device in &connection.peer_devices {
                let name = format!("{}/{} {}", resource.name, device.volume, connection.name);
                found.extend(resync(device, &name));
            }
        }
    }
    found
}

fn resync(device: &PeerDeviceStatus, name: &str) -> Option<Resync> {
    let total_bytes = device.resync?.total_bytes;
    let rate = device.resync_rate().unwrap_or(0.0) / f64::from(1 << 20);
    let left = device
        .seconds_left()
        .map_or_else(|| "stalled".to_owned(), |seconds| format!("{} left", clock_text(seconds)));
    let done = device.percent_done().unwrap_or(0.0);
    Some(Resync {
        name: format!("{name} {}", device.replication_state),
        total_bytes,
        done_bytes: total_bytes.saturating_sub(device.out_of_sync_bytes),
        progress: format!("{done:.1}% {rate:.1} MiB/s {left}"),
    })
}

#[cfg(test)]
mod tests {
    use tandem_control::names::{DiskState, ReplicationState};
    use tandem_control::status::{PeerDeviceStatus, ResyncProgress, samples};

    use super::{Resync, resync};

    fn device(resync: Option<ResyncProgress>) -> PeerDeviceStatus {
        PeerDeviceStatus {
            out_of_sync_bytes: 75 << 20,
            resync,
            ..samples::peer_device(0, ReplicationState::SyncTarget, DiskState::UpToDate)
        }
    }

    #[test]
    fn a_bar_says_rate_and_time_left() {
        let mut progress = ResyncProgress {
            total_bytes: 100 << 20,
            window1_ms: 2000,
            window1_bytes: 2 << 20,
            ..ResyncProgress::default()
        };
        let expected = Resync {
            name: "r0/0 b SyncTarget".to_owned(),
            total_bytes: 100 << 20,
            done_bytes: 25 << 20,
            progress: "25.0% 1.0 MiB/s 0:01:15 left".to_owned(),
        };
        assert_eq!(resync(&device(Some(progress)), "r0/0 b"), Some(expected));
        progress.window1_bytes = 0;
        let stalled = resync(&device(Some(progress)), "r0/0 b").map(|resync| resync.progress);
        assert_eq!(stalled.as_deref(), Some("25.0% 0.0 MiB/s stalled"));
        assert_eq!(resync(&device(None), "r0/0 b"), None);
    }
}
