//! Volumes that are far larger than their disk space, on one node.
//!
//! 1. A volume of nearly 16 TiB, the largest file of ext4, takes hardly more memory than one of 64
//!    MiB: when its node has started, is Primary, has come back from a kill, and has been asked for
//!    every extent. Both ends of it can be written and read.
//! 2. qemu, which agrees on extended headers where it knows them, maps 5 TiB and finds what was
//!    written.
//! 3. A request longer than 4 GiB is carried out in one go.

use std::time::Duration;

use tandem_tests::tool::run_tool;
use tandem_tests::{Allocation, Ask, Cluster, ExtendedClient, Failure, Result, Side};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

fn alone(test: &str, bytes: u64) -> Result<Cluster> {
    Cluster::alone_on_sparse(Cluster::folder_for(test)?, bytes)
}

/// The most memory that the daemon of `a` has had at a time, in bytes.
fn memory_peak(cluster: &mut Cluster) -> Result<u64> {
    let pid = cluster.node_mut(Side::A).daemon()?.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| Failure::new(status))? * 1024)
}

/// Both ends and the middle are written; the daemon is killed and comes back. Returns its memory.
fn use_it(cluster: &mut Cluster) -> Result<u64> {
    let mut client = cluster.node(Side::A).client(0)?;
    let end = client.size_bytes();
    let places = [0, end / 2 / 4096 * 4096, end - 4096];
    for place in places {
        client.write(place, &[7; 4096])?;
    }
    let before = memory_peak(cluster)?;
    cluster.node_mut(Side::A).kill()?;
    cluster.node_mut(Side::A).start()?;
    let a = cluster.node(Side::A);
    a.adm_ok(&["primary", "r0"])?;
    let mut client = a.client(0)?;
    for place in places {
        assert_eq!(client.read(place, 4096)?, [7; 4096]);
    }
    drop(client);
    let text = run_tool("nbdinfo", &["--map", "--totals", "--json", &a.uri(0)], LIMIT)?.ok()?;
    let totals: serde_json::Value = serde_json::from_str(&text)?;
    let total = totals.as_array().into_iter().flatten().filter_map(|it| it["size"].as_u64());
    assert_eq!(total.sum::<u64>(), end, "{text}");
    Ok(before.max(memory_peak(cluster)?))
}

#[test]
fn sixteen_tib_take_hardly_more_memory_than_a_few_mib() -> Result<()> {
    let mut small = alone("small", 64 * MIB)?;
    let of_small = use_it(&mut small)?;
    small.finish()?;
    let mut large = alone("16-tib", 16 * TIB - 64 * 1024)?;
    assert!(large.data_bytes(0)? > 15 * TIB);
    let of_large = use_it(&mut large)?;
    eprintln!("{of_small} bytes of memory for 64 MiB, {of_large} for 16 TiB");
    assert!(of_large < of_small + 64 * MIB);
    large.finish()
}

/// Whether this qemu has them: since version 8.2.
fn knows_extended_headers() -> Result<bool> {
    let text = run_tool("qemu-io", &["--version"], LIMIT)?.ok()?;
    let version = text.split(' ').nth(2).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    Ok((numbers.next(), numbers.next()) >= (Some(8), Some(2)))
}

#[test]
fn qemu_uses_extended_headers_on_5_tib() -> Result<()> {
    let cluster = alone("5-tib", 5 * TIB)?;
    let a = cluster.node(Side::A);
    let end = cluster.data_bytes(0)?;
    let last = (end - 512).to_string();
    let commands = [format!("write -P 5 {last} 512"), format!("write -P 6 {} 64k", 3 * TIB)];
    let mut arguments = vec!["-T", "nbd_send_option_request", "-f", "raw"];
    arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
    let uri = a.uri(0);
    arguments.push(&uri);
    let output = run_tool("qemu-io", &arguments, LIMIT)?;
    assert_eq!(output.code, 0, "{}", output.describe());
    // Where they are agreed on, structured replies are not asked for.
    let asked = if knows_extended_headers()? { "(extended headers)" } else { "(structured reply)" };
    let options = ["(extended headers)", "(structured reply)"];
    let asked_for = options.map(|option| output.stderr.contains(option));
    assert_eq!(asked_for, options.map(|option| option == asked), "{}", output.describe());
    let text = run_tool("qemu-img", &["map", "--output=json", "-f", "raw", &uri], LIMIT)?.ok()?;
    let map: serde_json::Value = serde_json::from_str(&text)?;
    let data = map.as_array().into_iter().flatten().filter(|extent| extent["data"] == true);
    let data: Vec<_> = data.map(|it| (it["start"].as_u64(), it["length"].as_u64())).collect();
    let expected = [(Some(3 * TIB), Some(65_536)), (Some(end - 4096), Some(4096))];
    assert_eq!(data, expected, "{text}");
    let read = format!("read -P 5 {last} 512");
    run_tool("qemu-io", &["-f", "raw", "-c", &read, &uri], LIMIT)?.ok()?;
    cluster.finish()
}

#[test]
fn a_request_may_be_longer_than_4_gib() -> Result<()> {
    let cluster = alone("64-bit", 40 * GIB)?;
    let a = cluster.node(Side::A);
    let mut plain = a.client(0)?;
    let places = [0, 5 * GIB, 9 * GIB, 13 * GIB, 17 * GIB];
    for place in places {
        plain.write(place, &[9; 1 << 20])?;
    }
    plain.flush()?;
    let mut client = ExtendedClient::open(&a.nbd(), "r0/0")?;
    client.ask(Ask::Trim, 4096, 9 * GIB)?;
    let reads: Vec<u8> =
        places.iter().map(|place| Ok(plain.read(place + 8192, 1)?[0])).collect::<Result<_>>()?;
    assert_eq!(reads, [0, 0, 9, 9, 9]);
    assert_eq!(plain.read(0, 4096)?, [9; 4096], "in front of it");
    client.ask(Ask::WriteZeroes, 9 * GIB + 8193, 8 * GIB)?;
    assert_eq!(plain.read(9 * GIB + 8192, 3)?, [9, 0, 0]);
    assert_eq!(plain.read(13 * GIB, 1 << 20)?, vec![0; 1 << 20]);
    assert_eq!(plain.read(17 * GIB + 8192, 3)?, [0, 9, 9]);
    // What is told reaches as far as the server likes, and no further than asked.
    let told = client.ask(Ask::BlockStatus, 20 * GIB, 18 * GIB)?;
    let Some(Allocation { length, flags: 3 }) = told.first() else { panic!("{told:?}") };
    assert!((1 << 20..=18 * GIB).contains(length), "{told:?}");
    let end = plain.size_bytes();
    assert!(client.ask(Ask::WriteZeroes, GIB, end).is_err(), "behind the end");
    drop((client, plain));
    cluster.finish()
}
