//! `tandemd.toml`: taken or refused by a sentence that names the file.

use tandem_control::daemon_config::DaemonConfig;

use super::Target;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "daemon_config",
    run,
    generate,
    words: WORDS,
    len_max: 4 << 10,
    base_bytes: 256 << 10,
    per_byte: 2 << 10,
};

const WORDS: &[&[u8]] = &[
    b"[nbd]\n",
    b"listen = [",
    b"\"127.0.0.1:10809\"",
    b"\"[::1]:1\"",
    b"connections = ",
    b"shards = ",
    b"[limits]\n",
    b"pool_bytes = ",
    b"[nbd.exports.\"r0/0\"]\n",
    b"read_only = true\n",
    b"]\n",
    b"1\n",
    b"67108864\n",
    b"\"\"\"",
    b"[[",
    b"{ a = ",
    b"0x",
    b"1e9",
    b"-1",
    b"= ",
    b"#",
];

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let text = String::from_utf8_lossy(input);
    match DaemonConfig::parse("tandemd.toml", &text) {
        Ok(config) => {
            let nbd = &config.nbd;
            seen.see((nbd.listen.len().min(3), nbd.exports.len().min(3), config.shards.is_some()));
            if nbd.connections == 0 || config.shards == Some(0) {
                return Err(format!("took what nothing can run with: {config:?}"));
            }
            Ok(())
        }
        Err(error) => {
            let error = error.to_string();
            // What toml says stands in the last line, behind the text that it is about.
            seen.see_text(error.lines().last().unwrap_or(""));
            let names_it = error.starts_with("tandemd.toml: ");
            if names_it { Ok(()) } else { Err(format!("an error of no file: {error}")) }
        }
    }
}

fn generate(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(10) {
        text.extend_from_slice(random.pick::<&[u8]>(WORDS));
    }
    text
}
