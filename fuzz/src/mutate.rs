//! Changing an input a little: what a transmission, a disk or a malicious hand might.

use crate::Random;

/// Changes `input`, which stays at most `len_max` long. `others` are inputs to take parts from,
/// `words` those that the format is made of.
pub(crate) fn mutate(
    input: &mut Vec<u8>,
    random: &mut Random,
    others: &[Vec<u8>],
    words: &[&[u8]],
    len_max: usize,
) {
    let most = 1 << random.below(4);
    for _ in 0..1 + random.below(most) {
        change(input, random, others, words);
    }
    input.truncate(len_max);
}

fn change(input: &mut Vec<u8>, random: &mut Random, others: &[Vec<u8>], words: &[&[u8]]) {
    if input.is_empty() {
        return input.extend(random.bytes(8));
    }
    let at = random.below(input.len());
    match random.below(11) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.byte(),
        2 => input[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff, b' ', b'\n', b'"', b'{', b'}']),
        3 => input[at] = input[at].wrapping_add(1).wrapping_sub(random.byte() & 2),
        4 => remove(input, at, random),
        5 => {
            let len = 1 + random.below(16);
            let bytes = random.bytes(len);
            input.splice(at..at, bytes);
        }
        6 => number(input, at, random),
        7 | 8 if !words.is_empty() => {
            let word = *random.pick(words);
            let end = if random.chance(50) { at } else { input.len().min(at + word.len()) };
            input.splice(at..end, word.iter().copied());
        }
        9 if !others.is_empty() => {
            let other = random.pick(others);
            let part = part_of(other, random);
            let end = if random.chance(50) { at } else { input.len().min(at + part.len()) };
            input.splice(at..end, part);
        }
        _ => {
            let part = part_of(input, random);
            input.splice(at..at, part);
        }
    }
}

fn remove(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let most = (input.len() - at).min(1 << random.below(10));
    let len = 1 + random.below(most);
    input.drain(at..at + len);
}

/// A number in place of some bytes, in either order.
fn number(input: &mut [u8], at: usize, random: &mut Random) {
    let edge = (1_u64 << random.below(64)).wrapping_sub(random.number() & 1);
    let number = *random.pick(&[0, 1, 512, 4096, 1 << 20, u64::MAX, u64::MAX / 2, edge]);
    let bytes = if random.chance(50) { number.to_le_bytes() } else { number.to_be_bytes() };
    let len = *random.pick(&[2, 4, 8]);
    let from = if random.chance(50) { &bytes[..len] } else { &bytes[8 - len..] };
    for (place, byte) in input[at..].iter_mut().zip(from) {
        *place = *byte;
    }
}

fn part_of(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let at = random.below(bytes.len());
    let len = 1 + random.below((bytes.len() - at).min(256));
    bytes[at..at + len].to_vec()
}

#[cfg(test)]
mod tests {
    use super::mutate;
    use crate::Random;

    #[test]
    fn every_change_stays_within_the_length_and_most_change_something() {
        let (mut random, mut changed) = (Random::new(1), 0);
        let others = [b"another".to_vec(), Vec::new()];
        for round in 0..10_000 {
            let before = random.bytes(round % 40);
            let mut input = before.clone();
            mutate(&mut input, &mut random, &others, &[b"word"], 50);
            assert!(input.len() <= 50);
            changed += usize::from(input != before);
        }
        assert!(changed > 9_000, "{changed}");
    }
}
