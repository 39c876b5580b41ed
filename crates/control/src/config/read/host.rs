//! Sections `on`.

use super::Reader;
use crate::config::options::PlacedSet;
use crate::config::raw::{Placed, RawHost, RawVolumes};
use crate::config::table::Section;
use crate::config::tree::Statement;

const HOST: &[&str] = &["node-id", "address", "volume", "device", "disk", "meta-disk", "options"];

impl Reader<'_> {
    /// A section `on NAME`.
    pub(super) fn host(&mut self, statement: &Statement) -> Option<RawHost> {
        if let [_, second, ..] = statement.values.as_slice() {
            let message = "several names in one 'on' are not supported yet, '{' expected";
            self.diagnostics.error(second.at, message);
            return None;
        }
        let (name, block) = self.named_block(statement, "a host name")?;
        self.check_name(name, "host name");
        let mut host = RawHost {
            name: name.clone(),
            node_id: None,
            address: None,
            options: PlacedSet::new(),
            volumes: RawVolumes::default(),
        };
        for statement in block {
            self.host_statement(statement, &mut host);
        }
        Some(host)
    }

    fn host_statement(&mut self, statement: &Statement, host: &mut RawHost) {
        let keyword = &statement.keyword;
        match keyword.text.as_str() {
            "node-id" => {
                let Some(word) = self.one_value(statement, "a node number") else {
                    return;
                };
                let Some(number) = self.number(word, 31, "a node-id") else {
                    return;
                };
                let value = u8::try_from(number).expect("31 fits");
                if host.node_id.replace(Placed { value, at: word.at }).is_some() {
                    self.twice(keyword);
                }
            }
            "address" => {
                let Some(words) = self.values(statement, "an address") else {
                    return;
                };
                let Some(value) = self.address(words) else {
                    return;
                };
                if host.address.replace(Placed { value, at: words[0].at }).is_some() {
                    self.twice(keyword);
                }
            }
            "volume" => self.volume(statement, &mut host.volumes),
            "disk" if statement.block.is_some() => {
                let message = "options of disks stand in 'volume' or 'resource', not in 'on'";
                self.diagnostics.error(keyword.at, message);
            }
            "device" | "disk" | "meta-disk" => self.implicit_volume(statement, &mut host.volumes),
            "options" => {
                let mut set = std::mem::take(&mut host.options);
                self.options(statement, Section::Options, &mut set);
                host.options = set;
            }
            "skip" => {}
            _ => self.unknown(keyword, "in 'on'", HOST),
        }
    }
}
