//! The arguments of drbdsetup: words and long options, in any order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use tandem_control::config::{self, OptionTexts, PartOptions};
use tandem_control::secret::Secret;
use tandem_control::{Minor, NodeId, VolumeNumber};

use super::usage;
use crate::cli::sectors;
use crate::output::Failure;
use crate::personality::texts;

/// Options that may stand without a value: they mean `yes` then.
const FLAGS: &[&str] = &[
    "help",
    "diskless",
    "set-defaults",
    "force",
    "overwrite-data-of-peer",
    "discard-my-data",
    "tentative",
    "assume-clean",
    "assume-peer-has-space",
    "reset-bitmap",
    "clear-bitmap",
    "force-resync",
    "bdev-freeze",
    "wait-after-sb",
    "verbose",
    "statistics",
    "json",
    "show-defaults",
    "timestamps",
    "now",
    "poll",
    "full",
    "color",
    "diff",
];

/// Letters that stand for options.
const LETTERS: &[(&str, &str)] =
    &[("-v", "verbose"), ("-s", "statistics"), ("-j", "json"), ("-D", "show-defaults")];

/// Arguments that have not been taken yet.
#[derive(Debug, Default)]
pub(super) struct Words {
    plain: std::collections::VecDeque<String>,
    options: BTreeMap<String, String>,
}

impl Words {
    pub(super) fn sort(arguments: &[OsString]) -> Result<Self, Failure> {
        let mut words = Self::default();
        let mut left = texts(arguments)?.into_iter().peekable();
        while let Some(text) = left.next() {
            if text.is_empty() {
                return Err(usage("'' is no argument of any command"));
            }
            if let Some((_, name)) = LETTERS.iter().find(|(letter, _)| *letter == text) {
                words.options.insert((*name).to_owned(), "yes".to_owned());
                continue;
            }
            let Some(option) = text.strip_prefix("--").filter(|option| !option.is_empty()) else {
                words.plain.push_back(text.to_owned());
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if FLAGS.contains(&option) || config::is_flag(option) => {
                    (option, "yes".to_owned())
                }
                None if option == "dry-run" => {
                    return Err(usage("'--dry-run' is not there, nothing was done"));
                }
                None => {
                    let value = left.next_if(|next| !next.starts_with("--"));
                    let missing = || usage(&format!("option '{text}' requires an argument"));
                    (option, value.ok_or_else(missing)?.to_owned())
                }
            };
            words.options.insert(name.to_owned(), value);
        }
        Ok(words)
    }

    /// The next word, if there is one.
    pub(super) fn next(&mut self) -> Option<String> {
        self.plain.pop_front()
    }

    /// The next word, which is called `name`.
    pub(super) fn word(&mut self, name: &str) -> Result<String, Failure> {
        self.next().ok_or_else(|| usage(&format!("Missing argument: {name}")))
    }

    /// How many words are left.
    pub(super) fn left(&self) -> usize {
        self.plain.len()
    }

    pub(super) fn peer(&mut self) -> Result<NodeId, Failure> {
        self.number("peer_node_id", NodeId)
    }

    pub(super) fn volume(&mut self) -> Result<VolumeNumber, Failure> {
        self.number("volume", VolumeNumber)
    }

    /// `N`, `minor-N` or `/dev/drbdN`.
    pub(super) fn minor(&mut self) -> Result<Minor, Failure> {
        let word = self.word("minor")?;
        let digits = word.strip_prefix("/dev/drbd").or_else(|| word.strip_prefix("minor-"));
        let number = digits.unwrap_or(&word).parse();
        number.map(Minor).map_err(|_| usage(&format!("Cannot determine minor device of '{word}'")))
    }

    /// `ipv4:1.2.3.4:7789` or `ipv6:[::1]:7789`.
    pub(super) fn address(&mut self, name: &str) -> Result<SocketAddr, Failure> {
        let word = self.word(name)?;
        let address = word.strip_prefix("ipv4:").or_else(|| word.strip_prefix("ipv6:"));
        let wrong = || usage(&format!("'{word}' is no address: ipv4:A.B.C.D:PORT expected"));
        address.unwrap_or(&word).parse().map_err(|_| wrong())
    }

    /// The number that the next word is.
    pub(super) fn number<N: std::str::FromStr, T>(
        &mut self,
        name: &str,
        of: impl FnOnce(N) -> T,
    ) -> Result<T, Failure> {
        let word = self.word(name)?;
        word.parse().map(of).map_err(|_| usage(&format!("'{word}' for {name}: no such number")))
    }

    /// Whether an option is there that is a flag.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Failure> {
        Ok(self.choice(name)?.unwrap_or(false))
    }

    /// Whether an option says yes or no.
    pub(super) fn choice(&mut self, name: &str) -> Result<Option<bool>, Failure> {
        match self.options.remove(name).as_deref() {
            None => Ok(None),
            Some("no") => Ok(Some(false)),
            Some("yes") => Ok(Some(true)),
            Some(other) => Err(usage(&format!("--{name}={other}: 'yes' or 'no' expected"))),
        }
    }

    /// The value of an option.
    pub(super) fn option(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }

    /// The place on a volume that an option names, in bytes.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.option(name) else { return Ok(None) };
        sectors(&text).map(Some).map_err(|error| usage(&format!("--{name}={text}: {error}")))
    }

    /// The time that an option gives in seconds; `None` for ever.
    pub(super) fn timeout(&mut self, name: &str) -> Result<Option<Duration>, Failure> {
        let Some(text) = self.option(name) else { return Ok(None) };
        let seconds = text.parse();
        let seconds = seconds.map_err(|_| usage(&format!("--{name}={text}: seconds expected")))?;
        Ok(Some(Duration::from_secs(seconds)).filter(|timeout| !timeout.is_zero()))
    }

    /// Everything that is left of the options.
    pub(super) fn part_options(&mut self) -> Result<PartOptions, Failure> {
        let set_defaults = self.flag("set-defaults")?;
        let options = std::mem::take(&mut self.options).into_iter();
        let texts: OptionTexts = options.map(|(name, text)| (name, Secret::new(text))).collect();
        Ok(PartOptions { texts, set_defaults })
    }

    /// Refuses what nobody has taken.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        if let Some(word) = self.plain.front() {
            return Err(usage(&format!("Excess arguments: '{word}'")));
        }
        match self.options.keys().next() {
            Some(name) => Err(usage(&format!("unrecognized option '--{name}'"))),
            None => Ok(()),
        }
    }
}
