//! Every input that is kept runs as it should.

use tandem_fuzz::attempt::attempt;
use tandem_fuzz::{Random, corpus, targets};

/// One test: memory is counted for the process.
#[test]
fn kept_inputs_pass() {
    for target in targets::ALL {
        let inputs = corpus::load(target).unwrap();
        assert!(!inputs.is_empty(), "{}: nothing is kept", target.name);
        for (path, input) in inputs {
            let path = path.display();
            let is_small = input.len() <= corpus::KEPT_BYTES_MAX;
            assert!(is_small, "{path} has more than {} bytes", corpus::KEPT_BYTES_MAX);
            if let Err(failure) = attempt(target, &input) {
                panic!("{path}: {failure}");
            }
        }
        // And some that nobody has ever seen.
        let mut random = Random::new(1);
        for _ in 0..50 {
            let input = (target.generate)(&mut random);
            if let Err(failure) = attempt(target, &input) {
                panic!("{}: {input:02x?}: {failure}", target.name);
            }
        }
    }
}
