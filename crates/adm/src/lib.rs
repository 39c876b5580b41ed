//! `tandemadm`: configuration to plan to commands.
//!
//! A command line names objects (`RES`, `RES/VOL`, `RES:PEER` ...). [`plan`] turns it and the
//! configuration into steps, which `--dry-run` prints and [`run`] carries out: requests to the
//! daemon behind `RUN_DIR/admin.sock`, or metadata written to a device that no daemon has open.
//! As `drbdmeta` and `drbdsetup` it is another program ([`personality`]). Exit codes are drbdadm's.
//! Standard output has what was asked for, standard error what went wrong and what to do.
//!
//! Whatever a line reads, asks or changes it does through [`world`]; a [`rehearsal`] has another
//! one, where nothing is.

mod cli;
mod configuration;
mod create_md;
mod device;
mod drbdmeta;
mod drbdsetup;
mod events;
mod handler;
mod manual;
mod metadata;
mod monitor;
mod object;
mod offline;
mod output;
mod personality;
mod plan;
pub mod rehearsal;
mod run;
mod sh;
mod show;
mod split_brain;
mod watch;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ContextKind;
use tandem_control::exit;

use cli::Arguments;
use output::Failure;
use personality::Personality;
use world::{Machine, World};

/// The program: does what it was called with.
#[must_use]
pub fn main() -> ExitCode {
    let called: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(call(&called, &mut Machine))
}

/// Does what a program of that name and arguments is to do; what it exits with.
fn call(called: &[OsString], world: &mut dyn World) -> u8 {
    if let Some((personality, arguments)) = Personality::of(called) {
        return ended(personality.run(arguments, world));
    }
    match Arguments::try_parse_from(called) {
        Ok(arguments) => ended(run::run(&arguments, world)),
        Err(mut error) => {
            // A list of all commands in one line helps nobody; --help, which it names, does.
            error.remove(ContextKind::ValidSubcommand);
            output::usage(&error);
            if error.use_stderr() { exit::USAGE } else { exit::OK }
        }
    }
}

fn ended(result: Result<(), Failure>) -> u8 {
    match result {
        Ok(()) => exit::OK,
        Err(failure) => {
            output::error(&failure.message);
            failure.exit_code
        }
    }
}
