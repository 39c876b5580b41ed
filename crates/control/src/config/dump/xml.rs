//! Definitions as XML, in the form of `drbdadm dump-xml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use super::Secrets;
use crate::config::definition::{Connection, Definition, Host, HostVolume};
use crate::config::options::OptionSet;
use crate::config::table::{Section, Spec};
use crate::config::{Config, MetaDisk};

/// The whole configuration.
pub fn dump_xml(config: &Config, secrets: Secrets) -> String {
    let mut out = Printer { text: String::new(), depth: 0, secrets };
    out.open(&format!("config file=\"{}\"", escape(&config.file.display().to_string())));
    if !config.global.is_empty() {
        out.open("global");
        for (name, value) in &config.global {
            out.line(&format!("<{name} value=\"{}\"/>", escape(&value.text)));
        }
        out.close("global");
    }
    for definition in &config.definitions {
        out.definition(definition);
    }
    out.close("config");
    out.text
}

/// One resource.
pub fn dump_xml_definition(definition: &Definition, secrets: Secrets) -> String {
    let mut out = Printer { text: String::new(), depth: 0, secrets };
    out.definition(definition);
    out.text
}

struct Printer {
    text: String,
    depth: usize,
    secrets: Secrets,
}

impl Printer {
    fn definition(&mut self, definition: &Definition) {
        let resource = &definition.resource;
        let name = escape(&resource.name);
        let place = escape(&format!("{}:{}", definition.file.display(), definition.line));
        self.open(&format!("resource name=\"{name}\" conf-file-line=\"{place}\""));
        for host in &resource.hosts {
            self.host(host);
        }
        for connection in &resource.connections {
            self.connection(connection);
        }
        self.options(Section::Options, &resource.options);
        self.options(Section::Startup, &resource.startup);
        self.handlers(&resource.handlers);
        self.close("resource");
    }

    fn host(&mut self, host: &Host) {
        if host.floating {
            self.open("host floating=\"1\"");
        } else {
            self.open(&format!("host name=\"{}\"", escape(&host.names.join(" "))));
        }
        self.options(Section::Options, &host.options);
        for volume in &host.volumes {
            self.volume(volume);
        }
        if let Some(address) = host.address {
            self.line(&address_element(address));
        }
        self.close("host");
    }

    fn volume(&mut self, volume: &HostVolume) {
        self.open(&format!("volume vnr=\"{}\"", volume.number));
        self.options(Section::Disk, &volume.options);
        let (minor, device) = (volume.minor, escape(&volume.device));
        self.line(&format!("<device minor=\"{minor}\">{device}</device>"));
        let disk = volume.disk.as_deref().unwrap_or("none");
        self.line(&format!("<disk>{}</disk>", escape(disk)));
        let meta_disk = match &volume.meta_disk {
            MetaDisk::Internal => "<meta-disk>internal</meta-disk>".to_owned(),
            MetaDisk::External { path, index } => {
                let slot = index.map(|index| format!(" index=\"{index}\"")).unwrap_or_default();
                let path = escape(&path.display().to_string());
                format!("<meta-disk{slot}>{path}</meta-disk>")
            }
        };
        self.line(&meta_disk);
        self.close("volume");
    }

    fn connection(&mut self, connection: &Connection) {
        self.open("connection");
        let one = connection.paths.len() == 1;
        for path in &connection.paths {
            if !one {
                self.open("path");
            }
            for (host, address) in connection.hosts.iter().zip(path) {
                let address = address_element(*address);
                self.line(&format!("<host name=\"{}\">{address}</host>", escape(host)));
            }
            if !one {
                self.close("path");
            }
        }
        self.options(Section::Net, &connection.net);
        self.options(Section::PeerDisk, &connection.disk);
        for (number, set) in &connection.volumes {
            self.open(&format!("volume vnr=\"{number}\""));
            self.options(Section::PeerDisk, set);
            self.close("volume");
        }
        self.close("connection");
    }

    fn options(&mut self, section: Section, set: &OptionSet) {
        if set.is_empty() {
            return;
        }
        self.open(&format!("section name=\"{}\"", section.name()));
        for (name, value) in set {
            let is_secret = section.find(name).is_some_and(Spec::is_secret);
            if is_secret && self.secrets == Secrets::Hidden {
                self.line(&format!("<!-- {name} is only shown if asked for -->"));
            } else {
                self.option(name, &value.text);
            }
        }
        self.close("section");
    }

    fn handlers(&mut self, handlers: &BTreeMap<String, String>) {
        if handlers.is_empty() {
            return;
        }
        self.open("section name=\"handlers\"");
        for (name, command) in handlers {
            self.option(name, command);
        }
        self.close("section");
    }

    fn option(&mut self, name: &str, value: &str) {
        self.line(&format!("<option name=\"{name}\" value=\"{}\"/>", escape(value)));
    }

    fn open(&mut self, element: &str) {
        self.line(&format!("<{element}>"));
        self.depth += 1;
    }

    fn close(&mut self, element: &str) {
        self.depth -= 1;
        self.line(&format!("</{element}>"));
    }

    fn line(&mut self, line: &str) {
        let indent = self.depth * 4;
        writeln!(self.text, "{:indent$}{line}", "").expect("writing to a string does not fail");
    }
}

fn address_element(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let (ip, port) = (address.ip(), address.port());
    format!("<address family=\"{family}\" port=\"{port}\">{ip}</address>")
}

/// The text as it stands in elements and attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}
