//! What DRBD's language has from its past, or for programs that are not here: `syncer`, DRBD Proxy,
//! stacked resources, versions of the kernel module.

use super::Reader;
use crate::config::options::{self, PlacedSet};
use crate::config::raw::RawBody;
use crate::config::table::Section;
use crate::config::tree::{Statement, Word};

const PROXY: &str = "there is no DRBD Proxy here; leave it out: protocol A with 'on-congestion \
    pull-ahead' keeps a far link from slowing applications down";

const STACKED: &[&str] = &["device", "address", "volume", "node-id", "proxy"];

/// `require-drbd-module-version-` and how to compare.
const COMPARISONS: &[&str] = &["eq", "ne", "gt", "ge", "lt", "le"];

/// Options that have other names in section `syncer`.
const RENAMED: &[(&str, &str)] = &[("rate", "resync-rate"), ("after", "resync-after")];

impl Reader<'_> {
    /// Section `syncer` of DRBD 8: its options are of `net`, `disk` and `options`.
    pub(super) fn syncer(&mut self, statement: &Statement, body: &mut RawBody) {
        let Some(block) = self.block(statement) else {
            return;
        };
        for option in block {
            let mut option = option.clone();
            let name = &mut option.keyword.text;
            if let Some((_, new)) = RENAMED.iter().find(|(old, _)| old == name) {
                *name = (*new).to_owned();
            }
            let plain = name.strip_prefix("no-").unwrap_or(name);
            let has =
                |section: &Section| section.find(name).or_else(|| section.find(plain)).is_some();
            let section = [Section::Net, Section::Disk, Section::Options].into_iter().find(has);
            let Some(section) = section else {
                let known = ["rate", "after", "al-extents", "verify-alg", "csums-alg", "cpu-mask"];
                self.unknown(&option.keyword, "in 'syncer'", &known);
                continue;
            };
            let set = section_of(body, section);
            options::read(&option, section, set, self.diagnostics);
        }
    }

    /// A section `disk` of a resource. In DRBD 8 it also had `fencing`.
    pub(super) fn disk_section(&mut self, statement: &Statement, body: &mut RawBody) {
        let Some(block) = self.block(statement) else {
            return;
        };
        for option in block {
            let is_net = option.keyword.text == "fencing";
            let section = if is_net { Section::Net } else { Section::Disk };
            options::read(option, section, section_of(body, section), self.diagnostics);
        }
    }

    /// Section `proxy` of a resource: how DRBD Proxy works where it is used.
    pub(super) fn proxy(&mut self, statement: &Statement) {
        if self.block(statement).is_some() {
            let message = format!("section 'proxy' has no effect: {PROXY}");
            self.diagnostics.warn_once("proxy", statement.keyword.at, message);
        }
    }

    /// `proxy on NAME ... { inside ADDRESS; outside ADDRESS; ... }`: all traffic goes there.
    pub(super) fn proxy_on(&mut self, keyword: &Word, values: &[Word], statement: &Statement) {
        let (Some(block), [on, _, ..]) = (&statement.block, values) else {
            let message = "'on NAME { inside ADDRESS; outside ADDRESS; }' expected behind 'proxy'";
            return self.diagnostics.error(keyword.at, message);
        };
        if on.text != "on" {
            return self.diagnostics.error(on.at, format!("'on' expected, not '{}'", on.text));
        }
        for statement in block {
            match statement.keyword.text.as_str() {
                "inside" | "outside" => {
                    let words = self.values(statement, "an address");
                    let _ = words.and_then(|words| self.address(words));
                }
                "options" => {}
                _ => {
                    let known = ["inside", "outside", "options"];
                    self.unknown(&statement.keyword, "in 'proxy'", &known);
                }
            }
        }
        self.diagnostics.refuse(keyword.at, format!("'proxy on' is refused: {PROXY}"));
    }

    /// `via proxy on ... { ... }` or `via outside-address ADDRESS` behind the host of a connection.
    pub(super) fn via(&mut self, words: &[Word], statement: &Statement) {
        match words {
            [_, proxy, rest @ ..] if proxy.text == "proxy" => {
                self.proxy_on(proxy, rest, statement);
            }
            [via, outside, rest @ ..] if outside.text == "outside-address" => {
                if self.address(rest).is_some() {
                    let message = format!("'via outside-address' is refused: {PROXY}");
                    self.diagnostics.refuse(via.at, message);
                }
            }
            [.., last] => {
                let message = "'proxy on NAME { ... }' or 'outside-address ADDRESS' expected";
                self.diagnostics.error(last.at, message);
            }
            [] => {}
        }
    }

    /// `stacked-on-top-of RESOURCE { ... }`, which is refused when the resource is resolved.
    pub(super) fn stacked(&mut self, statement: &Statement, body: &mut RawBody) {
        let Some((name, block)) = self.named_block(statement, "a resource name") else {
            return;
        };
        for statement in block {
            if !STACKED.contains(&statement.keyword.text.as_str()) {
                self.unknown(&statement.keyword, "in 'stacked-on-top-of'", STACKED);
            }
        }
        body.stacked.get_or_insert(name.at);
    }

    /// `require-drbd-module-version-ge N.N.N` and the like; whether it was one.
    pub(super) fn module_version(&mut self, statement: &Statement) -> bool {
        let keyword = &statement.keyword;
        let comparison = keyword.text.strip_prefix("require-drbd-module-version-");
        if !comparison.is_some_and(|it| COMPARISONS.contains(&it)) {
            return false;
        }
        let Some(version) = self.one_value(statement, "a version N.N.N") else {
            return true;
        };
        let parts: Vec<&str> = version.text.split('.').collect();
        if parts.len() != 3 || !parts.iter().all(|part| part.parse::<u8>().is_ok()) {
            let message = format!("'{}' is no version, expected is N.N.N", version.text);
            self.diagnostics.error(version.at, message);
        } else {
            let name = &keyword.text;
            let message = format!("'{name}' has no effect: there is no kernel module here");
            self.diagnostics.warn_once(name, keyword.at, message);
        }
        true
    }
}

fn section_of(body: &mut RawBody, section: Section) -> &mut PlacedSet {
    match section {
        Section::Net => &mut body.net,
        Section::Options => &mut body.options,
        Section::Disk | Section::PeerDisk | Section::OwnDisk => &mut body.disk,
        Section::Startup => &mut body.startup,
        Section::Global => unreachable!("a resource has no global options"),
    }
}
