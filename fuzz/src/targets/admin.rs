//! What arrives at the admin socket, on both ends: requests at the daemon, responses at tandemadm.
//!
//! A frame is decoded or refused, with no more memory than it has bytes; one that is decoded is
//! encoded to a frame that says the same.

use tandem_control::admin::{
    Request, Response, decode_request, decode_response, encode_request, encode_response,
};

use super::Target;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "admin",
    run,
    generate,
    words: &[b"r0", b"\x02r0", b"r0/0", b"alice", &[0xfb, 0xff, 0xff], &[0xfd, 0xff, 0xff]],
    len_max: 4 << 10,
    // The length of a frame: serde reserves up to 1 MiB for a list on its word, and there are lists
    // in lists.
    base_bytes: 6 << 20,
    // An element of a list takes more room in memory than the byte that it is made of.
    per_byte: 1 << 10,
};

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    match decode_request(input) {
        Ok(None) => seen.see("request: more"),
        Ok(Some((request, taken))) => {
            check_taken(taken, input)?;
            seen.see((0, std::mem::discriminant(&request)));
            same_request(&request)?;
        }
        Err(error) => seen.see_text(&error.to_string()),
    }
    match decode_response(input) {
        Ok(None) => seen.see("response: more"),
        Ok(Some((response, taken))) => {
            check_taken(taken, input)?;
            seen.see((1, std::mem::discriminant(&response)));
            same_response(&response)?;
        }
        Err(error) => seen.see_text(&error.to_string()),
    }
    Ok(())
}

fn check_taken(taken: usize, input: &[u8]) -> Result<(), String> {
    if taken <= input.len() { Ok(()) } else { Err(format!("took {taken} of {}", input.len())) }
}

fn same_request(request: &Request) -> Result<(), String> {
    let frame = encode_request(request).map_err(|error| format!("is not encoded: {error}"))?;
    match decode_request(&frame) {
        Ok(Some((again, taken))) if format!("{again:?}") == format!("{request:?}") => {
            if taken == frame.len() { Ok(()) } else { Err("leaves bytes of itself".to_owned()) }
        }
        other => Err(format!("reads back as {other:?} from {request:?}")),
    }
}

fn same_response(response: &Response) -> Result<(), String> {
    let frame = encode_response(response).map_err(|error| format!("is not encoded: {error}"))?;
    match decode_response(&frame) {
        Ok(Some((again, _))) if format!("{again:?}") == format!("{response:?}") => Ok(()),
        other => Err(format!("reads back as {other:?} from {response:?}")),
    }
}

/// A frame whose length is right, most often.
fn generate(random: &mut Random) -> Vec<u8> {
    let mut payload = vec![0, random.byte() % 40];
    for _ in 0..random.below(12) {
        match random.below(4) {
            0 => payload.extend_from_slice(b"\x02r0"),
            1 => payload.push(random.byte() % 4),
            2 => payload.push(random.byte()),
            _ => payload.extend_from_slice(&[0xfb, random.byte(), 0]),
        }
    }
    let wrong = if random.chance(10) { random.byte() } else { 0 };
    let len = u32::try_from(payload.len()).unwrap_or(0).wrapping_add(u32::from(wrong));
    let mut frame = len.to_le_bytes().to_vec();
    frame.extend(payload);
    frame
}
