//! The configuration: read to be used, or to be shown.
//!
//! What is used must be there. What is shown need only be understood: `dump` prints it, tells what is
//! refused, and exits as for an error, so that nobody takes it for good.

use std::path::Path;

use tandem_control::config::{
    Config, ConfigErrors, Diagnostic, Reading, Secrets, dump as dump_all, dump_definition,
};
use tandem_control::exit;

use crate::object::{RESOURCE, Target};
use crate::output::{self, Failure};

/// The configuration, with all that it asks for.
pub(crate) fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(|errors| invalid(&errors))
}

/// Prints what the objects, or everything, are in the configuration.
pub(crate) fn dump(
    file: &Path,
    node: &str,
    objects: &[String],
    show_secrets: bool,
) -> Result<(), Failure> {
    let Reading { config, refusals } = Reading::load(file).map_err(|errors| invalid(&errors))?;
    output::warnings(&config.warnings);
    let secrets = if show_secrets { Secrets::Shown } else { Secrets::Hidden };
    if objects.is_empty() || objects.iter().any(|object| object == "all") {
        output::print(&dump_all(&config, node, secrets));
    } else {
        for target in Target::find(&config, node, objects, RESOURCE)? {
            output::print(&dump_definition(target.definition, node, secrets));
        }
    }
    refused(refusals)
}

fn invalid(errors: &ConfigErrors) -> Failure {
    Failure::new(exit::CONFIG, errors.to_string())
}

fn refused(refusals: Vec<Diagnostic>) -> Result<(), Failure> {
    if refusals.is_empty() { Ok(()) } else { Err(invalid(&ConfigErrors(refusals))) }
}
