//! Sections to definitions: inheritance, what is implied, and what one resource must say.
//!
//! The most specific setting wins: `common`, then the resource, then `connection-mesh` or `volume`,
//! then `connection` or the volume of a host. DRBD refuses some of these conflicts as ambiguous. A
//! template stands in the place of `common`.

mod connections;
mod hosts;

use super::definition::{Definition, Resource};
use super::diagnostic::{Diagnostics, Position};
use super::options::{OptionSet, merge, without_places};
use super::raw::{RawBody, RawConfig, RawResource};
use super::resync_after::{self, Dependency};

const STACKED: &str = "'stacked-on-top-of' is refused: a resource on top of another one is not \
    there; what it was for is a resource with a third host";

/// The definitions of all resources that are without errors.
pub(super) fn resolve(config: &RawConfig, diagnostics: &mut Diagnostics) -> Vec<Definition> {
    let nothing = RawBody::new(Position { file: 0, line: 1, column: 1 });
    let common = config.common.as_ref().unwrap_or(&nothing);
    let mut definitions = Vec::new();
    let mut dependencies = Vec::new();
    for raw in &config.resources {
        let common = raw.body.template.as_deref().unwrap_or(common);
        let mut resolver = Resolver { raw, common, diagnostics };
        if let Some(resource) = resolver.resource() {
            let at = raw.body.at;
            let file = diagnostics.path(at).to_owned();
            definitions.push(Definition { file, line: at.line, resource });
            dependencies.extend(Dependency::of(common, raw));
        }
    }
    resync_after::resolve(&mut definitions, &dependencies, diagnostics);
    definitions
}

struct Resolver<'a> {
    raw: &'a RawResource,
    common: &'a RawBody,
    diagnostics: &'a mut Diagnostics,
}

impl Resolver<'_> {
    fn resource(&mut self) -> Option<Resource> {
        let (raw, common) = (self.raw, self.common);
        if let Some(at) = raw.body.stacked {
            self.refuse(at, STACKED);
            return None;
        }
        if !self.host_count() {
            return None;
        }
        let hosts = self.hosts();
        let connections = self.connections();
        let mut handlers = common.handlers.clone();
        handlers.extend(raw.body.handlers.clone());
        Some(Resource {
            name: raw.name.text.clone(),
            options: without_places(merge(&[&common.options, &raw.body.options])),
            startup: self.startup(),
            handlers,
            hosts: hosts?,
            connections,
        })
    }

    /// A wait that is more particular is not the longer one; DRBD corrects it, too.
    fn startup(&mut self) -> OptionSet {
        let mut set = without_places(merge(&[&self.common.startup, &self.raw.body.startup]));
        for [longer, shorter] in [["wfc", "degr-wfc"], ["degr-wfc", "outdated-wfc"]] {
            let (longer, shorter) = (format!("{longer}-timeout"), format!("{shorter}-timeout"));
            let limit = set.get(longer.as_str()).filter(|value| !value.is_zero()).cloned();
            let Some(limit) = limit else { continue };
            let Some(value) = set.get_mut(shorter.as_str()) else { continue };
            if value.is_zero() || value.number > limit.number {
                let at = self.raw.name.at;
                let message = format!("{shorter} is longer than {longer}: {} is taken", limit.text);
                self.diagnostics.warn_once(&message, at, &message);
                *value = limit;
            }
        }
        set
    }

    fn error(&mut self, at: Position, message: impl AsRef<str>) {
        let resource = &self.raw.name.text;
        self.diagnostics.error(at, format!("resource '{resource}': {}", message.as_ref()));
    }

    fn refuse(&mut self, at: Position, message: impl AsRef<str>) {
        let resource = &self.raw.name.text;
        self.diagnostics.refuse(at, format!("resource '{resource}': {}", message.as_ref()));
    }
}
