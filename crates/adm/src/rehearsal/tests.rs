use std::ffi::OsString;
use std::rc::Rc;

use tandem_control::admin::{Request, Response};
use tandem_control::{NodeId, exit};

use super::{Rehearsed, Stage, Touch, rehearse};

const CONFIGURATION: &str = "
resource r0 {
  device minor 1; disk /dev/a0; meta-disk internal;
  on a { node-id 0; address 10.0.0.1:7000; }
  on b { node-id 1; address 10.0.0.2:7000; }
}
";

/// What a line comes to where a daemon does all it is told.
fn rehearsed(line: &str) -> Rehearsed {
    let called: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let daemon = Some(Rc::new(|_: &Request| Response::Done) as super::Answers);
    rehearse(&called, &Stage { configuration: CONFIGURATION.to_owned(), daemon })
}

#[test]
fn a_line_touches_what_it_is_for_and_prints_to_nobody() {
    let done = rehearsed("tandemadm -c t.res --run-dir x connect r0");
    let (resource, peer) = ("r0".to_owned(), NodeId(1));
    let (discard_my_data, tentative) = (false, false);
    let request = Request::Connect { resource, peer, discard_my_data, tentative };
    let touches =
        vec![Touch::Read("t.res".into()), Touch::Connected("x".into()), Touch::Asked(request)];
    let (printed, complained) = (String::new(), String::new());
    assert_eq!(done, Rehearsed { exit_code: exit::OK, printed, complained, touches });

    let done = rehearsed("drbdmeta 0 v09 /dev/a0 internal create-md 1");
    let step = "create-md minor 0/0 disk:/dev/a0 meta-disk:internal max-peers:1".to_owned();
    assert_eq!((done.exit_code, done.touches), (exit::OK, vec![Touch::Metadata(step)]));
}

#[test]
fn help_and_dry_runs_touch_nothing_but_the_configuration() {
    let help = rehearsed("tandemadm up r0 --help");
    assert_eq!((help.exit_code, help.touches), (exit::OK, Vec::new()));
    assert!(help.printed.contains("Usage: tandemadm up"), "{}", help.printed);

    let dry = rehearsed("tandemadm -d -c t.res primary r0");
    assert_eq!((dry.exit_code, dry.printed.as_str()), (exit::OK, "primary r0\n"));
    assert_eq!(dry.touches, [Touch::Read("t.res".into())]);
}

#[test]
fn a_dry_run_shows_no_screen_and_writes_no_pages() {
    for (line, printed) in [
        ("tandemadm -d monitor", "status all\n"),
        ("tandemadm --dry-run man-pages pages", "man-pages pages\n"),
    ] {
        let dry = rehearsed(line);
        assert_eq!((dry.exit_code, dry.printed.as_str()), (exit::OK, printed), "{line}");
        assert_eq!(dry.touches, [], "{line}");
    }
}

#[test]
fn what_is_forced_is_said_without_no() {
    for line in [
        "drbdmeta 0 v09 /dev/a0 internal create-md 1 --force=no",
        "drbdmeta --force=no 0 v09 /dev/a0 internal wipe-md",
    ] {
        let done = rehearsed(line);
        assert_eq!((done.exit_code, done.touches), (exit::FAILURE, Vec::new()), "{line}");
        assert_eq!(done.complained, "option '--force' takes no value, not 'no'\n", "{line}");
    }
}

#[test]
fn a_bitmap_is_kept_or_reset_by_no_and_yes_only() {
    for line in [
        "drbdsetup invalidate-remote r0 1 0 --reset-bitmap=false",
        "drbdsetup invalidate-remote r0 1 0 --reset-bitmap=",
    ] {
        let done = rehearsed(line);
        assert_eq!(done.exit_code, exit::FAILURE, "{line}");
        assert!(done.complained.contains("'yes' or 'no' expected"), "{line}: {done:?}");
        assert!(!done.touches.iter().any(|touch| matches!(touch, Touch::Asked(_))), "{line}");
    }
}

#[test]
fn an_option_is_no_value_of_the_one_before_it() {
    for (line, missing) in [
        ("drbdsetup new-peer r0 1 --_name --set-defaults", "--_name"),
        ("drbdsetup verify r0 1 0 --start --stop=9", "--start"),
        ("drbdmeta 0 v09 /dev/a0 internal get-gi --node-id --force", "--node-id"),
    ] {
        let done = rehearsed(line);
        assert_eq!((done.exit_code, done.touches), (exit::FAILURE, Vec::new()), "{line}");
        assert!(done.complained.starts_with(&format!("option '{missing}' requires")), "{line}");
    }
}

#[test]
fn help_of_the_other_programs_touches_nothing() {
    for line in [
        "drbdsetup --help",
        "drbdsetup down --help r0",
        "drbdmeta --help",
        "drbdmeta 0 v09 /dev/a0 internal wipe-md --help --force",
    ] {
        let help = rehearsed(line);
        assert_eq!((help.exit_code, help.touches), (exit::OK, Vec::new()), "{line}");
        assert!(help.printed.starts_with("USAGE: drbd"), "{line}: {}", help.printed);
    }
    for line in ["drbdsetup down --dry-run r0", "drbdmeta --dry-run 0 v09 /dev/a0 internal wipe-md"]
    {
        let refused = rehearsed(line);
        assert_eq!((refused.exit_code, refused.touches), (exit::FAILURE, Vec::new()), "{line}");
        assert!(refused.complained.contains("'--dry-run'"), "{line}: {}", refused.complained);
    }
}

#[test]
fn nothing_is_called_by_an_empty_name() {
    for line in ["new-resource  1", "down ", "status ", "attach 1 /dev/a0  internal"] {
        let refused = rehearsed(&format!("drbdsetup {line}"));
        assert_eq!((refused.exit_code, refused.touches), (exit::FAILURE, Vec::new()), "{line}");
        assert_eq!(refused.complained, "'' is no argument of any command\n", "{line}");
    }
}
