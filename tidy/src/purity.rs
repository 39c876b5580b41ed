//! The pure crates decide; they have no clock, file, socket, thread, lock or chance of their own.
//!
//! `clippy.toml` beside each of them forbids the types by name; this looks at every path that their
//! sources name, tests included, because what decides must also be tested without a world.

use crate::paths::{CodePath, paths};
use crate::tree::{Finding, Tree};

/// Crates that wait for nothing.
pub const PURE: [&str; 3] = ["wire", "nbd", "replica"];

/// Words that no path may hold.
const WORDS: [&str; 10] = [
    "Condvar",
    "HashMap",
    "HashSet",
    "Mutex",
    "RandomState",
    "RwLock",
    "SystemTime",
    "async",
    "unsafe",
    "thread_local",
];

/// What no path may be or lie below.
const PREFIXES: [&str; 19] = [
    "getrandom",
    "io_uring",
    "libc",
    "rand",
    "rustix",
    "socket2",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::thread",
    "std::time::*",
    "std::time::Instant",
    "std::time::self",
    "tokio",
];

/// What the pure crates name and may not.
pub fn impure_paths(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        let is_pure = PURE.iter().any(|name| file.path.starts_with(&format!("crates/{name}/src/")));
        if !is_pure {
            continue;
        }
        for path in paths(&file.lex()).iter().filter(|path| is_forbidden(path)) {
            let text = format!("{} in a pure crate", path.text);
            found.push(Finding::new("purity", &file.path, path.line, text));
        }
    }
    found
}

fn is_forbidden(path: &CodePath) -> bool {
    path.parts().any(|part| WORDS.contains(&part))
        || path.text == "std::time"
        || path.text == "std"
        || PREFIXES.iter().any(|prefix| path.is_below(prefix))
}

#[cfg(test)]
mod tests {
    use super::impure_paths;
    use crate::tree::{File, Tree};

    fn in_file(path: &str, text: &str) -> usize {
        let files = vec![File::new(path, text)];
        impure_paths(&Tree { files }).len()
    }

    #[test]
    fn what_waits_is_found() {
        for text in [
            "use std::time::Instant;",
            "use std::time;",
            "use std::{time::{Duration, Instant}, fmt};",
            "let t = std::time::SystemTime::now();",
            "use std::collections::{BTreeMap, HashMap};",
            "std::fs::read(x)",
            "use std::{net::IpAddr};",
            "std::thread::spawn(f)",
            "use std::sync::Mutex;",
            "rand::random()",
            "use tokio::sync;",
            "io_uring::opcode::Read",
            "unsafe { x }",
            "async fn f() {}",
        ] {
            assert_eq!(in_file("crates/wire/src/a.rs", text), 1, "{text}");
            assert_eq!(in_file("crates/node/src/a.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn what_does_not_wait_is_not() {
        for text in [
            "use std::time::Duration;",
            "use crate::time::Instant;",
            "x.net.timeout; brand::random(); // std::fs",
            "include_str!(\"std::fs\")",
        ] {
            assert_eq!(in_file("crates/replica/src/a.rs", text), 0, "{text}");
        }
    }
}
