//! The configuration: read to be used, to be shown, or to be checked.
//!
//! What is used must be there. What is shown need only be understood: `dump` prints it, tells what
//! is refused, and exits as for an error, so that nobody takes it for good.

use std::io::Read;
use std::path::Path;

use tandem_control::config::{
    self, Config, ConfigErrors, Diagnostic, Reading, Secrets, dump_definition, dump_xml_definition,
};
use tandem_control::{exit, limits};

use crate::object::{RESOURCE, Target};
use crate::output::{self, Failure};
use crate::world::World;

/// The form of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The language itself.
    Text,
    Xml,
}

/// The configuration, with all that it asks for.
pub(crate) fn load(world: &mut dyn World, file: &Path) -> Result<Config, Failure> {
    let Reading { config, refusals } = world.read(file)?;
    refused(refusals)?;
    Ok(config)
}

/// What is understood of the configuration of this machine; `-` is standard input.
pub(crate) fn read(file: &Path) -> Result<Reading, Failure> {
    if file != Path::new("-") {
        return Reading::load(file).map_err(|errors| invalid(&errors));
    }
    let mut text = String::new();
    let max = limits::CONFIG_FILE_BYTES_MAX;
    let read = std::io::stdin().take(max + 1).read_to_string(&mut text);
    let read = read.map_err(|error| Failure::new(exit::CONFIG, format!("STDIN: {error}")))?;
    if u64::try_from(read).is_ok_and(|length| length > max) {
        return Err(Failure::new(exit::CONFIG, format!("STDIN: has more than {max} bytes")));
    }
    Reading::parse(Path::new("STDIN"), &text).map_err(|errors| invalid(&errors))
}

/// Prints what the objects, or everything, are in the configuration.
pub(crate) fn dump(
    world: &mut dyn World,
    file: &Path,
    node: &str,
    objects: &[String],
    form: Form,
    show_secrets: bool,
) -> Result<(), Failure> {
    let Reading { config, refusals } = world.read(file)?;
    output::warnings(&config.warnings);
    let secrets = if show_secrets { Secrets::Shown } else { Secrets::Hidden };
    if objects.is_empty() || objects.iter().any(|object| object == "all") {
        output::print(&match form {
            Form::Text => config::dump(&config, node, secrets),
            Form::Xml => config::dump_xml(&config, secrets),
        });
        return refused(refusals);
    }
    for target in Target::find(&config, node, objects, RESOURCE)? {
        output::print(&match form {
            Form::Text => dump_definition(target.definition, node, secrets),
            Form::Xml => dump_xml_definition(target.definition, secrets),
        });
    }
    refused(refusals)
}

/// Says whether the configuration could be used, and all that is wrong with it.
pub(crate) fn check(world: &mut dyn World, file: &Path) -> Result<(), Failure> {
    let Reading { config, refusals } = world
        .read(file)
        .map_err(|failure| Failure::new(failure.exit_code, failure.message + "\nnot usable"))?;
    output::warnings(&config.warnings);
    if !refusals.is_empty() {
        let refusals = ConfigErrors(refusals);
        let message = format!("{refusals}\nunderstood, and not usable");
        return Err(Failure::new(exit::CONFIG, message));
    }
    let names: Vec<&str> = config.definitions.iter().map(|it| &*it.resource.name).collect();
    let names = if names.is_empty() { "no resource".to_owned() } else { names.join(", ") };
    output::print(&format!("{}: usable: {names}\n", config.file.display()));
    Ok(())
}

/// The refusals as a failure, if there are any.
pub(crate) fn refused(refusals: Vec<Diagnostic>) -> Result<(), Failure> {
    if refusals.is_empty() { Ok(()) } else { Err(invalid(&ConfigErrors(refusals))) }
}

/// A configuration that cannot be understood, or not be used.
pub(crate) fn invalid(errors: &ConfigErrors) -> Failure {
    Failure::new(exit::CONFIG, errors.to_string())
}
