//! `tandemadm monitor` in a pseudo-terminal of 80 columns and 24 lines.
//!
//! 1. It shows the resource, its disks and its peer, and that all is well.
//! 2. The operator disconnects: it says so, and what helps.
//! 3. `q` ends it; the terminal is as it was.
//!
//! Without a terminal it says what else there is.

use std::process::Command;
use std::time::Duration;

use tandem_tests::tool::tool;
use tandem_tests::{Cluster, Context, Result, Side, Spec, run};

const LIMIT: Duration = Duration::from_secs(40);

/// Waits until the screen has all well, has `$3` done, waits until that is seen, then says `q`. A
/// word is drawn in one piece, a line need not be.
const KEYS: &str = "await() { i=0
        until grep -qs \"$1\" \"$2\" || [ $i -ge 100 ]; do sleep 0.1; i=$((i+1)); done; }
    { await well \"$1\"; $3 >/dev/null; await operator \"$1\"; printf q; sleep 0.3; } |
    script -qfec \"stty cols 80 rows 24; exec $2\" \"$1\" >/dev/null";

#[test]
fn the_monitor_shows_what_is_wrong_and_quits() -> Result<()> {
    let cluster = Cluster::in_sync("monitor", Spec::default())?;
    let a = cluster.node(Side::A);
    tool("script")?;
    let screen = cluster.folder().join("a.screen");
    let [monitor, disconnect] =
        [&["monitor"][..], &["disconnect", "r0"]].map(|arguments| words(&a.adm_command(arguments)));
    let mut shell = tool("sh")?;
    shell.args(["-c", KEYS, "sh"]).arg(&screen).args([monitor, disconnect]);
    shell.env("TERM", "xterm");
    run(&mut shell, LIMIT)?.ok()?;
    let shown = std::fs::read_to_string(&screen).about("the screen")?;
    for part in ["RESOURCE", "r0", "Primary", "UpToDate", "operator", "tandemadm", "r0:b"] {
        assert!(shown.contains(part), "the monitor does not show '{part}': {shown}");
    }
    assert!(shown.contains("\u{1b}[?1049l"), "the screen is given back: {shown}");
    let without = a.adm(&["monitor"])?;
    assert_eq!(without.code, 1, "{without:?}");
    assert!(without.stderr.contains("needs a terminal; 'tandemadm status --watch'"), "{without:?}");
    cluster.finish()
}

/// A command line for a shell; no word of it has a space.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
