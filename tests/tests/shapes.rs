//! Volumes of every shape: odd lengths, two volumes, external metadata, block devices; small pieces
//! at odd places.
//!
//! 1. A pair of the shape comes up and is written to at random, at any byte, of any length.
//! 2. What is read back is what a plain array has that was written to in the same way.
//! 3. Both backing disks are the same, and hold it at offset 0, readable without a daemon.

use std::fs::File;
use std::time::Duration;

use tandem_tests::nbd::Command;
use tandem_tests::tool::run_tool;
use tandem_tests::{
    Cluster, Context, LoopDevice, Metadata, NbdClient, Random, Result, Side, Spec, image,
};

#[test]
fn internal_metadata() -> Result<()> {
    any_byte("internal", Spec::with_bytes(24 << 20))
}

#[test]
fn external_metadata() -> Result<()> {
    let spec = Spec { metadata: Metadata::External, ..Spec::with_bytes(24 << 20) };
    any_byte("external", spec)
}

#[test]
fn odd_lengths() -> Result<()> {
    let spec = Spec { metadata: Metadata::External, ..Spec::with_bytes((20 << 20) + 5 * 512) };
    any_byte("odd-external", spec)?;
    any_byte("odd-internal", Spec::with_bytes((20 << 20) + 3 * 512))?;
    any_byte("odd-byte", Spec::with_bytes((20 << 20) + 513))
}

#[test]
fn two_volumes() -> Result<()> {
    let spec = Spec { volumes: vec![16 << 20, 24 << 20], ..Spec::default() };
    any_byte("two-volumes", spec)
}

/// They hold the volume to the end, are discarded and zeroed by commands of their own, and grow.
#[test]
fn block_devices() -> Result<()> {
    let (folder, spec) = (Cluster::folder_for("devices")?, Spec::with_bytes(24 << 20));
    let files = ["a", "b"].map(|name| folder.path().join(name));
    for file in &files {
        image::allocate(file, spec.volumes[0])?;
    }
    let devices = [LoopDevice::attach(&files[0])?, LoopDevice::attach(&files[1])?];
    let disks = devices.each_ref().map(|device| vec![device.name().into()]);
    let mut cluster = Cluster::with_disks(spec, folder, &disks)?;
    cluster.bring_up()?;
    write_any_byte(&cluster, 1, "devices")?;
    discard(&cluster)?;
    let map = ["--map", "--totals", &cluster.node(Side::A).uri(0)];
    let map = run_tool("nbdinfo", &map, Duration::from_secs(20))?.ok()?;
    assert!(map.contains("100.0%   0 data"), "it has no extents to tell of: {map}");
    cluster.node_mut(Side::A).kill()?;
    for (file, device) in files.iter().zip(&devices) {
        File::options().write(true).open(file)?.set_len(32 << 20).about(file.display())?;
        device.take_size()?;
    }
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    let before = cluster.data_bytes(0)?;
    cluster.node(Side::A).adm_ok(&["primary", "r0"])?;
    cluster.node(Side::A).adm_ok(&["resize", "r0"])?;
    assert!(cluster.data_bytes(0)? >= before + (8 << 20) - 4096);
    write_any_byte(&cluster, 1, "devices-grown")?;
    cluster.finish()
}

fn any_byte(test: &str, spec: Spec) -> Result<()> {
    let volumes = u16::try_from(spec.volumes.len())?;
    let cluster = Cluster::in_sync(test, spec)?;
    write_any_byte(&cluster, volumes, test)?;
    cluster.finish()
}

/// Begins with what is there.
fn write_any_byte(cluster: &Cluster, volumes: u16, test: &str) -> Result<()> {
    let mut random = Random::announced(test);
    let mut clients = Vec::new();
    for volume in 0..volumes {
        let mut client = cluster.node(Side::A).client(volume)?;
        let model = client.read_all()?;
        clients.push((client, model));
    }
    for _ in 0..400 {
        for (client, model) in &mut clients {
            step(client, model, &mut random)?;
        }
    }
    for (volume, (client, model)) in (0..volumes).zip(&mut clients) {
        client.flush()?;
        assert!(client.read_all()? == *model, "volume {volume} reads otherwise");
        for side in [Side::A, Side::B] {
            let image = image::read(cluster.node(side).disk(volume), model.len() as u64)?;
            assert!(image == *model, "disk of volume {volume} of {side:?}");
        }
    }
    drop(clients);
    cluster.assert_same_data()
}

/// One request of any kind and place, to the volume and to the array.
fn step(client: &mut NbdClient, model: &mut [u8], random: &mut Random) -> Result<()> {
    let bound = [600, 5000, 70_000][usize::try_from(random.below(3))?];
    let length = 1 + random.below(bound);
    let room = model.len() as u64 - length;
    // Both ends are tried more often than chance would.
    let offset = match random.below(8) {
        0 => 0,
        1 => room,
        _ => random.below(room + 1),
    };
    let range = usize::try_from(offset)?..usize::try_from(offset + length)?;
    let length = u32::try_from(length)?;
    match random.below(10) {
        0..6 => {
            let data = random.bytes(range.len());
            client.write(offset, &data)?;
            model[range].copy_from_slice(&data);
        }
        6 => {
            client.ask(Command::WriteZeroes, 0, offset, length, &[])?;
            model[range].fill(0);
        }
        _ => assert!(client.read(offset, length)? == model[range], "{offset}+{length}"),
    }
    Ok(())
}

/// What a discard leaves is the same on both nodes, and zero or untouched.
#[test]
fn a_discard_is_the_same_on_both() -> Result<()> {
    let cluster = Cluster::in_sync("discard", Spec::default())?;
    discard(&cluster)?;
    cluster.finish()
}

fn discard(cluster: &Cluster) -> Result<()> {
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(0, &vec![0xdd; 16 << 20])?;
    let mut random = Random::announced("discard");
    for _ in 0..50 {
        let (offset, length) = (random.below(15 << 20), 1 + random.below(1 << 20));
        client.ask(Command::Trim, 0, offset, u32::try_from(length)?, &[])?;
    }
    let image = client.read(0, 16 << 20)?;
    assert!(image.iter().all(|byte| matches!(byte, 0 | 0xdd)));
    cluster.assert_same_data()
}
