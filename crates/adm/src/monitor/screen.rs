//! What the monitor draws of the states that it has seen. Pure: states, times and keys in, lines
//! out.
//!
//! Each volume has a line for each peer; below it come what is written and read, how long a request
//! takes, how far the peer lags, a bar for a resync or verify, and below all volumes of a resource
//! what is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use tandem_control::names::{ConnectionState, DiskState, Role};
use tandem_control::status::{
    ConnectionStatus, Finding, PeerDeviceStatus, ResourceStatus, VolumeStatus, clock_text,
    findings, size_text,
};

/// What is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// End it.
    Quit,
    /// Only what is not as it should be; or everything again.
    Problems,
    /// So many lines further down.
    Down(u16),
    /// Further up.
    Up(u16),
}

/// What is known, and what of it is to be seen.
#[derive(Debug)]
pub(super) struct Screen {
    node: String,
    resources: Vec<ResourceStatus>,
    seen_at: Duration,
    /// By resource and volume: what was done in all, and of late.
    traffic: BTreeMap<(String, u16), Traffic>,
    problems_only: bool,
    scroll: u16,
    /// Why nothing new is known.
    trouble: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    written: u64,
    read: u64,
    requests: u64,
    requests_us: u64,
    written_rate: f64,
    read_rate: f64,
    /// How long a request took, if one was answered.
    latency_ms: Option<f64>,
}

impl Traffic {
    /// What was done `seconds` after `before`; the first look has nothing to compare with.
    fn of(volume: &VolumeStatus, before: Option<&Self>, seconds: f64) -> Self {
        let mut traffic = Self {
            written: volume.written_bytes,
            read: volume.read_bytes,
            requests: volume.requests,
            requests_us: volume.requests_us,
            ..Self::default()
        };
        if let Some(before) = before.filter(|_| seconds > 0.0) {
            let more = |now: u64, then: u64| now.saturating_sub(then) as f64;
            traffic.written_rate = more(traffic.written, before.written) / seconds;
            traffic.read_rate = more(traffic.read, before.read) / seconds;
            let requests = more(traffic.requests, before.requests);
            let waited_ms = more(traffic.requests_us, before.requests_us) / 1000.0;
            traffic.latency_ms = (requests > 0.0).then(|| waited_ms / requests);
        }
        traffic
    }
}

const HEADER: &str =
    "RESOURCE     ROLE      VOL DISK         PEER       LINK         PEER'S DISK  ";
const KEYS: &str = "q quit   p problems only   arrows, page keys: scroll";

impl Screen {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            resources: Vec::new(),
            seen_at: Duration::ZERO,
            traffic: BTreeMap::new(),
            problems_only: false,
            scroll: 0,
            trouble: None,
        }
    }

    /// How everything is, at a time that only goes forward.
    pub(super) fn saw(&mut self, resources: Vec<ResourceStatus>, at: Duration) {
        let seconds = (at - self.seen_at).as_secs_f64();
        let mut traffic = BTreeMap::new();
        for resource in &resources {
            for volume in &resource.volumes {
                let key = (resource.name.clone(), volume.volume.0);
                let of_late = Traffic::of(volume, self.traffic.get(&key), seconds);
                traffic.insert(key, of_late);
            }
        }
        (self.traffic, self.resources, self.seen_at) = (traffic, resources, at);
        self.trouble = None;
    }

    /// The daemon does not answer.
    pub(super) fn lost(&mut self, why: &str) {
        self.trouble = Some(why.to_owned());
    }

    pub(super) fn press(&mut self, key: Key) {
        match key {
            Key::Quit => {}
            Key::Problems => (self.problems_only, self.scroll) = (!self.problems_only, 0),
            Key::Down(lines) => self.scroll = self.scroll.saturating_add(lines),
            Key::Up(lines) => self.scroll = self.scroll.saturating_sub(lines),
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)];
        let [top, middle, bottom] = Layout::vertical(rows).areas(frame.area());
        let found: Vec<Vec<Finding>> = self.resources.iter().map(findings).collect();
        let ill = found.iter().filter(|found| !found.is_empty()).count();
        let lines = self.body(&found, usize::from(middle.width));
        // The last line is as far up as it gets.
        let most = lines.len().saturating_sub(usize::from(middle.height));
        self.scroll = self.scroll.min(u16::try_from(most).unwrap_or(u16::MAX));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let header = Line::styled(HEADER, bold.add_modifier(Modifier::REVERSED));
        frame.render_widget(Paragraph::new(vec![self.title(ill), header]), top);
        frame.render_widget(Paragraph::new(lines).scroll((self.scroll, 0)), middle);
        frame.render_widget(Line::styled(KEYS, Style::new().add_modifier(Modifier::DIM)), bottom);
    }

    fn title(&self, ill: usize) -> Line<'static> {
        if let Some(trouble) = &self.trouble {
            return Line::styled(format!("{}: {trouble}", self.node), bad());
        }
        let all = self.resources.len();
        let what = match ill {
            0 => Span::raw(", all well"),
            _ => Span::styled(format!(", {ill} with problems"), bad()),
        };
        let plural = if all == 1 { "" } else { "s" };
        Line::from(vec![Span::raw(format!("{}: {all} resource{plural}", self.node)), what])
    }

    fn body(&self, found: &[Vec<Finding>], width: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for (resource, found) in self.resources.iter().zip(found) {
            if self.problems_only && found.is_empty() {
                continue;
            }
            self.resource(resource, &mut lines);
            for finding in found {
                let text = format!("! {}: {}", finding.subject, finding.what);
                lines.extend(wrap(&text, 2, width).into_iter().map(|it| Line::styled(it, bad())));
                if let Some(help) = &finding.help {
                    let help = wrap(&format!("-> {help}"), 4, width);
                    lines.extend(help.into_iter().map(Line::raw));
                }
            }
        }
        if lines.is_empty() {
            let nothing = if self.problems_only { "No problems." } else { "No resource is up." };
            lines.push(Line::raw(nothing));
        }
        lines
    }

    fn resource(&self, resource: &ResourceStatus, lines: &mut Vec<Line<'static>>) {
        let mut is_first = true;
        for volume in &resource.volumes {
            let mut peers: Vec<Option<&ConnectionStatus>> =
                resource.connections.iter().map(Some).collect();
            if peers.is_empty() {
                peers.push(None);
            }
            for peer in peers {
                let name = if is_first { &*resource.name } else { "" };
                lines.push(row(name, resource.role, volume, peer));
                is_first = false;
                let device = peer.and_then(|peer| device(peer, volume));
                lines.extend(device.and_then(bar));
            }
            lines.extend(self.traffic(resource, volume));
        }
    }

    /// What is written and read of late, and how far peers lag; nothing where nothing happens.
    fn traffic(&self, resource: &ResourceStatus, volume: &VolumeStatus) -> Option<Line<'static>> {
        let traffic = self.traffic.get(&(resource.name.clone(), volume.volume.0))?;
        let Traffic { written_rate, read_rate, latency_ms, .. } = *traffic;
        let lag = resource.connections.iter().map(|it| (it.lag_bytes, it.lag_ms)).max()?;
        if written_rate == 0.0 && read_rate == 0.0 && lag.0 == 0 {
            return None;
        }
        let latency = latency_ms.map_or_else(|| "-".to_owned(), |it| format!("{it:.2} ms"));
        Some(Line::raw(format!(
            "    written {}/s  read {}/s  latency {latency}  lag {} {} ms",
            size_text(written_rate),
            size_text(read_rate),
            size_text(lag.0 as f64),
            lag.1
        )))
    }
}

