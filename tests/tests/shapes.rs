//! Volumes of every shape: odd lengths, two volumes, external metadata, small pieces at odd places.
//!
//! 1. A pair of the shape comes up and is written to at random, at any byte, of any length.
//! 2. What is read back is what a plain array has that was written to in the same way.
//! 3. Both backing disks are the same, and hold it at offset 0, readable without a daemon.

use tandem_tests::nbd::Command;
use tandem_tests::{Cluster, Metadata, NbdClient, Random, Result, Side, Spec, image};

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

fn any_byte(test: &str, spec: Spec) -> Result<()> {
    let volumes = u16::try_from(spec.volumes.len())?;
    let cluster = Cluster::in_sync(test, spec)?;
    let mut random = Random::announced(test);
    let mut clients = Vec::new();
    for volume in 0..volumes {
        let client = cluster.node(Side::A).client(volume)?;
        let model = vec![0; usize::try_from(client.size_bytes())?];
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
    cluster.assert_same_data()?;
    cluster.finish()
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
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(0, &vec![0xdd; 16 << 20])?;
    let mut random = Random::announced("discard");
    for _ in 0..50 {
        let (offset, length) = (random.below(15 << 20), 1 + random.below(1 << 20));
        client.ask(Command::Trim, 0, offset, u32::try_from(length)?, &[])?;
    }
    let image = client.read(0, 16 << 20)?;
    assert!(image.iter().all(|byte| matches!(byte, 0 | 0xdd)));
    cluster.assert_same_data()?;
    cluster.finish()
}
