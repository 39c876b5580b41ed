//! Definitions back to text, in drbdadm's form: 4 spaces, values in a column, `# defined at` lines.
//!
//! What is printed is complete: it has all that a resource inherits from `common`, and reads back
//! to an equal definition.

mod xml;

pub use xml::{dump_xml, dump_xml_definition};

use std::collections::BTreeMap;

use super::definition::{Connection, Definition, Host, HostVolume, Resource};
use super::options::OptionSet;
use super::table::{Kind, Section, Spec};
use super::writer::{Writer, address_text, is_plain, quoted};
use super::{Config, MetaDisk};

/// Column of values, relative to the keyword; drbdadm's.
const VALUE_COLUMN: usize = 17;

/// What becomes of values that are secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// A comment stands for them.
    Hidden,
    /// They are printed.
    Shown,
}

/// The whole configuration as `node` sees it.
pub fn dump(config: &Config, node: &str, secrets: Secrets) -> String {
    let mut printer = Printer { out: Writer::default(), secrets };
    printer.out.line(&format!("# {}", config.file.display()));
    printer.options(Section::Global, &config.global);
    for definition in &config.definitions {
        printer.out.blank();
        printer.definition(definition, node);
    }
    printer.out.finish()
}

/// One resource as `node` sees it.
pub fn dump_definition(definition: &Definition, node: &str, secrets: Secrets) -> String {
    let mut printer = Printer { out: Writer::default(), secrets };
    printer.definition(definition, node);
    printer.out.finish()
}

struct Printer {
    out: Writer,
    secrets: Secrets,
}

impl Printer {
    fn definition(&mut self, definition: &Definition, node: &str) {
        let resource = &definition.resource;
        let here = if resource.host_of(node).is_some() { "not ignored" } else { "ignored" };
        self.out.line(&format!("# resource {} on {node}: {here}, not stacked", resource.name));
        self.out.line(&format!("# defined at {}:{}", definition.file.display(), definition.line));
        self.resource(resource);
    }

    fn resource(&mut self, resource: &Resource) {
        self.out.open(&format!("resource {}", quote(&resource.name)));
        for host in &resource.hosts {
            self.host(host);
        }
        for connection in &resource.connections {
            self.connection(connection, resource);
        }
        self.options(Section::Options, &resource.options);
        self.options(Section::Startup, &resource.startup);
        self.handlers(&resource.handlers);
        self.out.close();
    }

    fn host(&mut self, host: &Host) {
        match host.address {
            Some(address) if host.floating => {
                self.out.open(&format!("floating {}", address_text(address)));
            }
            Some(_) | None => {
                let names: Vec<String> = host.names.iter().map(|name| quote(name)).collect();
                self.out.open(&format!("on {}", names.join(" ")));
            }
        }
        self.value("node-id", &host.node_id.to_string());
        for volume in &host.volumes {
            self.volume(volume);
        }
        if let (Some(address), false) = (host.address, host.floating) {
            self.value("address", &address_text(address));
        }
        self.options(Section::Options, &host.options);
        self.out.close();
    }

    fn volume(&mut self, volume: &HostVolume) {
        self.out.open(&format!("volume {}", volume.number));
        self.value("device", &format!("{} minor {}", quote(&volume.device), volume.minor));
        let Some(disk) = &volume.disk else {
            self.value("disk", "none");
            return self.end_of_volume(volume);
        };
        self.value("disk", &quote(disk));
        let meta_disk = match &volume.meta_disk {
            MetaDisk::Internal => "internal".to_owned(),
            MetaDisk::External { path, index } => {
                let slot = index.map(|index| format!(" [{index}]")).unwrap_or_default();
                format!("{}{slot}", quote(&path.display().to_string()))
            }
        };
        self.value("meta-disk", &meta_disk);
        self.end_of_volume(volume);
    }

    fn end_of_volume(&mut self, volume: &HostVolume) {
        if let Some(tiebreaker) = volume.tiebreaker {
            self.value("tiebreaker", if tiebreaker { "yes" } else { "no" });
        }
        self.options(Section::Disk, &volume.options);
        self.out.close();
    }

    fn connection(&mut self, connection: &Connection, resource: &Resource) {
        self.out.open("connection");
        let one = connection.paths.len() == 1;
        for path in &connection.paths {
            if !one {
                self.out.open("path");
            }
            for (host, address) in connection.hosts.iter().zip(path) {
                let host = resource.host(host).and_then(|host| host.names.first()).unwrap_or(host);
                let value = format!("{} address {}", quote(host), address_text(*address));
                self.value("host", &value);
            }
            if !one {
                self.out.close();
            }
        }
        self.options(Section::Net, &connection.net);
        self.options(Section::PeerDisk, &connection.disk);
        for (number, set) in &connection.volumes {
            self.out.open(&format!("volume {number}"));
            self.options(Section::PeerDisk, set);
            self.out.close();
        }
        self.out.close();
    }

    fn options(&mut self, section: Section, set: &OptionSet) {
        if set.is_empty() {
            return;
        }
        self.out.open(section.name());
        for (name, value) in set {
            let spec = section.find(name);
            let is_secret = spec.is_some_and(Spec::is_secret);
            // drbdadm's are words that stand alone.
            let is_word = section == Section::Global
                && value.text == "yes"
                && spec.is_some_and(|it| matches!(it.kind, Kind::Flag));
            if is_word {
                self.out.line(&format!("{name};"));
            } else if is_secret && self.secrets == Secrets::Hidden {
                self.out.line(&format!("# {name} is not shown without --show-secrets"));
            } else {
                self.value(name, &quote(&value.text));
            }
        }
        self.out.close();
    }

    fn handlers(&mut self, handlers: &BTreeMap<String, String>) {
        if handlers.is_empty() {
            return;
        }
        self.out.open("handlers");
        for (name, command) in handlers {
            self.value(name, &quote(command));
        }
        self.out.close();
    }

    fn value(&mut self, name: &str, value: &str) {
        self.out.line(&format!("{name:<VALUE_COLUMN$}{}{value};", separator(name)));
    }
}

/// What parts a name that fills the column from its value.
fn separator(name: &str) -> &'static str {
    if name.len() < VALUE_COLUMN { "" } else { " " }
}

/// The string as the scanner of DRBD takes it, in quotes where it must.
fn quote(text: &str) -> String {
    let is_word = text.len() <= crate::limits::WORD_LEN_MAX && is_plain(text);
    if is_word { text.to_owned() } else { quoted(text) }
}
