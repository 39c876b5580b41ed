//! `events2` misses nothing.
//!
//! 1. Writers work on the Primary. A watcher has been there from the beginning.
//! 2. The peer disconnects and connects again and again; meanwhile more watchers begin, each at
//!    some moment of it.
//! 3. Every watcher's lines, from its first picture on, lead to what `events2 --now` says at the
//!    end. The first one has seen each time that the connection came.
//! 4. A resource that goes down is destroyed; one that comes up is created.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_tests::{
    Audit, Cluster, Context, Load, LoadSpec, Node, Process, Random, Result, Side, Spec, fail,
};

const LIMIT: Duration = Duration::from_secs(20);

const CYCLES: usize = 12;

/// A program that prints events into a file.
struct Watcher {
    process: Process,
    file: PathBuf,
}

impl Watcher {
    fn start(cluster: &Cluster, name: &str, options: &[&str]) -> Result<Self> {
        let file = cluster.folder().join(name);
        let mut command = cluster.node(Side::A).adm_command(&[&["events2"], options].concat());
        let process = Process::start(name, &mut command, &file)?;
        Ok(Self { process, file })
    }

    fn text(&self) -> Result<String> {
        std::fs::read_to_string(&self.file).about(self.file.display())
    }

    /// Waits until its lines lead to this picture, and ends it.
    fn expect(mut self, picture: &Picture) -> Result<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let text = self.text()?;
            let seen = Picture::of(&text)?;
            if seen == *picture {
                self.process.kill();
                return Ok(text);
            }
            if Instant::now() > deadline {
                let file = self.file.display();
                return fail(format!("{file} has\n{seen:#?}\nand not\n{picture:#?}\n{text}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The states of all objects, by what names them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Picture(BTreeMap<String, BTreeMap<String, String>>);

/// Keys that name an object.
const NAMES: &[&str] = &["name", "peer-node-id", "conn-name", "volume", "local", "peer"];

impl Picture {
    /// What lines lead to; what is half a line yet is not there.
    fn of(text: &str) -> Result<Self> {
        let mut picture = Self::default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines().filter(|line| *line != "exists -") {
            picture.apply(line)?;
        }
        Ok(picture)
    }

    fn apply(&mut self, line: &str) -> Result<()> {
        let mut words = line.split(' ');
        let (verb, object) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (mut name, mut states) = (object.to_owned(), BTreeMap::new());
        for word in words {
            let (key, value) = word.split_once(':').unwrap_or((word, ""));
            if NAMES.contains(&key) {
                name.push_str(&format!(" {word}"));
            } else if key != "done" {
                states.insert(key.to_owned(), value.to_owned());
            }
        }
        match (verb, self.0.get_mut(&name)) {
            ("exists" | "create", None) => drop(self.0.insert(name, states)),
            ("change", Some(known)) => known.extend(states),
            ("destroy", Some(_)) => drop(self.0.remove(&name)),
            _ => return fail(format!("a line that cannot come here: {line}")),
        }
        Ok(())
    }
}

fn picture(node: &Node) -> Result<Picture> {
    let now = node.adm_ok(&["events2", "--now"])?;
    assert!(now.ends_with("exists -\n"), "{now}");
    Picture::of(&now)
}

#[test]
fn no_change_is_missed() -> Result<()> {
    let mut cluster = Cluster::in_sync("events", Spec::default())?;
    let first = Watcher::start(&cluster, "first", &[])?;
    let mut random = Random::announced("events");
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    let load = Load::start(cluster.node(Side::A), &audit, LoadSpec::default(), random.number())?;
    let mut watchers = Vec::new();
    for cycle in 0..CYCLES {
        let b = cluster.node(Side::B);
        b.adm_ok(&["disconnect", "r0"])?;
        watchers.push(Watcher::start(&cluster, &format!("{cycle}.events"), &["r0"])?);
        std::thread::sleep(Duration::from_millis(random.number() % 50));
        b.adm_ok(&["connect", "r0"])?;
        b.adm_ok(&["wait-connect", "r0"])?;
    }
    load.stop()?;
    cluster.wait_in_sync()?;
    let picture = picture(cluster.node(Side::A))?;
    for watcher in watchers {
        watcher.expect(&picture)?;
    }
    let told = first.expect(&picture)?;
    let count = |what: &str| told.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count(" connection:Connected "), CYCLES + 1, "{told}");
    assert!(count(" replication:SyncSource ") >= 1, "{told}");
    cluster.stop()?;
    cluster.finish()
}

#[test]
fn resources_come_and_go() -> Result<()> {
    let mut cluster = Cluster::in_sync("events-down", Spec::default())?;
    let watcher = Watcher::start(&cluster, "events", &["--timestamps", "--diff"])?;
    let deadline = Instant::now() + LIMIT;
    while !watcher.text()?.contains("exists -\n") {
        assert!(Instant::now() < deadline, "it prints no first picture");
        std::thread::sleep(Duration::from_millis(20));
    }
    let a = cluster.node(Side::A);
    a.adm_ok(&["down", "r0"])?;
    a.adm_ok(&["up", "r0"])?;
    a.wait("connected", LIMIT, |it| it.connection() == "Connected")?;
    let mut told = watcher.text()?;
    while !told.contains("connection:Connecting->Connected") {
        assert!(Instant::now() < deadline, "{told}");
        std::thread::sleep(Duration::from_millis(20));
        told = watcher.text()?;
    }
    let mut rest = told.as_str();
    for part in [
        "exists device name:r0 volume:0 minor:0 backing_dev:UNKNOWN->",
        "+00:00 exists -\n",
        "change resource name:r0 role:Primary->Secondary",
        "connection:Connected->",
        "disk:UpToDate->Diskless",
        "destroy path name:r0",
        "destroy peer-device name:r0",
        "destroy connection name:r0",
        "destroy device name:r0 volume:0\n",
        "destroy resource name:r0\n",
        "create resource name:r0 role:UNKNOWN->Secondary",
        "create peer-device name:r0",
        "connection:Connecting->Connected role:Unknown->Secondary",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no '{part}' in\n{rest}\nof\n{told}"));
        rest = &rest[at..];
    }
    let bad = a.adm(&["events2", "--nonsense"])?;
    assert_eq!(bad.code, 1, "{}", bad.describe());
    cluster.stop()?;
    cluster.finish()
}
