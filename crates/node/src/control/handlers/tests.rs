//! What a handler is told, what becomes of its end, and that none is waited for too long.

use super::*;
use crate::control::registry::Registry;
use crate::mail::ResourceKey;
use tandem_control::config::Config;

fn config() -> ResourceConfig {
    let text = "resource r0 {
        volume 0 { device minor 4; disk /dev/a; } volume 1 { device minor 5; disk /dev/b; }
        on a { node-id 0; address 10.0.0.1:7000; } on b { node-id 1; address 10.0.0.2:7000; } }";
    Config::parse("t.res".as_ref(), text).unwrap().seen_from("a").remove(0)
}

fn told(volume: Option<u16>) -> Vec<(String, String)> {
    let occasion = handler::Occasion {
        handler: "split-brain",
        volume: volume.map(tandem_control::VolumeNumber),
        peer: Some(tandem_control::NodeId(1)),
        facts: handler::Facts::default(),
    };
    let config_file = Path::new("/etc/tandem.conf");
    let run_dir = Path::new("/run/tandem");
    handler::environment(&config(), occasion, handler::Caller { config_file, run_dir, node: "a" })
}

fn value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn an_event_of_a_volume_has_its_numbers_and_one_of_a_connection_lists() {
    let one = told(Some(1));
    assert_eq!(value(&one, "DRBD_MINOR"), Some("5"));
    assert_eq!(value(&one, "DRBD_BACKING_DEV"), Some("/dev/b"));
    let all = told(None);
    assert_eq!(value(&all, "DRBD_VOLUME"), Some("0 1"));
    assert_eq!(value(&all, "DRBD_LL_DISK"), Some("/dev/a /dev/b"));
    assert_eq!(value(&all, "DRBD_MINOR_0"), Some("4"));
}

#[test]
fn a_handler_knows_who_both_nodes_are() {
    let told = told(None);
    for (name, expected) in [
        ("DRBD_RESOURCE", "r0"),
        ("DRBD_CONF", "/etc/tandem.conf"),
        ("TANDEM_RUN_DIR", "/run/tandem"),
        ("TANDEM_NODE", "a"),
        ("DRBD_MY_NODE_ID", "0"),
        ("DRBD_NODE_ID_0", "a"),
        ("DRBD_NODE_ID_1", "b"),
        ("DRBD_PEER_NODE_ID", "1"),
        ("DRBD_PEER_ADDRESS", "10.0.0.2"),
        ("DRBD_MY_AF", "ipv4"),
    ] {
        assert_eq!(value(&told, name), Some(expected), "{name}");
    }
}

async fn exit_code(line: &str, limit: Duration) -> Option<i32> {
    run_program(&Program::Line(line.to_owned()), limit).await
}

async fn run_program(program: &Program, limit: Duration) -> Option<i32> {
    run(&config(), Handler::SplitBrain, program, told(None), limit).await
}

/// A resource with one handler.
fn running(origin: Origin) -> Running {
    let mut config = config();
    config.handlers.insert("split-brain".to_owned(), "mine".to_owned());
    let config = Arc::new(config);
    let made = Arc::clone(&config);
    Running { config, made, origin, shard: 0, key: ResourceKey(0) }
}

/// What is run for its event, and for another one.
fn programs(origin: Origin, helper: Option<&str>) -> [Option<Program>; 2] {
    [Handler::SplitBrain, Handler::FencePeer]
        .map(|handler| Program::of(&running(origin), handler, helper.map(Path::new)))
}

#[test]
fn the_helper_is_for_what_came_in_parts_and_has_no_handler() {
    let mine = Some(Program::Line("mine".to_owned()));
    let (path, resource) = (PathBuf::from("/sbin/drbdadm"), "r0".to_owned());
    let asked = Some(Program::Helper { path, handler: "fence-peer", resource });
    for origin in [Origin::Whole, Origin::Begun, Origin::Parts] {
        assert_eq!(programs(origin, None), [mine.clone(), None]);
    }
    let helper = Some("/sbin/drbdadm");
    assert_eq!(programs(Origin::Whole, helper), [mine.clone(), None]);
    for origin in [Origin::Begun, Origin::Parts] {
        assert_eq!(programs(origin, helper), [mine.clone(), asked.clone()]);
    }
}

#[test]
fn a_resource_is_of_parts_until_it_is_described_as_a_whole() {
    let registry = Registry::default();
    let origin = || registry.find("r0").map(|it| it.origin);
    registry.insert(running(Origin::Begun));
    registry.seal("r0");
    assert_eq!(origin(), Some(Origin::Parts));
    registry.describe("r0");
    registry.seal("r0");
    assert_eq!(origin(), Some(Origin::Whole));
}

#[tokio::test(flavor = "current_thread")]
async fn a_helper_has_the_handler_and_the_resource_as_arguments() {
    let helper = |path: &str| {
        let (path, resource) = (path.into(), "r0".to_owned());
        Program::Helper { path, handler: Handler::SplitBrain.name(), resource }
    };
    let command = helper("/sbin/drbdadm").command();
    let arguments: Vec<_> = command.as_std().get_args().collect();
    assert_eq!(arguments, ["split-brain", "r0"]);
    assert_eq!(helper("/sbin/drbdadm").to_string(), "/sbin/drbdadm split-brain r0");
    let long = Duration::from_secs(60);
    assert_eq!(run_program(&helper("/bin/false"), long).await, Some(1));
    assert_eq!(run_program(&helper("/nowhere/at/all"), long).await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn the_exit_code_is_the_answer_and_a_signal_is_none() {
    let long = Duration::from_secs(60);
    assert_eq!(exit_code("test $DRBD_RESOURCE = r0 && exit 7", long).await, Some(7));
    assert_eq!(exit_code("kill -9 $$", long).await, None);
    assert_eq!(exit_code("/nowhere/at/all", long).await, Some(127));
}

#[tokio::test(flavor = "current_thread")]
async fn one_that_hangs_is_killed_with_all_it_has_begun() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lives");
    let path = file.display();
    let command = format!("(sleep 2; echo on > {path}) & sleep 600");
    let begun = std::time::Instant::now();
    assert_eq!(exit_code(&command, Duration::from_millis(200)).await, None);
    assert!(begun.elapsed() < Duration::from_secs(60));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!file.exists(), "what the handler had begun lives on");
}
