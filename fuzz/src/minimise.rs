//! Making a failing input shorter and plainer, as long as it fails in the same way.

use crate::Target;
use crate::attempt::{Failure, attempt};

/// Runs that one input is worth.
const RUNS_MAX: usize = 20_000;

/// The shortest and plainest input found that fails like `input` does, with its failure.
pub fn minimise(target: &Target, input: &[u8], failure: &Failure) -> (Vec<u8>, Failure) {
    let (mut best, mut best_failure) = (input.to_vec(), failure.clone());
    let mut runs = 0;
    let mut still_fails = |candidate: &[u8]| {
        runs += 1;
        let failed = attempt(target, candidate).err().filter(|it| it.resembles(failure));
        failed.filter(|_| runs < RUNS_MAX)
    };
    loop {
        let before = best.clone();
        let mut len = best.len().div_ceil(2);
        while len > 0 {
            let mut at = 0;
            while at < best.len() {
                let mut shorter = best.clone();
                shorter.drain(at..(at + len).min(best.len()));
                match still_fails(&shorter) {
                    Some(failure) => (best, best_failure) = (shorter, failure),
                    None => at += len,
                }
            }
            len /= 2;
        }
        for at in 0..best.len() {
            if best[at] != 0 {
                let mut plainer = best.clone();
                plainer[at] = 0;
                if let Some(failure) = still_fails(&plainer) {
                    (best, best_failure) = (plainer, failure);
                }
            }
        }
        if best == before {
            return (best, best_failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::minimise;
    use crate::attempt::attempt;
    use crate::{Random, Sightings, Target};

    fn needs_seven_and_nine(input: &[u8], _: &mut Sightings) -> Result<(), String> {
        let has = |byte| input.contains(&byte);
        if has(7) && has(9) { Err(format!("both in {} bytes", input.len())) } else { Ok(()) }
    }

    #[test]
    fn what_does_not_matter_goes() {
        let target = Target {
            name: "t",
            run: needs_seven_and_nine,
            generate: |random| random.bytes(4),
            words: &[],
            len_max: 1000,
            base_bytes: 1 << 20,
            per_byte: 0,
        };
        let mut input = Random::new(5).bytes(900);
        input.extend([7, 1, 9]);
        let failure = attempt(&target, &input).unwrap_err();
        let (mut least, failure) = minimise(&target, &input, &failure);
        least.sort_unstable();
        assert_eq!(least, [7, 9]);
        assert_eq!(failure.to_string(), "both in 2 bytes");
    }
}
