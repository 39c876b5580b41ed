//! Sections `connection` and `connection-mesh`.

use std::collections::BTreeMap;

use super::Reader;
use crate::config::options::PlacedSet;
use crate::config::raw::{EndAddress, Placed, RawConnection, RawEnd, RawMesh, RawPath};
use crate::config::table::Section;
use crate::config::tree::{Statement, Word};
use crate::limits;

const CONNECTION: &[&str] = &["host", "address", "path", "net", "disk", "volume"];

impl Reader<'_> {
    /// A section `connection`.
    pub(super) fn connection(&mut self, statement: &Statement) -> Option<RawConnection> {
        let keyword = &statement.keyword;
        let Some(block) = &statement.block else {
            self.diagnostics.error(keyword.at, "'{' expected behind 'connection'");
            return None;
        };
        if let [_, extra, ..] = statement.values.as_slice() {
            self.diagnostics.error(extra.at, format!("'{{' expected, not '{}'", extra.text));
            return None;
        }
        if let [name] = statement.values.as_slice() {
            let message = "the name of a connection has no effect: it is called as its peer is";
            self.diagnostics.warn_once("connection", name.at, message);
        }
        let mut connection = RawConnection {
            at: keyword.at,
            paths: Vec::new(),
            net: PlacedSet::new(),
            disk: PlacedSet::new(),
            volumes: BTreeMap::new(),
        };
        let mut bare = Vec::new();
        let mut is_good = true;
        for statement in block {
            match statement.keyword.text.as_str() {
                "host" | "address" => bare.extend(self.end(statement)),
                "path" => match self.path_section(statement) {
                    Some(path) => connection.paths.push(path),
                    None => is_good = false,
                },
                _ => self.connection_statement(statement, &mut connection),
            }
        }
        if !bare.is_empty() && !connection.paths.is_empty() {
            let message = "a connection has either 'host' or 'path { ... }', not both";
            self.diagnostics.error(bare[0].host.at, message);
            return None;
        }
        if is_good && connection.paths.is_empty() {
            connection.paths.push(self.two_ends(keyword, bare)?);
        }
        is_good.then_some(connection)
    }

    fn connection_statement(&mut self, statement: &Statement, connection: &mut RawConnection) {
        match statement.keyword.text.as_str() {
            "net" => self.options(statement, Section::Net, &mut connection.net),
            "disk" => self.options(statement, Section::PeerDisk, &mut connection.disk),
            "volume" => self.connection_volume(statement, connection),
            "skip" => {}
            _ => self.unknown(&statement.keyword, "in 'connection'", CONNECTION),
        }
    }

    /// `path { host ...; host ...; }`.
    fn path_section(&mut self, statement: &Statement) -> Option<RawPath> {
        let mut ends = Vec::new();
        for host in self.block(statement)? {
            match host.keyword.text.as_str() {
                "host" | "address" => ends.extend(self.end(host)),
                _ => self.unknown(&host.keyword, "in 'path'", &["host", "address"]),
            }
        }
        self.two_ends(&statement.keyword, ends)
    }

    fn two_ends(&mut self, keyword: &Word, ends: Vec<RawEnd>) -> Option<RawPath> {
        let count = ends.len();
        let Ok(ends) = ends.try_into() else {
            let message = format!("two 'host' expected in a path, not {count}");
            self.diagnostics.error(keyword.at, message);
            return None;
        };
        Some(RawPath { at: keyword.at, ends })
    }

    fn connection_volume(&mut self, statement: &Statement, connection: &mut RawConnection) {
        let Some((word, block)) = self.named_block(statement, "a volume number") else {
            return;
        };
        let Some(number) = self.number(word, limits::VOLUME_MAX, "a volume") else {
            return;
        };
        let number = u16::try_from(number).expect("the limit of volume numbers fits");
        let mut set = PlacedSet::new();
        for statement in block {
            if statement.keyword.text == "disk" {
                self.options(statement, Section::PeerDisk, &mut set);
            } else {
                self.unknown(&statement.keyword, "in a connection's 'volume'", &["disk"]);
            }
        }
        if connection.volumes.insert(number, (word.at, set)).is_some() {
            self.diagnostics.error(word.at, format!("volume {number} is given twice"));
        }
    }

    /// `host NAME [ address ADDRESS | port N ] [ via ... ]`, or `address ADDRESS` of a floating
    /// host.
    fn end(&mut self, statement: &Statement) -> Option<RawEnd> {
        let keyword = &statement.keyword;
        let via = statement.values.iter().position(|word| word.text == "via");
        let words = match via {
            Some(index) => {
                self.via(&statement.values[index..], statement);
                &statement.values[..index]
            }
            None => self.values(statement, "a host name")?,
        };
        if keyword.text == "address" {
            let first = words.first()?;
            let value = self.address(words)?;
            let host = Word { text: value.to_string(), ..first.clone() };
            return Some(RawEnd { host, address: EndAddress::Own(Placed { value, at: first.at }) });
        }
        let Some((host, rest)) = words.split_first() else {
            self.diagnostics.error(keyword.at, "a host name expected behind 'host'");
            return None;
        };
        let address = match rest {
            [] => EndAddress::OfHost,
            [keyword, words @ ..] if keyword.text == "address" && !words.is_empty() => {
                EndAddress::Own(Placed { value: self.address(words)?, at: words[0].at })
            }
            [keyword, port] if keyword.text == "port" => EndAddress::Port(self.port(port)?),
            [keyword, ..] => {
                self.unknown(keyword, "behind a host", &["address", "port", "via"]);
                return None;
            }
        };
        Some(RawEnd { host: host.clone(), address })
    }

    /// A section `connection-mesh`.
    pub(super) fn mesh(&mut self, statement: &Statement) -> Option<RawMesh> {
        let block = self.block(statement)?;
        let mut hosts: Option<Vec<Word>> = None;
        let mut net = PlacedSet::new();
        for statement in block {
            let keyword = &statement.keyword;
            match keyword.text.as_str() {
                "hosts" => {
                    let Some(words) = self.values(statement, "host names") else {
                        continue;
                    };
                    if hosts.replace(words.to_vec()).is_some() {
                        self.twice(keyword);
                    }
                }
                "net" => self.options(statement, Section::Net, &mut net),
                "skip" => {}
                _ => self.unknown(keyword, "in 'connection-mesh'", &["hosts", "net"]),
            }
        }
        if hosts.is_none() {
            self.diagnostics.error(statement.keyword.at, "'hosts' expected in 'connection-mesh'");
        }
        Some(RawMesh { hosts: hosts?, net })
    }
}
