//! Sections `connection` and `connection-mesh`.

use std::collections::BTreeMap;

use super::Reader;
use crate::config::options::PlacedSet;
use crate::config::raw::{EndAddress, Placed, RawConnection, RawEnd, RawMesh};
use crate::config::table::Section;
use crate::config::tree::{Statement, Word};
use crate::limits;

const CONNECTION: &[&str] = &["host", "path", "net", "disk", "volume"];

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
        let mut connection = RawConnection {
            at: keyword.at,
            ends: Vec::new(),
            net: PlacedSet::new(),
            disk: PlacedSet::new(),
            volumes: BTreeMap::new(),
        };
        for statement in block {
            self.connection_statement(statement, &mut connection);
        }
        if connection.ends.len() != 2 {
            let message = format!("two 'host' expected in a path, not {}", connection.ends.len());
            self.diagnostics.error(keyword.at, message);
            return None;
        }
        Some(connection)
    }

    fn connection_statement(&mut self, statement: &Statement, connection: &mut RawConnection) {
        let keyword = &statement.keyword;
        match keyword.text.as_str() {
            "host" => connection.ends.extend(self.end(statement)),
            "path" if connection.ends.len() >= 2 => {
                let message = "a second path is not supported yet";
                self.diagnostics.error(keyword.at, message);
            }
            "path" => {
                let Some(block) = self.block(statement) else {
                    return;
                };
                for host in block {
                    if host.keyword.text == "host" {
                        connection.ends.extend(self.end(host));
                    } else {
                        self.unknown(&host.keyword, "in 'path'", &["host"]);
                    }
                }
            }
            "net" => self.options(statement, Section::Net, &mut connection.net),
            "disk" => self.options(statement, Section::PeerDisk, &mut connection.disk),
            "volume" => self.connection_volume(statement, connection),
            "skip" => {}
            _ => self.unknown(keyword, "in 'connection'", CONNECTION),
        }
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

    /// `host NAME [ address ADDRESS | port N ]`.
    fn end(&mut self, statement: &Statement) -> Option<RawEnd> {
        let (host, rest) = self.values(statement, "a host name")?.split_first()?;
        let address = match rest {
            [] => EndAddress::OfHost,
            [keyword, words @ ..] if keyword.text == "address" && !words.is_empty() => {
                EndAddress::Own(Placed { value: self.address(words)?, at: words[0].at })
            }
            [keyword, port] if keyword.text == "port" => EndAddress::Port(self.port(port)?),
            [keyword, ..] => {
                self.unknown(keyword, "behind a host", &["address", "port"]);
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
                _ => self.unknown(keyword, "in 'connection-mesh'", &["hosts", "net"]),
            }
        }
        if hosts.is_none() {
            self.diagnostics.error(statement.keyword.at, "'hosts' expected in 'connection-mesh'");
        }
        Some(RawMesh { hosts: hosts?, net })
    }
}
