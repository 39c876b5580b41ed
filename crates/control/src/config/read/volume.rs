//! Sections `volume`, and volume 0 written without one.

use super::Reader;
use crate::config::MetaDisk;
use crate::config::raw::{Placed, RawDevice, RawVolume, RawVolumes};
use crate::config::table::Section;
use crate::config::tree::{Statement, Word};
use crate::limits;

const VOLUME: &[&str] = &["device", "disk", "meta-disk", "flexible-meta-disk", "tiebreaker"];

impl Reader<'_> {
    /// A section `volume N`.
    pub(super) fn volume(&mut self, statement: &Statement, into: &mut RawVolumes) {
        let Some((word, block)) = self.named_block(statement, "a volume number") else {
            return;
        };
        let Some(number) = self.number(word, limits::VOLUME_MAX, "a volume") else {
            return;
        };
        let number = u16::try_from(number).expect("the limit of volume numbers fits");
        let at = statement.keyword.at;
        let mut volume = RawVolume::new(at);
        for statement in block {
            self.volume_statement(statement, &mut volume);
        }
        if into.explicit.insert(number, volume).is_some() {
            self.diagnostics.error(at, format!("volume {number} is given twice"));
        }
        self.check_mixed(at, into);
    }

    /// A statement of volume 0 outside of any section `volume`.
    pub(super) fn implicit_volume(&mut self, statement: &Statement, into: &mut RawVolumes) {
        let at = statement.keyword.at;
        let volume = into.implicit.get_or_insert_with(|| RawVolume::new(at));
        self.volume_statement(statement, volume);
        self.check_mixed(at, into);
    }

    fn check_mixed(&mut self, at: crate::config::diagnostic::Position, volumes: &RawVolumes) {
        if volumes.implicit.is_some() && !volumes.explicit.is_empty() {
            let message = "a volume without 'volume N' beside one with; use 'volume 0 { ... }'";
            self.diagnostics.error(at, message);
        }
    }

    fn volume_statement(&mut self, statement: &Statement, volume: &mut RawVolume) {
        let keyword = &statement.keyword;
        match keyword.text.as_str() {
            "device" => {
                let Some(device) = self.device(statement) else {
                    return;
                };
                if volume.device.replace(Placed { value: device, at: keyword.at }).is_some() {
                    self.twice(keyword);
                }
            }
            "disk" if statement.block.is_some() => {
                let mut set = std::mem::take(&mut volume.options);
                self.options(statement, Section::Disk, &mut set);
                volume.options = set;
            }
            "disk" => {
                let Some(path) = self.disk(statement) else {
                    return;
                };
                if volume.disk.replace(Placed { value: path, at: keyword.at }).is_some() {
                    self.twice(keyword);
                }
            }
            "meta-disk" | "flexible-meta-disk" => {
                let Some(meta_disk) = self.meta_disk(statement) else {
                    return;
                };
                if volume.meta_disk.replace(Placed { value: meta_disk, at: keyword.at }).is_some() {
                    self.twice(keyword);
                }
            }
            "tiebreaker" => self.tiebreaker(statement, volume),
            "skip" => {}
            _ => self.unknown(keyword, "in 'volume'", VOLUME),
        }
    }

    /// `device ( /dev/drbdN | [NAME] minor N )`.
    fn device(&mut self, statement: &Statement) -> Option<RawDevice> {
        let words = self.values(statement, "'/dev/drbdN' or 'minor N'")?;
        let (name, minor) = match words {
            [minor, number] if minor.text == "minor" => (None, Some(number)),
            [name, minor, number] if minor.text == "minor" => (Some(name), Some(number)),
            [name] => (Some(name), None),
            [_, extra, ..] => {
                self.diagnostics.error(extra.at, format!("'minor' expected, not '{}'", extra.text));
                return None;
            }
            [] => return None,
        };
        let in_name = name.and_then(|name| name.text.strip_prefix("/dev/drbd"));
        let in_name: Option<u32> = in_name.and_then(|digits| digits.parse().ok());
        let minor = match (minor, name, in_name) {
            (Some(word), _, _) => self.minor(word)?,
            (None, _, Some(minor)) if u64::from(minor) <= limits::MINOR_MAX => minor,
            (None, Some(name), _) => {
                let message = format!("'minor N' expected: '{}' does not say it", name.text);
                self.diagnostics.error(name.at, message);
                return None;
            }
            (None, None, _) => return None,
        };
        if let Some(name) = name
            && in_name.is_some_and(|in_name| in_name != minor)
        {
            let message = format!("'{}' cannot have minor {minor}", name.text);
            self.diagnostics.error(name.at, message);
            return None;
        }
        let name = name.map_or_else(|| format!("/dev/drbd{minor}"), |name| name.text.clone());
        Some(RawDevice { name, minor })
    }

    fn minor(&mut self, word: &Word) -> Option<u32> {
        let minor = self.number(word, limits::MINOR_MAX, "a minor")?;
        Some(u32::try_from(minor).expect("the limit of minors fits"))
    }

    /// `disk ( PATH | none )`.
    fn disk(&mut self, statement: &Statement) -> Option<Option<String>> {
        let word = self.one_value(statement, "a device or file, or 'none'")?;
        if word.text == "none" { Some(None) } else { self.path(word).map(Some) }
    }

    fn tiebreaker(&mut self, statement: &Statement, volume: &mut RawVolume) {
        let keyword = &statement.keyword;
        let Some(word) = self.one_value(statement, "'yes' or 'no'") else {
            return;
        };
        match word.text.as_str() {
            "yes" => volume.tiebreaker = Some(true),
            "no" => {
                volume.tiebreaker = Some(false);
                let message = "'tiebreaker no' has no effect: there is no quorum yet";
                self.diagnostics.warn_once("tiebreaker", keyword.at, message);
            }
            other => {
                let message = format!("'{other}' for 'tiebreaker': 'yes' or 'no' expected");
                self.diagnostics.error(word.at, message);
            }
        }
    }

    fn path(&mut self, word: &Word) -> Option<String> {
        if !word.text.starts_with('/') {
            let message = format!("'{}': an absolute path expected", word.text);
            self.diagnostics.error(word.at, message);
            return None;
        }
        Some(word.text.clone())
    }

    /// `meta-disk ( internal | PATH | PATH[N] )`, with or without white space in it; a flexible one
    /// is never a slot.
    fn meta_disk(&mut self, statement: &Statement) -> Option<MetaDisk> {
        let (word, slot) = match self.values(statement, "'internal' or a device")? {
            [word] if word.text == "internal" => return Some(MetaDisk::Internal),
            [word] => (word, String::new()),
            [word, slot, ..] if word.text.contains('[') || slot.text.starts_with('[') => {
                (word, statement.values[1..].iter().map(|word| word.text.as_str()).collect())
            }
            [_, extra, ..] => {
                self.diagnostics.error(extra.at, format!("';' expected, not '{}'", extra.text));
                return None;
            }
            [] => return None,
        };
        let text = format!("{}{slot}", word.text);
        let (path, slot) = match text.split_once('[') {
            Some((path, slot)) => (path, Some(slot)),
            None => (text.as_str(), None),
        };
        let path = self.path(&Word { text: path.to_owned(), ..word.clone() })?;
        let Some(slot) = slot else {
            return Some(MetaDisk::External { path: path.into(), index: None });
        };
        let index = slot.strip_suffix(']').and_then(|digits| digits.parse::<u32>().ok());
        if index.is_none() {
            self.diagnostics.error(word.at, format!("'[{slot}' is no slot, expected is [N]"));
        } else if statement.keyword.text == "flexible-meta-disk" {
            let message = "a 'flexible-meta-disk' has no slots; 'meta-disk' has";
            self.diagnostics.error(word.at, message);
        }
        index.map(|index| MetaDisk::External { path: path.into(), index: Some(index) })
    }
}
