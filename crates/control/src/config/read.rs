//! Statements to sections: which keyword may stand where, and what its values may be.
//!
//! Reading goes on after an error. What is part of DRBD's language is read whether it is there or
//! not; what is not is refused by name, so that nobody takes it for a typing error.

mod connection;
mod host;
mod legacy;
mod value;
mod volume;

use super::diagnostic::{Diagnostics, Position};
use super::options::{self, PlacedSet, closest};
use super::raw::{RawBody, RawConfig, RawResource};
use super::table::{HANDLERS, Section};
use super::tree::{Statement, Word};

/// Reads the statements of all files.
pub(super) fn read(statements: &[Statement], diagnostics: &mut Diagnostics) -> RawConfig {
    let mut reader = Reader { global: None, diagnostics };
    let mut config = RawConfig::default();
    for statement in statements {
        reader.top(statement, &mut config);
    }
    config
}

const TOP: &[&str] = &["global", "common", "resource", "include", "skip"];

/// What stands in the file of a `template-file`.
pub(super) const TEMPLATE: &str = "common";

const BODY: &[&str] = &[
    "on",
    "floating",
    "stacked-on-top-of",
    "volume",
    "device",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "net",
    "options",
    "startup",
    "handlers",
    "connection",
    "connection-mesh",
    "protocol",
    "template-file",
    "syncer",
    "proxy",
];

