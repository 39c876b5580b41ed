//! `tandemadm`: configuration to plan to commands.
//!
//! A command line names objects (`RES`, `RES/VOL`, `RES:PEER` ...). [`plan`] turns it and the
//! configuration into steps, which `--dry-run` prints and [`run`] carries out: requests to the
//! daemon behind `RUN_DIR/admin.sock`, or metadata written to a device that no daemon has open.
//! Exit codes are drbdadm's. Standard output has what was asked for, standard error what went wrong
//! and what to do.

mod cli;
mod configuration;
mod create_md;
mod object;
mod output;
mod plan;
mod run;
mod sh;
mod show;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use tandem_control::exit;

use cli::Arguments;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; whoever reads them may close the pipe early.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    match run::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}
