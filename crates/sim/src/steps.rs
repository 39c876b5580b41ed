//! What can be left out of a run: its faults, the looks of its operator and the requests of its
//! clients, each by the number that it has in the run that leaves out nothing.
//!
//! As text a set is `f2,o14,r7-9`: the third fault, the fifteenth look, three requests.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A fault.
    Fault,
    /// The operator looks around, and gives commands.
    Look,
    /// A request of a client.
    Request,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fault, Self::Look, Self::Request];

    /// What stands before the number.
    fn letter(self) -> char {
        match self {
            Self::Fault => 'f',
            Self::Look => 'o',
            Self::Request => 'r',
        }
    }
}

/// One thing that happens, or is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// What it is.
    pub kind: Kind,
    /// Which of its kind.
    pub number: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}{}", self.kind.letter(), self.number);
        f.pad(&text)
    }
}

/// A set of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(pub BTreeSet<Step>);

impl Steps {
    /// Whether this one is among them.
    pub fn contains(&self, step: Step) -> bool {
        self.0.contains(&step)
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut steps = self.0.iter().copied().peekable();
        while let Some(first) = steps.next() {
            let mut last = first.number;
            let follows = |step: &Step, last| step.kind == first.kind && step.number == last + 1;
            while steps.next_if(|step| follows(step, last)).is_some() {
                last += 1;
            }
            write!(f, "{comma}{first}")?;
            if last > first.number {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// Most steps that one range may name: more than any run has.
const RANGE_MAX: usize = 1_000_000;

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut steps = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let bad =
                || format!("{part:?} is no step: write f2 (fault), o14 (look), r7-9 (requests)");
            let kind = Kind::ALL.into_iter().find(|kind| part.starts_with(kind.letter()));
            let kind = kind.ok_or_else(bad)?;
            let (first, last) =
                part[1..].split_once('-').unwrap_or_else(|| (&part[1..], &part[1..]));
            let first: usize = first.parse().map_err(|_| bad())?;
            let last: usize = last.parse().map_err(|_| bad())?;
            if last < first || last - first >= RANGE_MAX {
                return Err(bad());
            }
            steps.extend((first..=last).map(|number| Step { kind, number }));
        }
        Ok(Self(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_what_it_reads_as() {
        for text in ["", "f0", "f2-4,o7,r1,r3-5", "o7,r7"] {
            let steps: Steps = text.parse().expect("a set");
            assert_eq!(steps.to_string(), text);
        }
        let steps: Steps = "r3,r1-2,f9,".parse().expect("a set");
        assert_eq!(steps.to_string(), "f9,r1-3");
        assert!(steps.contains(Step { kind: Kind::Request, number: 2 }));
    }

    #[test]
    fn what_is_no_set_says_so() {
        for text in ["x1", "f", "f3-1", "f-2", "r1-99999999999", "7", "ü"] {
            let error = text.parse::<Steps>().expect_err("no set");
            assert!(error.contains("is no step"), "{error}");
        }
    }
}
