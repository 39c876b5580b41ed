//! `tandemadm`: configuration to plan to commands.
//!
//! A command line names objects (`RES`, `RES/VOL`, `RES:PEER` ...). [`plan`] turns it and the
//! configuration into steps, which `--dry-run` prints and [`run`] carries out: requests to the
//! daemon behind `RUN_DIR/admin.sock`, or metadata written to a device that no daemon has open.
//! As `drbdmeta` and `drbdsetup` it is another program ([`personality`]). Exit codes are drbdadm's.
//! Standard output has what was asked for, standard error what went wrong and what to do.

mod cli;
mod configuration;
mod create_md;
mod device;
mod drbdmeta;
mod drbdsetup;
mod events;
mod manual;
mod metadata;
mod monitor;
mod object;
mod offline;
mod output;
mod personality;
mod plan;
mod run;
mod sh;
mod show;
mod split_brain;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use tandem_control::exit;

use cli::Arguments;
use output::Failure;
use personality::Personality;

fn main() -> ExitCode {
    let called: Vec<OsString> = std::env::args_os().collect();
    if let Some((personality, arguments)) = Personality::of(&called) {
        return ended(personality.run(arguments));
    }
    let arguments = match Arguments::try_parse_from(called) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; whoever reads them may close the pipe early.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    ended(run::run(&arguments))
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}
