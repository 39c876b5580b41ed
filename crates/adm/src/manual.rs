//! What is made of the command line's own description: completions and manual pages.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use tandem_control::exit;

use crate::cli::Arguments;
use crate::output::{self, Failure};

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let text = String::from_utf8(script)
        .map_err(|error| Failure::new(exit::FAILURE, format!("completions: {error}")))?;
    output::print(&text);
    Ok(())
}

/// Prints the commands that `--help` leaves out: for scripts, for handlers, for packagers.
pub(crate) fn hidden_commands() -> Result<(), Failure> {
    let command = Arguments::command();
    let hidden = command.get_subcommands().filter(|it| it.is_hide_set());
    let lines = hidden.map(|it| {
        let about = it.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<22}{about}\n", it.get_name())
    });
    output::print(&lines.collect::<String>());
    Ok(())
}

/// Writes `tandemadm.8`, and one page for each command.
pub(crate) fn write_pages(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(exit::FAILURE, format!("{}: {error}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut command = Arguments::command();
    // Names the pages of subcommands in full, as `tandemadm-split-brain-show`.
    command.build();
    write_page(&command, folder).map_err(failed)
}

fn write_page(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let page = clap_mangen::Man::new(command.clone()).title(name.clone()).section("8");
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(folder.join(format!("{name}.8")), text)?;
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help");
    shown.into_iter().try_for_each(|subcommand| write_page(subcommand, folder))
}
