//! What commands print, as recorded in `tests/golden`: a command line after `$`, then its answer.
//!
//! With `UPDATE_GOLDEN=1` in the environment the answers are written anew, to be read as a diff.

use crate::Setup;

#[test]
fn plans_are_as_recorded() {
    let said = replay(&Setup::new(), "dry-run.txt");
    assert!(!said.contains(&false), "a plan that is empty would do nothing, and succeed");
}

#[test]
fn the_configuration_is_shown_as_recorded() {
    let setup = Setup::new();
    let more = "
resource r2 {
  options { quorum majority; }
  net { cram-hmac-alg sha1; shared-secret \"nobody's business\"; }
  volume 0 { device minor 10; disk /dev/sde; meta-disk /dev/sdf; }
  volume 1 { device drbd_x minor 11; disk none; }
  on a { node-id 0; address 10.0.0.1:7002; }
  on b { node-id 1; address 10.0.0.2:7002; }
  connection {
    path { host a; host b; }
    path { host a address 10.9.0.1:7002; host b address 10.9.0.2:7002; }
  }
}
resource r3 {
  device minor 20; disk /dev/sdg;
  on b { node-id 0; address 10.0.0.2:7003; }
  on c { node-id 1; address 10.0.0.3:7003; }
}
";
    std::fs::write(setup.path().join("more.res"), more).unwrap();
    let all = "include \"t.res\"; include \"*.res\";\n";
    std::fs::write(setup.path().join("all.conf"), all).unwrap();
    let wrong = "resource r9 {\n  net { protocl C; tls yes; shared-secret hush }\n";
    std::fs::write(setup.path().join("wrong.conf"), wrong).unwrap();
    let text = std::fs::read_to_string(replayed("configuration.txt")).unwrap();
    assert!(!text.contains("hush"));
    replay(&setup, "configuration.txt");
}

fn replayed(name: &str) -> String {
    format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs the command lines of a file; whether each said something or failed.
pub(crate) fn replay(setup: &Setup, name: &str) -> Vec<bool> {
    let golden = std::fs::read_to_string(replayed(name)).unwrap();
    let folder = setup.path().display().to_string();
    let mut printed = String::new();
    let mut said = Vec::new();
    for line in golden.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let (program, words) = line.split_once(' ').unwrap_or((line, ""));
        let run = match program {
            "drbdmeta" => setup.drbdmeta(words),
            _ => setup.run(&words.replace("DIR", &folder)),
        };
        said.push(!run.out.is_empty() || run.code != 0);
        printed.push_str(&format!("$ {line}\n{}{}", run.out, run.err));
        if run.code != 0 {
            printed.push_str(&format!("exit {}\n", run.code));
        }
        printed.push('\n');
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(replayed(name), &printed).unwrap();
    } else {
        assert_eq!(printed, golden);
    }
    said
}
