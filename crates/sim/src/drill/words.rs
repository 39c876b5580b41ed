//! Moves and blows, and how they are written: a drill as `1:disconnect 0:write 1:primary-force`, a
//! blow as `kill@0:7` (at node 0's seventh operation), `power@1:3`, `reset@0:12` (of the link,
//! behind node 0's twelfth packet), `1:primary@0:5` (behind what node 0 does fifth, whether
//! operation or packet), `both:primary@0:5` (at both nodes), `slow:1:connect@0:5` (while node 0's
//! sixth operation hangs) or `late:1:connect@0:5` (it then fails).

use std::fmt;
use std::str::FromStr;

macro_rules! moves {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What is done at a node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Act { $($(#[$doc])* $name,)* }

        impl Act {
            /// All of them, with their names.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$name, $text),)*];
        }
    };
}

moves! {
    /// A client writes a few blocks.
    Write = "write",
    /// A client reads all that it may have written.
    Read = "read",
    /// A client flushes.
    Flush = "flush",
    /// `primary`.
    Primary = "primary",
    /// `primary --force`.
    PrimaryForce = "primary-force",
    /// `secondary`.
    Secondary = "secondary",
    /// `disconnect`.
    Disconnect = "disconnect",
    /// `connect`.
    Connect = "connect",
    /// `connect --discard-my-data`.
    Discard = "discard",
    /// `attach`.
    Attach = "attach",
    /// `detach`.
    Detach = "detach",
    /// `detach --force`.
    DetachForce = "detach-force",
    /// `invalidate`.
    Invalidate = "invalidate",
    /// `invalidate-remote`.
    InvalidateRemote = "invalidate-remote",
    /// `outdate`.
    Outdate = "outdate",
    /// `new-current-uuid`.
    NewUuid = "new-uuid",
    /// `suspend-io`.
    Suspend = "suspend-io",
    /// `resume-io`.
    Resume = "resume-io",
    /// `pause-sync`.
    Pause = "pause-sync",
    /// `resume-sync`.
    Continue = "resume-sync",
    /// `verify`.
    Verify = "verify",
    /// `down`, then a new process.
    Restart = "restart",
    /// The process is killed.
    Kill = "kill",
    /// The node loses its power.
    Power = "power",
    /// What it sends is lost until `mend`.
    Cut = "cut",
    /// What it sends arrives again.
    Mend = "mend",
}

/// One move of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where.
    pub node: usize,
    /// What.
    pub act: Act,
}

impl Move {
    /// Every move that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        [0, 1]
            .into_iter()
            .flat_map(|node| Act::ALL.iter().map(move |(act, _)| Self { node, act: *act }))
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.act)
    }
}

impl FromStr for Move {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{text:?} is no move: write 0:primary or 1:write");
        let (node, name) = text.split_once(':').ok_or_else(bad)?;
        let node = node_of(node).ok_or_else(bad)?;
        Ok(Self { node, act: Act::of(name).ok_or_else(bad)? })
    }
}

impl Act {
    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, it)| *it == name).map(|(act, _)| *act)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = Self::ALL.iter().find(|(act, _)| act == self).expect("all are listed");
        f.write_str(name)
    }
}

fn node_of(text: &str) -> Option<usize> {
    ["0", "1"].iter().position(|it| *it == text)
}

/// The moves of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves(pub Vec<Move>);

impl fmt::Display for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(" "))
    }
}

impl FromStr for Moves {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// How what the last move leads to is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// A process is killed while the operation is in flight.
    Kill,
    /// A node loses its power while the operation is in flight.
    Power,
    /// The link is reset behind the packet.
    Reset,
    /// An operation of the disk fails, the next one that ends.
    Fail,
    /// Every operation of the disk fails from there on.
    Sick,
    /// Another move is made, behind the operation or packet.
    Cross(Move),
    /// The operation that follows hangs for the time of another move.
    Slow(Move),
    /// It fails then.
    Late(Move),
    /// The same is done at both nodes, behind the operation or packet.
    Both(Act),
}

/// A strike at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blow {
    /// What falls.
    pub strike: Strike,
    /// Whose operations or packets are counted, or both.
    pub node: usize,
    /// At which of them, from 1.
    pub at: u64,
}

/// What falls by itself.
const STRIKES: [(Strike, &str); 5] = [
    (Strike::Kill, "kill"),
    (Strike::Power, "power"),
    (Strike::Reset, "reset"),
    (Strike::Fail, "fail"),
    (Strike::Sick, "sick"),
];

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.strike {
            Strike::Cross(other) => write!(f, "{other}")?,
            Strike::Slow(other) => write!(f, "slow:{other}")?,
            Strike::Late(other) => write!(f, "late:{other}")?,
            Strike::Both(act) => write!(f, "both:{act}")?,
            Strike::Kill | Strike::Power | Strike::Reset | Strike::Fail | Strike::Sick => {
                let (_, name) = STRIKES.iter().find(|(it, _)| *it == self.strike).expect("named");
                f.write_str(name)?;
            }
        }
        write!(f, "@{}:{}", self.node, self.at)
    }
}

impl FromStr for Blow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{text:?} is no blow: write kill@0:7, reset@1:3 or 1:primary@0:12");
        let (name, place) = text.split_once('@').ok_or_else(bad)?;
        let other = |text: &str| text.parse().map_err(|_| bad());
        let strike = match (STRIKES.iter().find(|(_, it)| *it == name), name.split_once(':')) {
            (Some((strike, _)), _) => *strike,
            (None, Some(("both", act))) => Strike::Both(Act::of(act).ok_or_else(bad)?),
            (None, Some(("slow", text))) => Strike::Slow(other(text)?),
            (None, Some(("late", text))) => Strike::Late(other(text)?),
            (None, _) => Strike::Cross(other(name)?),
        };
        let (node, at) = place.split_once(':').ok_or_else(bad)?;
        let node = node_of(node).ok_or_else(bad)?;
        let at = at.parse().map_err(|_| bad())?;
        Ok(Self { strike, node, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_and_blows_are_what_they_read_as() {
        let text = "0:write 1:primary-force 0:invalidate-remote";
        assert_eq!(text.parse::<Moves>().expect("moves").to_string(), text);
        for text in [
            "kill@0:7",
            "power@1:3",
            "reset@0:12",
            "sick@1:1",
            "1:detach@0:4",
            "both:read@1:2",
            "slow:1:read@0:2",
            "late:0:cut@1:1",
        ] {
            assert_eq!(text.parse::<Blow>().expect("a blow").to_string(), text);
        }
        for text in ["2:write", "0:fly", "write"] {
            assert!(text.parse::<Moves>().expect_err("no move").contains("is no move"));
        }
        for text in ["kill@2:7", "reset@0", "rot@0:1"] {
            assert!(text.parse::<Blow>().expect_err("no blow").contains("is no blow"));
        }
    }
}
