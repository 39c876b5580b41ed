//! DRBD's configuration language: files to [`Config`] to [`ResourceConfig`].
//!
//! The way of a file: `load` reads it and what it includes, `lexer` and `tree` turn text into
//! statements, `read` into sections, `resolve` applies inheritance and what one resource must say,
//! `check` what a node must have only once. The result is a [`Definition`] per resource, for all of
//! its nodes; [`Resource::seen_from`] makes of it what one node's daemon is told. Nothing is taken
//! from a file with an error in it.

mod check;
mod definition;
mod diagnostic;
mod dump;
mod glob;
mod lexer;
mod load;
mod model;
mod options;
mod part;
mod raw;
mod read;
mod resolve;
mod resync_after;
mod show;
mod table;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

pub use definition::{Connection, Definition, Host, HostVolume, Resource};
pub use diagnostic::{ConfigErrors, Diagnostic};
pub use dump::{Secrets, dump, dump_definition, dump_xml, dump_xml_definition};
pub use model::{
    Authentication, Backing, DiskOptions, MetaDisk, NetOptions, OptionTexts, PeerConfig, PeerPath,
    PeerVolumeConfig, ResourceConfig, ResourceOptions, ResyncOptions, VolumeConfig,
};
pub use options::{OptionSet, OptionValue, is_flag};
pub use part::{Part, PartOptions};
pub use show::{Shown, show, show_json};
pub use table::is_secret;

use std::path::{Path, PathBuf};

use diagnostic::{Diagnostics, Findings};

/// Everything that a configuration file and those it includes define.
#[derive(Clone, Debug)]
pub struct Config {
    /// The first file.
    pub file: PathBuf,
    /// All files that were read, in this order.
    pub files: Vec<PathBuf>,
    /// Section `global`.
    pub global: OptionSet,
    /// The resources, in the order of the files.
    pub definitions: Vec<Definition>,
    /// What was accepted and has no effect, once for each name.
    pub warnings: Vec<Diagnostic>,
}

/// A configuration that is understood, and what it asks for that is not there.
///
/// It can be shown. To be used it must be [accepted](Reading::accept).
#[derive(Clone, Debug)]
pub struct Reading {
    /// What it says.
    pub config: Config,
    /// What is not there, in the order it was found.
    pub refusals: Vec<Diagnostic>,
}

impl Reading {
    /// Reads `path` and the files it includes.
    ///
    /// # Errors
    /// A file cannot be read, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let mut diagnostics = Diagnostics::default();
        let statements = load::load(path, &mut diagnostics);
        Self::build(path, &statements, diagnostics)
    }

    /// Reads `text`, which stands for the file `path`: for messages, and for relative includes.
    ///
    /// # Errors
    /// An included file cannot be read, or something is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let mut diagnostics = Diagnostics::default();
        let statements = load::load_text(path, text, &mut diagnostics);
        Self::build(path, &statements, diagnostics)
    }

    /// The configuration, if all that it asks for is there.
    ///
    /// # Errors
    /// The refusals.
    pub fn accept(self) -> Result<Config, ConfigErrors> {
        if self.refusals.is_empty() { Ok(self.config) } else { Err(ConfigErrors(self.refusals)) }
    }

    fn build(
        path: &Path,
        statements: &[tree::Statement],
        mut diagnostics: Diagnostics,
    ) -> Result<Self, ConfigErrors> {
        let raw = read::read(statements, &mut diagnostics);
        // What is missing because it could not be read is no second error.
        let mut definitions = Vec::new();
        if !diagnostics.has_errors() {
            check::check(&raw, &mut diagnostics);
            definitions = resolve::resolve(&raw, &mut diagnostics);
        }
        let Findings { files, refusals, warnings } = diagnostics.finish()?;
        let global = options::without_places(raw.global);
        let config = Config { file: path.to_owned(), files, global, definitions, warnings };
        Ok(Self { config, refusals })
    }
}

impl Config {
    /// Reads `path` and the files it includes.
    ///
    /// # Errors
    /// A file cannot be read, or something in it is wrong or not supported.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Reading::load(path)?.accept()
    }

    /// Reads `text`, which stands for the file `path`: for messages, and for relative includes.
    ///
    /// # Errors
    /// An included file cannot be read, or something is wrong or not supported.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        Reading::parse(path, text)?.accept()
    }

    /// The definition of the resource of that name.
    pub fn find(&self, name: &str) -> Option<&Definition> {
        self.definitions.iter().find(|definition| definition.resource.name == name)
    }

    /// Every resource that has the node `node`, as seen from it.
    pub fn seen_from(&self, node: &str) -> Vec<ResourceConfig> {
        let definitions = self.definitions.iter();
        definitions.filter_map(|definition| definition.resource.seen_from(node)).collect()
    }
}
