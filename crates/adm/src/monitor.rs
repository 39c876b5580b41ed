//! `monitor`: every resource of this node on the whole screen, until `q`.
//!
//! The daemon is asked once a second; where it goes away, the last picture stays and says so, and
//! it is looked for again. What is drawn is decided in [`screen`].

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tandem_control::admin::Client;
use tandem_control::exit;

use crate::object::Object;
use crate::output::Failure;
use crate::run::client_failure;
use crate::show::fetch_all;
use screen::{Key, Screen};

mod screen;

/// Often enough to see a change, seldom enough for rates to mean something.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows until it is ended by a key.
pub(crate) fn monitor(run_dir: &Path, node: &str) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let message = "monitor needs a terminal; 'tandemadm status --watch' does not";
        return Err(Failure::new(exit::USAGE, message));
    }
    let client = connect(run_dir)?;
    let failed = |error: std::io::Error| Failure::new(exit::FAILURE, format!("terminal: {error}"));
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let ended = show(&mut terminal, client, run_dir, node);
    ratatui::try_restore().map_err(failed)?;
    ended.map_err(failed)
}

fn show(
    terminal: &mut DefaultTerminal,
    client: Client,
    run_dir: &Path,
    node: &str,
) -> std::io::Result<()> {
    let mut client = Some(client);
    let mut screen = Screen::new(node);
    let began = Instant::now();
    loop {
        look(&mut client, run_dir, &mut screen, began);
        let next = Instant::now() + INTERVAL;
        loop {
            terminal.draw(|frame| screen.draw(frame))?;
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() || !event::poll(left)? {
                break;
            }
            match key(&event::read()?) {
                Some(Key::Quit) => return Ok(()),
                Some(key) => screen.press(key),
                None => {}
            }
        }
    }
}

fn connect(run_dir: &Path) -> Result<Client, Failure> {
    Client::connect(run_dir).map_err(|error| client_failure(&error))
}

/// Asks the daemon how everything is.
fn look(client: &mut Option<Client>, run_dir: &Path, screen: &mut Screen, began: Instant) {
    let everything = [Object::ALL];
    let found = match client {
        Some(client) => fetch_all(client, &everything),
        None => connect(run_dir).and_then(|new| fetch_all(client.insert(new), &everything)),
    };
    match found {
        Ok(resources) => screen.saw(resources, began.elapsed()),
        Err(failure) => {
            *client = None;
            screen.lost(&failure.message);
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most keys are none of ours")]
fn key(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        // The terminal is in raw mode: nobody else makes a signal of it.
        KeyCode::Char('c') if is_control => Some(Key::Quit),
        KeyCode::Char('p') => Some(Key::Problems),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down(1)),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up(1)),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(Key::Down(20)),
        KeyCode::PageUp => Some(Key::Up(20)),
        KeyCode::Home => Some(Key::Up(u16::MAX)),
        _ => None,
    }
}