struct Reader<'a> {
    /// Where section `global` is.
    global: Option<Position>,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn top(&mut self, statement: &Statement, config: &mut RawConfig) {
        let keyword = &statement.keyword;
        match keyword.text.as_str() {
            "global" => {
                if let Some(first) = self.global.replace(keyword.at) {
                    let first = self.diagnostics.place(first);
                    let message = format!("second section 'global', the first is at {first}");
                    return self.diagnostics.error(keyword.at, message);
                }
                let mut set = std::mem::take(&mut config.global);
                self.options(statement, Section::Global, &mut set);
                config.global = set;
            }
            "common" => {
                let Some(block) = self.block(statement) else {
                    return;
                };
                if let Some(first) = &config.common {
                    let first = self.diagnostics.place(first.at);
                    let message = format!("second section 'common', the first is at {first}");
                    return self.diagnostics.error(keyword.at, message);
                }
                let mut body = RawBody::new(keyword.at);
                self.body(block, &mut body, "common");
                self.no_hosts_in_common(&body);
                config.common = Some(body);
            }
            "resource" => {
                let Some((name, block)) = self.named_block(statement, "a resource name") else {
                    return;
                };
                self.check_name(name, "resource name");
                let mut body = RawBody::new(keyword.at);
                self.body(block, &mut body, "resource");
                config.resources.push(RawResource { name: name.clone(), body });
            }
            "skip" => {}
            _ if self.module_version(statement) => {}
            _ => self.unknown(keyword, "at top level", TOP),
        }
    }

    fn body(&mut self, block: &[Statement], body: &mut RawBody, section: &str) {
        for statement in block {
            let keyword = &statement.keyword;
            match keyword.text.as_str() {
                "on" => body.hosts.extend(self.host(statement)),
                "floating" => body.hosts.extend(self.floating(statement)),
                "stacked-on-top-of" => self.stacked(statement, body),
                "volume" => self.volume(statement, &mut body.volumes),
                "disk" if statement.block.is_some() => self.disk_section(statement, body),
                "device" | "disk" | "meta-disk" | "flexible-meta-disk" => {
                    self.implicit_volume(statement, &mut body.volumes);
                }
                "net" => self.options(statement, Section::Net, &mut body.net),
                "protocol" => {
                    options::read(statement, Section::Net, &mut body.net, self.diagnostics);
                }
                "options" => self.options(statement, Section::Options, &mut body.options),
                "startup" => self.options(statement, Section::Startup, &mut body.startup),
                "handlers" => self.handlers(statement, body),
                "connection" => body.connections.extend(self.connection(statement)),
                "connection-mesh" => body.meshes.extend(self.mesh(statement)),
                "syncer" => self.syncer(statement, body),
                "proxy" => self.proxy(statement),
                "template-file" if section == "resource" => self.template(statement, body),
                "template-file" => {
                    let message = format!("no 'template-file' in '{section}', only in 'resource'");
                    self.diagnostics.error(keyword.at, message);
                }
                "skip" => {}
                _ => self.unknown(keyword, &format!("in '{section}'"), BODY),
            }
        }
    }

    /// `template-file FILE`, with what is in the file as its block.
    fn template(&mut self, statement: &Statement, body: &mut RawBody) {
        let keyword = &statement.keyword;
        let Some(block) = &statement.block else {
            return;
        };
        let mut template = RawBody::new(keyword.at);
        self.body(block, &mut template, TEMPLATE);
        self.no_hosts_in_common(&template);
        if body.template.replace(Box::new(template)).is_some() {
            self.twice(keyword);
        }
    }

    fn no_hosts_in_common(&mut self, body: &RawBody) {
        let hosts = body.hosts.iter();
        let hosts = hosts.map(|host| (if host.floating { "floating" } else { "on" }, host.at()));
        let hosts = hosts.chain(body.stacked.map(|at| ("stacked-on-top-of", at)));
        let connections = body.connections.iter().map(|found| ("connection", found.at));
        let explicit = body.volumes.explicit.values();
        let volumes = explicit.chain(&body.volumes.implicit).map(|found| ("volume", found.at));
        let meshes = body.meshes.iter().filter_map(|mesh| mesh.hosts.first());
        let meshes = meshes.map(|host| ("connection-mesh", host.at));
        for (what, at) in hosts.chain(connections).chain(volumes).chain(meshes) {
            self.diagnostics.error(at, format!("no '{what}' in section 'common'"));
        }
    }

    fn handlers(&mut self, statement: &Statement, body: &mut RawBody) {
        let Some(block) = self.block(statement) else {
            return;
        };
        for handler in block {
            let keyword = &handler.keyword;
            let name = keyword.text.as_str();
            let Some((_, happens)) = HANDLERS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = HANDLERS.iter().map(|(known, _)| *known).collect();
                self.unknown(keyword, "in 'handlers'", &known);
                continue;
            };
            let Some(command) = self.one_value(handler, "a command") else {
                continue;
            };
            if body.handlers.insert(name.to_owned(), command.text.clone()).is_some() {
                self.diagnostics.error(keyword.at, format!("handler '{name}' is set twice"));
            }
            if !happens {
                let message = format!("handler '{name}' has no effect: there is no such event yet");
                self.diagnostics.warn_once(name, keyword.at, message);
            }
        }
    }

    fn options(&mut self, statement: &Statement, section: Section, into: &mut PlacedSet) {
        let Some(block) = self.block(statement) else {
            return;
        };
        for option in block {
            options::read(option, section, into, self.diagnostics);
        }
    }

    /// The block of a statement that has no values.
    fn block<'s>(&mut self, statement: &'s Statement) -> Option<&'s [Statement]> {
        let keyword = &statement.keyword;
        if let Some(value) = statement.values.first() {
            let message = format!("'{{' expected behind '{}', not '{}'", keyword.text, value.text);
            self.diagnostics.error(value.at, message);
            return None;
        }
        if statement.block.is_none() {
            let message = format!("'{{' expected behind '{}', not ';'", keyword.text);
            self.diagnostics.error(keyword.at, message);
        }
        statement.block.as_deref()
    }

    /// The value and the block of a statement that has one of each.
    fn named_block<'s>(
        &mut self,
        statement: &'s Statement,
        what: &str,
    ) -> Option<(&'s Word, &'s [Statement])> {
        let keyword = &statement.keyword;
        let Some(name) = statement.values.first() else {
            let message = format!("{what} expected behind '{}'", keyword.text);
            self.diagnostics.error(keyword.at, message);
            return None;
        };
        if let Some(extra) = statement.values.get(1) {
            self.diagnostics.error(extra.at, format!("'{{' expected, not '{}'", extra.text));
            return None;
        }
        let Some(block) = &statement.block else {
            let message = format!("'{{' expected behind '{} {}'", keyword.text, name.text);
            self.diagnostics.error(name.at, message);
            return None;
        };
        Some((name, block))
    }

    /// The values of a statement that has at least one and no block.
    fn values<'s>(&mut self, statement: &'s Statement, what: &str) -> Option<&'s [Word]> {
        let keyword = &statement.keyword;
        if statement.block.is_some() {
            let message = format!("'{}' has no block, {what} and ';' expected", keyword.text);
            self.diagnostics.error(keyword.at, message);
            return None;
        }
        if statement.values.is_empty() {
            let message = format!("{what} expected behind '{}'", keyword.text);
            self.diagnostics.error(keyword.at, message);
            return None;
        }
        Some(&statement.values)
    }

    /// The value of a statement that has exactly one and no block.
    fn one_value<'s>(&mut self, statement: &'s Statement, what: &str) -> Option<&'s Word> {
        match self.values(statement, what)? {
            [value] => Some(value),
            [_, extra, ..] => {
                self.diagnostics.error(extra.at, options::extra_word(statement, extra));
                None
            }
            [] => None,
        }
    }

    fn unknown(&mut self, keyword: &Word, place: &str, expected: &[&str]) {
        let name = &keyword.text;
        let message = if let Some(close) = closest(name, expected.iter().copied()) {
            format!("no '{name}' {place}; is '{close}' meant?")
        } else {
            format!("no '{name}' {place}; expected is one of {}", expected.join(", "))
        };
        self.diagnostics.error(keyword.at, message);
    }

    fn twice(&mut self, keyword: &Word) {
        self.diagnostics.error(keyword.at, format!("'{}' is given twice", keyword.text));
    }
}
