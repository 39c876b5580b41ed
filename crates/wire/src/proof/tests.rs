//! Only who knows the secret, on this connection and at this end of it, gives a proof.

use super::*;
use crate::hello::{Hello, RejectCode, Versions};
use crate::types::NodeId;

fn secret(algorithm: HmacAlgorithm) -> SharedSecret {
    SharedSecret::new(algorithm, b"tell nobody")
}

fn greeting(resource: &str, sender: u8, receiver: u8, nonce: u64) -> [u8; HELLO_BYTES] {
    let hello = Hello {
        versions: Versions { min: 1, max: 1 },
        features: FEATURE_PROOF,
        resource: resource.to_owned(),
        sender: NodeId(sender),
        receiver: NodeId(receiver),
        discard_my_data: false,
        nonce,
    };
    hello.encode()
}

fn greetings() -> Greetings {
    Greetings { dialer: greeting("r0", 0, 1, 7), acceptor: greeting("r0", 1, 0, 8) }
}

#[test]
fn both_ends_prove_it_with_every_algorithm() {
    for algorithm in HmacAlgorithm::ALL {
        for end in [End::Dialer, End::Acceptor] {
            let message = secret(*algorithm).prove(&greetings(), end);
            assert_eq!(secret(*algorithm).verify(&greetings(), end, &message), Ok(()));
        }
    }
}

/// The HMAC is that of RFC 2104: this one was computed by another program.
#[test]
fn golden_bytes() {
    let message = secret(HmacAlgorithm::Sha256).prove(&greetings(), End::Dialer);
    assert_eq!(message[..16], *b"TANDEM\x01P\x02\0\0\0\0\0\0\0");
    let mac: String = message[16..48].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(mac, "22aa96cebea0df015be3137af6388b127400a3ff5cd73a430c89d97083b02ff0");
    assert!(message[48..252].iter().all(|byte| *byte == 0));
}

#[test]
fn what_was_proved_elsewhere_is_no_proof_here() {
    let of = secret(HmacAlgorithm::Sha1);
    let message = of.prove(&greetings(), End::Dialer);
    assert_eq!(
        of.verify(&greetings(), End::Acceptor, &message),
        Err(ProofError::Wrong),
        "reflected"
    );
    let others = [
        Greetings { acceptor: greeting("r0", 1, 0, 9), ..greetings() },
        Greetings { dialer: greeting("r0", 0, 1, 9), ..greetings() },
        Greetings { dialer: greeting("r0", 2, 1, 7), ..greetings() },
        Greetings { dialer: greeting("r1", 0, 1, 7), acceptor: greeting("r1", 1, 0, 8) },
        Greetings { dialer: greetings().acceptor, acceptor: greetings().dialer },
    ];
    for other in others {
        assert_eq!(of.verify(&other, End::Dialer, &message), Err(ProofError::Wrong));
    }
}

#[test]
fn another_secret_or_any_flipped_bit_is_no_proof() {
    let of = secret(HmacAlgorithm::Sha512);
    let other = SharedSecret::new(HmacAlgorithm::Sha512, b"tell nobody!");
    let message = other.prove(&greetings(), End::Dialer);
    assert_eq!(of.verify(&greetings(), End::Dialer, &message), Err(ProofError::Wrong));
    let message = of.prove(&greetings(), End::Dialer);
    for bit in 0..HELLO_BYTES * 8 {
        let mut flipped = message;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(of.verify(&greetings(), End::Dialer, &flipped).is_err(), "bit {bit}");
        // Also where an attacker makes the sum fit, outside of what is ignored.
        seal(&mut flipped);
        let ignored = (80..8 * 16).contains(&bit) || (8 * 80..8 * 252).contains(&bit);
        let is_same = flipped == message;
        let verified = of.verify(&greetings(), End::Dialer, &flipped);
        assert_eq!(verified.is_ok(), ignored || is_same, "bit {bit}");
    }
}

#[test]
fn errors_say_what_to_change() {
    let of = secret(HmacAlgorithm::Sha256);
    let message = secret(HmacAlgorithm::Sha1).prove(&greetings(), End::Dialer);
    let error = of.verify(&greetings(), End::Dialer, &message).unwrap_err();
    let expected = "cram-hmac-alg is sha256 here and sha1 at the peer; both need the same";
    assert_eq!(error.to_string(), expected);
    let text = "wrong".to_owned();
    let refusal = Reject { code: RejectCode::NotProved, text }.encode();
    let error = of.verify(&greetings(), End::Acceptor, &refusal).unwrap_err();
    assert_eq!(error.to_string(), "refused by the peer: wrong (NotProved)");
}

#[test]
fn debug_output_does_not_show_it() {
    let shown = format!("{:?}", secret(HmacAlgorithm::Sha1));
    assert_eq!(shown, "SharedSecret(sha1, not shown)");
}
