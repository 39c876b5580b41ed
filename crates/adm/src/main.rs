//! `tandemadm`, and by the name of one of them LINBIT's tools: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tandem_adm::main()
}
