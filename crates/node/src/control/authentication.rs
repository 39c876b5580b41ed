//! What keeps two nodes from taking each other for who they say they are, for operators.
//!
//! It is told with the names of both: the node that is refused shows what the other one says, in a
//! log, in `why` and in `status`, so "here" would be the wrong place on one of the two.

use tandem_replica::wire::{HelloError, HmacAlgorithm, ProofError, RejectCode};

/// What differs of their secrets, where a greeting was refused for that.
pub(super) fn of_greeting(error: &HelloError, own: &str, peer: &str) -> Option<String> {
    if let HelloError::OneSecret { ours } = error {
        let (with, without) = if *ours { (own, peer) } else { (peer, own) };
        let text = format!("cram-hmac-alg and shared-secret are set on {with}, not on {without}");
        return Some(text);
    }
    let HelloError::Rejected(reject) = error else { return None };
    (reject.code == RejectCode::NotProved).then(|| reject.text.clone())
}

/// The same, where a proof was.
pub(super) fn of_proof(error: &ProofError, own: &str, peer: &str) -> Option<String> {
    match error {
        ProofError::Message(error) => of_greeting(error, own, peer),
        ProofError::Algorithm { ours, theirs } => {
            let theirs = name(*theirs);
            Some(format!("cram-hmac-alg is {ours} on {own}, and {theirs} on {peer}"))
        }
        ProofError::Wrong => Some(format!("{peer} does not know the shared-secret of {own}")),
    }
}

fn name(number: u16) -> String {
    let known = HmacAlgorithm::ALL.iter().find(|algorithm| algorithm.number() == number);
    known.map_or_else(|| format!("number {number}"), HmacAlgorithm::to_string)
}

/// Whether a refusal says nothing of the peer: attempts of both nodes have met.
pub(super) fn is_crossing(error: &HelloError) -> bool {
    let crossing = [RejectCode::Busy, RejectCode::AlreadyConnected];
    matches!(error, HelloError::Rejected(reject) if crossing.contains(&reject.code))
}

#[cfg(test)]
mod tests {
    use tandem_replica::wire::Reject;

    use super::*;

    #[test]
    fn both_nodes_are_named_whoever_reads_it() {
        let rejected = |code| HelloError::Rejected(Reject { code, text: "its words".to_owned() });
        for (error, text) in [
            (ProofError::Wrong, Some("b does not know the shared-secret of a")),
            (
                ProofError::Algorithm { ours: HmacAlgorithm::Sha256, theirs: 1 },
                Some("cram-hmac-alg is sha256 on a, and sha1 on b"),
            ),
            (
                ProofError::Algorithm { ours: HmacAlgorithm::Sha1, theirs: 9 },
                Some("cram-hmac-alg is sha1 on a, and number 9 on b"),
            ),
            (
                HelloError::OneSecret { ours: false }.into(),
                Some("cram-hmac-alg and shared-secret are set on b, not on a"),
            ),
            (rejected(RejectCode::NotProved).into(), Some("its words")),
            (rejected(RejectCode::StandAlone).into(), None),
        ] {
            assert_eq!(of_proof(&error, "a", "b").as_deref(), text, "{error}");
        }
        assert!(is_crossing(&rejected(RejectCode::Busy)));
        assert!(!is_crossing(&rejected(RejectCode::NotProved)));
    }
}
