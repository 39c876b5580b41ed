//! Wrong command lines and configurations, and nobody to talk to.

use crate::Setup;

#[test]
fn wrong_usage_exits_1() {
    let setup = Setup::new();
    for line in ["", "frobnicate r0", "up", "primary --forse r0", "create-md --max-peers 32 r0"] {
        let run = setup.run(line);
        assert_eq!(run.code, 1, "{line}: {run:?}");
        assert!(run.err.contains("Usage") || run.err.contains("max-peers"), "{line}: {run:?}");
    }
    assert_eq!(setup.run("--help").code, 0);
    assert!(setup.run("--version").out.starts_with("tandemadm "));
}

#[test]
fn an_invalid_configuration_exits_10_and_shows_the_place() {
    let setup = Setup::new();
    std::fs::write(setup.path().join("t.res"), "resource r0 {\n  protocl C;\n}\n").unwrap();
    for line in ["up r0", "-d up r0", "dump", "create-md r0", "wait-connect r0"] {
        let run = setup.run(line);
        assert_eq!(run.code, 10, "{line}: {run:?}");
        let place = "DIR/t.res:2:3: no 'protocl' in 'resource'; is 'protocol' meant?";
        assert!(run.err.starts_with(place), "{line}: {run:?}");
        assert!(run.err.ends_with("      protocl C;\n      ^\n"), "{line}: {run:?}");
    }
}

#[test]
fn the_wrong_host_is_told_which_there_are() {
    let setup = Setup::new();
    let run = setup.run_as("c", "up r0");
    assert_eq!(run.code, 1);
    let message = "'r0' not defined in your config (for this host): this node is 'c', the resource \
                   has 'on' sections for a, b; name the node with --node\n";
    assert_eq!(run.err, message);
    let run = setup.run_as("c", "up all");
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("has a section 'on c'"), "{run:?}");
}

#[test]
fn no_daemon_exits_20_and_names_the_socket() {
    let setup = Setup::new();
    for line in ["up r0", "status", "role r0", "primary r0", "wait-sync r0", "status --watch"] {
        let run = setup.run(line);
        assert_eq!(run.code, 20, "{line}: {run:?}");
        assert!(run.err.contains("no daemon listens on DIR/admin.sock"), "{line}: {run:?}");
    }
    // Without effect options are told where the configuration takes effect.
    let run = setup.run("up r1");
    let warning = "warning: 'csums-alg crc32c': digests are BLAKE3 of 128 bits, whatever the name";
    assert!(run.err.contains(warning), "{run:?}");
    assert!(!setup.run("down r1").err.contains("warning"));
}

#[test]
fn what_is_understood_and_not_there_is_shown_and_not_used() {
    let setup = Setup::new();
    let text = std::fs::read_to_string(setup.path().join("t.res")).unwrap();
    let text = text.replace("protocol A;", "protocol A; shared-secret hush; tls yes;");
    std::fs::write(setup.path().join("t.res"), text).unwrap();
    let dump = setup.run("dump r1");
    assert_eq!(dump.code, 10, "{dump:?}");
    assert!(dump.out.contains("            tls              yes;\n"), "{dump:?}");
    assert!(dump.out.contains("# shared-secret is not shown without --show-secrets"), "{dump:?}");
    assert!(dump.err.contains("'tls yes' is refused: links are not encrypted yet"), "{dump:?}");
    assert!(!format!("{dump:?}").contains("hush"), "{dump:?}");
    assert!(setup.run("dump --show-secrets").out.contains("shared-secret    hush;"));
    let up = setup.run("-d up r0");
    assert_eq!((up.code, up.out.as_str()), (10, ""), "{up:?}");
}

#[test]
fn every_command_has_a_page_and_completions() {
    let setup = Setup::new();
    let pages = setup.path().join("man");
    assert_eq!(setup.run(&format!("man-pages {}", pages.display())).code, 0);
    let help = setup.run("--help").out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(names.len() > 30 && names.contains(&"split-brain"), "{names:?}");
    let script = setup.run("completions bash").out;
    for name in names {
        let page = std::fs::read_to_string(pages.join(format!("tandemadm-{name}.8")));
        assert!(page.expect(name).contains(".SH NAME"), "{name}");
        assert!(script.contains(&format!("tandemadm,{name})")), "{name}");
    }
    for shell in ["zsh", "fish"] {
        assert!(setup.run(&format!("completions {shell}")).out.contains("split-brain"), "{shell}");
    }
}
