//! Sections `on` and `floating`.

use super::Reader;
use crate::config::raw::{Placed, RawHost};
use crate::config::table::Section;
use crate::config::tree::{Statement, Word};

const HOST: &[&str] = &[
    "node-id",
    "address",
    "volume",
    "device",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "options",
    "proxy",
];

impl Reader<'_> {
    /// A section `on NAME ...`: one machine, whatever it calls itself.
    pub(super) fn host(&mut self, statement: &Statement) -> Option<RawHost> {
        let (keyword, names) = (&statement.keyword, &statement.values);
        let Some(last) = names.last() else {
            self.diagnostics.error(keyword.at, "a host name expected behind 'on'");
            return None;
        };
        let Some(block) = &statement.block else {
            let message = format!("'{{' expected behind 'on {}'", last.text);
            self.diagnostics.error(last.at, message);
            return None;
        };
        for name in names {
            self.check_name(name, "host name");
        }
        let mut host = RawHost::new(names.clone());
        for statement in block {
            self.host_statement(statement, &mut host);
        }
        Some(host)
    }

    /// `floating ADDRESS ( ; | { ... } )`: whatever machine has the address.
    pub(super) fn floating(&mut self, statement: &Statement) -> Option<RawHost> {
        let Some(first) = statement.values.first() else {
            self.diagnostics.error(statement.keyword.at, "an address expected behind 'floating'");
            return None;
        };
        let value = self.address(&statement.values)?;
        let plain = format!("{}:{}", value.ip(), value.port());
        let name = plain.replace(|c: char| !c.is_ascii_alphanumeric() && !"+._-".contains(c), "_");
        let mut host = RawHost::new(vec![Word { text: name, ..first.clone() }]);
        host.floating = true;
        host.address = Some(Placed { value, at: first.at });
        for statement in statement.block.iter().flatten() {
            if statement.keyword.text == "address" {
                let message = "no 'address' in 'floating': its own is the address";
                self.diagnostics.error(statement.keyword.at, message);
            } else {
                self.host_statement(statement, &mut host);
            }
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
            "device" | "disk" | "meta-disk" | "flexible-meta-disk" => {
                self.implicit_volume(statement, &mut host.volumes);
            }
            "options" => {
                let mut set = std::mem::take(&mut host.options);
                self.options(statement, Section::Options, &mut set);
                host.options = set;
            }
            "proxy" => self.proxy_on(keyword, &statement.values, statement),
            "skip" => {}
            _ => self.unknown(keyword, "in 'on'", HOST),
        }
    }
}
