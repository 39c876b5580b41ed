//! Plans, as recorded in `tests/golden/dry-run.txt`: a command line after `$`, then what it prints.
//!
//! With `UPDATE_GOLDEN=1` in the environment the answers are written anew, to be read as a diff.

use crate::Setup;

#[test]
fn plans_are_as_recorded() {
    let setup = Setup::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dry-run.txt");
    let golden = std::fs::read_to_string(path).unwrap();
    let mut printed = String::new();
    for line in golden.lines().filter_map(|line| line.strip_prefix("$ tandemadm ")) {
        let run = setup.run(line);
        assert!(!run.out.is_empty() || run.code != 0, "'{line}' would do nothing, and succeed");
        printed.push_str(&format!("$ tandemadm {line}\n{}{}", run.out, run.err));
        if run.code != 0 {
            printed.push_str(&format!("exit {}\n", run.code));
        }
        printed.push('\n');
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &printed).unwrap();
        return;
    }
    assert_eq!(printed, golden);
}