fn row(
    name: &str,
    role: Role,
    volume: &VolumeStatus,
    peer: Option<&ConnectionStatus>,
) -> Line<'static> {
    let disk_is_good = volume.disk_state == DiskState::UpToDate || volume.client;
    let role = if name.is_empty() { "" } else { role.name() };
    let mut spans = vec![
        Span::styled(field(name, 12), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(field(role, 9)),
        Span::raw(field(&volume.volume.to_string(), 3)),
        Span::styled(field(volume.disk_state.name(), 12), of(disk_is_good)),
    ];
    if let Some(peer) = peer {
        let is_linked = peer.connection_state == ConnectionState::Connected;
        let device = device(peer, volume);
        let disk = device.map_or(DiskState::DUnknown, |device| device.peer_disk_state);
        let client = device.is_some_and(|device| device.peer_client);
        spans.extend([
            Span::raw(field(&peer.name, 10)),
            Span::styled(field(peer.connection_state.name(), 12), of(is_linked)),
            Span::styled(field(disk.name(), 12), of(disk == DiskState::UpToDate || client)),
        ]);
    }
    Line::from(spans)
}

fn device<'a>(peer: &'a ConnectionStatus, volume: &VolumeStatus) -> Option<&'a PeerDeviceStatus> {
    peer.peer_devices.iter().find(|device| device.volume == volume.volume)
}

/// How far a resync or a verify is.
fn bar(device: &PeerDeviceStatus) -> Option<Line<'static>> {
    const CELLS: usize = 24;
    let done = device.percent_done()?;
    let filled = (1..=CELLS).filter(|cell| *cell as f64 * 100.0 <= done * CELLS as f64).count();
    let seconds = device.verify.map_or_else(|| device.seconds_left(), |it| it.seconds_left());
    let left = seconds
        .map_or_else(|| "no end in sight".to_owned(), |left| format!("{} left", clock_text(left)));
    let rate =
        device.resync_rate().map(|rate| format!("  {}/s", size_text(rate))).unwrap_or_default();
    Some(Line::raw(format!(
        "    {:<12}[{}{}] {done:5.1} %{rate}  {left}",
        device.replication_state.name(),
        "=".repeat(filled),
        " ".repeat(CELLS - filled)
    )))
}

/// A column of so many characters, and a space behind it.
fn field(text: &str, width: usize) -> String {
    format!("{:<width$} ", cut(text, width))
}

/// At most so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('~');
    short
}

/// Words on lines of at most `width` characters, all indented, the others a little more than the
/// first.
fn wrap(text: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent);
    let mut is_begun = false;
    for word in text.split(' ') {
        if is_begun && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent + 2)));
        } else if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    lines.push(line);
    lines
}

fn of(is_good: bool) -> Style {
    if is_good { Style::new() } else { bad() }
}

fn bad() -> Style {
    Style::new().fg(Color::Red)
}

#[cfg(test)]
mod tests;
