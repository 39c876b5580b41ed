//! `events2`: how resources are, then how they change, a line each, until it is interrupted.
//!
//! The daemon tells every state in its order; what has changed is found here.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use tandem_control::admin::{Client, Refresher, Response, Sighted, Watch};
use tandem_control::events::{Appearance, EventOptions, event_lines};
use tandem_control::exit;
use tandem_control::status::ResourceStatus;

use crate::output::Failure;
use crate::run::client_failure;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) lines: EventOptions,
    /// The time before each line.
    pub(crate) timestamps: bool,
    /// Not the changes.
    pub(crate) now: bool,
    /// `n` on standard input asks for everything again.
    pub(crate) poll: bool,
}

/// Prints until it is interrupted, or its reader or its daemon is gone.
pub(crate) fn events(
    client: Client,
    resource: Option<&str>,
    wanted: Wanted,
) -> Result<(), Failure> {
    let mut watch = client.watch(resource).map_err(|error| client_failure(&error))?;
    let mut printer = Printer::new(wanted);
    if wanted.poll && !wanted.now {
        let refresher = watch.refresher().map_err(|error| client_failure(&error))?;
        std::thread::spawn(move || poll(refresher));
    }
    loop {
        if !printer.print_until_settled(&mut watch)? {
            return Ok(());
        }
        if !wanted.now {
            continue;
        }
        if !wanted.poll || !is_asked_again() {
            return Ok(());
        }
        printer = Printer::new(wanted);
        let mut refresher = watch.refresher().map_err(|error| client_failure(&error))?;
        if refresher.refresh().is_err() {
            return Ok(());
        }
    }
}

/// Asks again whenever that is wanted, and ends the program when it is not.
fn poll(mut refresher: Refresher) {
    while is_asked_again() {
        if refresher.refresh().is_err() {
            break;
        }
    }
    std::process::exit(i32::from(exit::OK));
}

/// Waits for a word on standard input.
fn is_asked_again() -> bool {
    for byte in std::io::stdin().lock().bytes() {
        match byte {
            Ok(b'n') => return true,
            Ok(b'\n') => {}
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

struct Printer {
    wanted: Wanted,
    known: BTreeMap<String, ResourceStatus>,
    appearance: Appearance,
}

impl Printer {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, known: BTreeMap::new(), appearance: Appearance::Exists }
    }

    /// Prints what comes until everything has been told once; whether somebody reads on.
    fn print_until_settled(&mut self, watch: &mut Watch) -> Result<bool, Failure> {
        loop {
            let (lines, settled) = match watch.wait().map_err(|error| client_failure(&error))? {
                Response::Sighted(sighted) => self.lines(*sighted),
                Response::Refused(refusal) => {
                    return Err(Failure::new(exit::FAILURE, refusal.message));
                }
                Response::Hello(_)
                | Response::Done
                | Response::Status(_)
                | Response::Progress(_)
                | Response::Running(_) => {
                    return Err(Failure::new(exit::FAILURE, "the daemon tells something else"));
                }
            };
            if !self.print(&lines) {
                return Ok(false);
            }
            if settled {
                return Ok(true);
            }
        }
    }

    fn lines(&mut self, sighted: Sighted) -> (Vec<String>, bool) {
        let options = self.wanted.lines;
        match sighted {
            Sighted::State(new) => {
                let old = self.known.get(&new.name);
                let lines = event_lines(old, Some(&new), self.appearance, options);
                self.known.insert(new.name.clone(), new);
                (lines, false)
            }
            Sighted::Gone(name) => {
                let old = self.known.remove(&name);
                (event_lines(old.as_ref(), None, self.appearance, options), false)
            }
            Sighted::Settled if self.appearance == Appearance::Exists => {
                self.appearance = Appearance::Create;
                (vec!["exists -".to_owned()], true)
            }
            Sighted::Settled => (Vec::new(), true),
        }
    }

    /// Prints what belongs together in one go; whether somebody has taken it.
    fn print(&self, lines: &[String]) -> bool {
        if lines.is_empty() {
            return true;
        }
        let time =
            if self.wanted.timestamps { timestamp(SystemTime::now()) } else { String::new() };
        let text: String = lines.iter().map(|line| format!("{time}{line}\n")).collect();
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
    }
}

/// In universal time, as DRBD writes it, with a space behind it.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00 ")
}

/// Year, month and day of the day that is so many after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    loop {
        let of_year = 365 + u64::from(is_leap(year));
        if left < of_year {
            break;
        }
        (year, left) = (year + 1, left - of_year);
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for of_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < of_month {
            break;
        }
        (month, left) = (month + 1, left - of_month);
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::timestamp;

    #[test]
    fn a_time_is_written_as_drbd_writes_it() {
        let at = |seconds, micros| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros)
        };
        assert_eq!(timestamp(at(0, 0)), "1970-01-01T00:00:00.000000+00:00 ");
        assert_eq!(timestamp(at(951_827_696, 7)), "2000-02-29T12:34:56.000007+00:00 ");
        assert_eq!(timestamp(at(1_795_744_425, 123_456)), "2026-11-27T01:53:45.123456+00:00 ");
        assert_eq!(timestamp(at(1_798_761_599, 0)), "2026-12-31T23:59:59.000000+00:00 ");
    }
}
