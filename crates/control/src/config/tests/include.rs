//! `include`: relative paths, patterns, loops, what is missing.

use std::fs;
use std::path::Path;

use super::pair;
use crate::config::Config;
use crate::limits;

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn resource(name: &str, number: u32) -> String {
    let (minor, disk) = (format!("minor {number}"), format!("/dev/{name}"));
    let text = pair("").replace("r0", name).replace("minor 1", &minor);
    text.replace("/dev/sda", &disk).replace(":7000", &format!(":{}", 7000 + number))
}

fn names(path: &Path) -> Vec<String> {
    let config = Config::load(path).unwrap_or_else(|errors| panic!("{errors}"));
    config.definitions.into_iter().map(|definition| definition.resource.name).collect()
}

#[test]
fn patterns_match_relative_to_the_file_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(
        root,
        "tandem.conf",
        "include \"d/*.res\"; include \"d/more/?.res\"; include \"none/*.x\";",
    );
    write(root, "d/b.res", &resource("b", 2));
    write(root, "d/a.res", &format!("include \"more/x.res\"; {}", resource("a", 1)));
    write(root, "d/.hidden.res", "nonsense");
    write(root, "d/c.res.bak", "nonsense");
    write(root, "d/more/x.res", &resource("x", 3));
    write(root, "d/more/y.res", &resource("y", 4));
    assert_eq!(names(&root.join("tandem.conf")), ["x", "a", "b", "y"]);
}

#[test]
fn a_file_that_includes_itself_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "t.conf", &format!("include \"t.conf\"; include \"*.conf\"; {}", resource("a", 1)));
    assert_eq!(names(&root.join("t.conf")), ["a"]);
}

#[test]
fn errors_name_the_file_they_are_in() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "t.conf", "\n  include \"bad.res\";\n  include \"absent.res\";");
    write(root, "bad.res", "\nresorce r0 { }");
    let errors = Config::load(&root.join("t.conf")).unwrap_err();
    let shown = errors.to_string().replace(&root.display().to_string(), "DIR");
    let expected = "DIR/t.conf:3:11: DIR/absent.res: there is no such file
      include \"absent.res\";
              ^
DIR/bad.res:2:1: no 'resorce' at top level; is 'resource' meant?
    resorce r0 { }
    ^";
    assert_eq!(shown, expected);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let error = |name: &str| Config::load(&root.join(name)).unwrap_err().to_string();
    assert!(error("absent").ends_with("absent: there is no such file"));
    fs::write(root.join("latin1"), b"# \xe9\n").unwrap();
    assert!(error("latin1").ends_with("latin1: is not UTF-8"));
    let length = usize::try_from(limits::CONFIG_FILE_BYTES_MAX).unwrap() + 1;
    fs::write(root.join("huge"), vec![b'#'; length]).unwrap();
    assert!(error("huge").ends_with("huge: has more than 1048576 bytes"));
    fs::write(root.join("exact"), vec![b'#'; length - 1]).unwrap();
    assert!(Config::load(&root.join("exact")).is_ok());
}

#[test]
fn includes_end_at_a_depth() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let last = limits::INCLUDE_DEPTH_MAX + 1;
    for depth in 0..last {
        write(root, &format!("{depth}.res"), &format!("include \"{}.res\";", depth + 1));
    }
    write(root, &format!("{last}.res"), "");
    let error = Config::load(&root.join("0.res")).unwrap_err().to_string();
    assert!(error.contains("10.res:1:1: includes are nested more than 10 deep"), "{error}");
    assert!(Config::load(&root.join("1.res")).is_ok());
}

#[test]
fn a_template_stands_in_the_place_of_common() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "t/quick", "common { net { protocol A; timeout 5; } }");
    let own = "template-file \"t/quick\"; net { timeout 7; }";
    let other = resource("other", 2);
    let common = "common { net { ko-count 3; protocol B; } }";
    write(root, "t.conf", &format!("{common} {} {other}", pair(own)));
    let config = Config::load(&root.join("t.conf")).unwrap();
    let net = |index: usize| config.seen_from("a")[index].peers[0].net.clone();
    assert_eq!((net(0).protocol.name(), net(0).ko_count), ("A", 7));
    assert_eq!(net(0).timeout.as_millis(), 700);
    assert_eq!((net(1).protocol.name(), net(1).ko_count), ("B", 3));
    for (text, words) in [
        ("common { } common { }", "one section 'common' is expected in"),
        ("net { }", "one section 'common' is expected in"),
        ("common { on a { } }", "t/quick:1:13: no 'on' in section 'common'"),
        ("common { template-file \"t/quick\"; }", "no 'template-file' in 'common', only in"),
    ] {
        write(root, "t/quick", text);
        let error = Config::load(&root.join("t.conf")).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn patterns_match_as_in_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    // The folder's own name is no pattern.
    let root = directory.path().join("of[1]*");
    for (number, name) in (1..).zip(["r0", "r1", "x2", "r10"]) {
        write(&root, &format!("{name}.res"), &resource(name, number));
    }
    write(&root, ".r3.res", "nonsense");
    write(&root, "deep/er/r4.res", "nonsense");
    for (pattern, expected) in [
        ("*.res", "r0 r1 r10 x2"),
        ("**.res", "r0 r1 r10 x2"),
        ("r?.res", "r0 r1"),
        ("r[1-9]*.res", "r1 r10"),
        ("[!r]*.res", "x2"),
        ("*/r1.res", ""),
        ("[", "'[': Pattern syntax error near position"),
    ] {
        write(&root, "t.conf", &format!("include \"{pattern}\";"));
        let found = match Config::load(&root.join("t.conf")) {
            Ok(config) => {
                let names = config.definitions.into_iter().map(|it| it.resource.name);
                names.collect::<Vec<_>>().join(" ")
            }
            Err(errors) => errors.to_string(),
        };
        let is_good = found == expected || (expected.len() > 20 && found.contains(expected));
        assert!(is_good, "{pattern}: {found}");
    }
}
