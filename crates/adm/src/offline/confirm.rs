//! Questions before something is lost, asked as drbdmeta asks them.

use std::io::IsTerminal;

use tandem_control::exit;

use crate::output::{self, Failure};

/// Comes back if that is wanted: by force, or by a 'yes' on the terminal.
pub(crate) fn confirmed(question: &str, force: bool) -> Result<(), Failure> {
    output::error(&format!("\n{question}"));
    if force {
        output::error("*** confirmation forced via --force option ***");
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let message = "stdin is no terminal to confirm it at; use --force\nOperation cancelled.";
        return Err(Failure::new(exit::NOT_CONFIRMED, message));
    }
    output::error("[need to type 'yes' to confirm]");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::new(exit::NOT_CONFIRMED, "Operation cancelled."))
}
