//! A run again, with steps left out and all else as much the same as can be.
//!
//! What one step draws would shift what all later ones draw, and leaving one out would make
//! another run. So the run is recorded first: what stood before each step in the generator that it
//! draws from. When it is played, every step finds that again, comes at the moment at which it came
//! and is what it was, whether it is carried out or not. A step that cannot be what it was, such as
//! the detach of a disk that is not there now, does what it would have done had this been drawn.
//! With nothing left out it is the same run, to the bit.
//!
//! Steps are those of the load phase. An operator whose look is left out still sees whether
//! commands have ended. Nothing new happens behind the end of the record: the load ends there.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::rc::Rc;

use crate::prng::Prng;
use crate::steps::{Kind, Step, Steps};

/// What a run records, or plays; nothing for most runs. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Script(Option<Rc<RefCell<Reel>>>);

/// A run as it was recorded.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// By kind: the generators as they stood before each step.
    steps: [Vec<Prng>; 3],
    /// By visit of a client: the generator, and the number of its first request.
    visits: Vec<(Prng, usize)>,
    /// When the run failed, nanoseconds.
    pub failed_at: u64,
}

/// What a step came to when it was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The step.
    pub step: Step,
    /// When, nanoseconds.
    pub at: u64,
    /// Where, if at one node.
    pub node: Option<usize>,
    /// What.
    pub text: String,
}

#[derive(Debug)]
struct Reel {
    tape: Tape,
    /// What is carried out; without, the run is recorded.
    kept: Option<Steps>,
    /// By kind: steps so far.
    counts: [usize; 3],
    visits: usize,
    /// The step being carried out.
    current: Option<Step>,
    lines: Vec<Line>,
}

impl Tape {
    /// All steps of a kind.
    pub fn steps(&self, kind: Kind) -> impl Iterator<Item = Step> + use<> {
        (0..self.steps[kind as usize].len()).map(move |number| Step { kind, number })
    }
}

impl Script {
    /// Of a run that is to be recorded.
    pub fn record() -> Self {
        Self::new(Tape::default(), None)
    }

    /// Of a run that is to be played, with these steps and no others.
    pub fn play(tape: Tape, kept: Steps) -> Self {
        Self::new(tape, Some(kept))
    }

    fn new(tape: Tape, kept: Option<Steps>) -> Self {
        let (counts, lines) = ([0; 3], Vec::new());
        Self(Some(Rc::new(RefCell::new(Reel {
            tape,
            kept,
            counts,
            visits: 0,
            current: None,
            lines,
        }))))
    }

    /// What was recorded, and what the steps were.
    pub fn take(self) -> (Tape, Vec<Line>) {
        let Some(reel) = self.0 else { return (Tape::default(), Vec::new()) };
        let Reel { tape, lines, .. } = &mut *reel.borrow_mut();
        (std::mem::take(tape), std::mem::take(lines))
    }

    /// A fault or a look is due: whether it is carried out.
    pub(crate) fn begins(&self, kind: Kind, prng: &mut Prng) -> bool {
        let Some(reel) = &self.0 else { return true };
        let reel = &mut *reel.borrow_mut();
        let number = reel.counts[kind as usize];
        reel.begins(Step { kind, number }, prng)
    }

    /// What comes now is of no step.
    pub(crate) fn ends(&self) {
        if let Some(reel) = &self.0 {
            reel.borrow_mut().current = None;
        }
    }

    /// A client looks whether it may ask for something.
    pub(crate) fn visited(&self, prng: &mut Prng) {
        let Some(reel) = &self.0 else { return };
        let reel = &mut *reel.borrow_mut();
        reel.visits += 1;
        let next = &mut reel.counts[Kind::Request as usize];
        if reel.kept.is_none() {
            return reel.tape.visits.push((prng.clone(), *next));
        }
        if let Some((was, first)) = reel.tape.visits.get(reel.visits - 1) {
            *prng = was.clone();
            *next = *first;
        } else {
            *next = reel.tape.steps[Kind::Request as usize].len();
        }
    }

    /// How many requests are made in this visit, of `drawn` at most.
    pub(crate) fn requests(&self, drawn: usize) -> usize {
        let Some(reel) = &self.0 else { return drawn };
        let reel = &*reel.borrow();
        if reel.kept.is_none() {
            return drawn;
        }
        let next = reel.tape.visits.get(reel.visits).map(|(_, first)| *first);
        let end = next.unwrap_or(reel.tape.steps[Kind::Request as usize].len());
        end.saturating_sub(reel.counts[Kind::Request as usize])
    }

    /// Whether steps are told.
    pub(crate) fn is_played(&self) -> bool {
        self.0.as_ref().is_some_and(|reel| reel.borrow().kept.is_some())
    }

    /// Tells what the present step comes to.
    pub(crate) fn note(&self, at: u64, node: Option<usize>, text: Arguments<'_>) {
        let Some(reel) = &self.0 else { return };
        let reel = &mut *reel.borrow_mut();
        if let (Some(step), Some(_)) = (reel.current, &reel.kept) {
            reel.lines.push(Line { step, at, node, text: text.to_string() });
        }
    }

    /// Whether the record has come to its end.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        let Some(reel) = &self.0 else { return false };
        let reel = reel.borrow();
        reel.kept.is_some() && now > reel.tape.failed_at
    }
}

impl Reel {
    fn begins(&mut self, step: Step, prng: &mut Prng) -> bool {
        self.counts[step.kind as usize] += 1;
        let known = &mut self.tape.steps[step.kind as usize];
        let carried_out = match &self.kept {
            None => {
                known.push(prng.clone());
                true
            }
            Some(kept) => match known.get(step.number) {
                Some(was) => {
                    *prng = was.clone();
                    kept.contains(step)
                }
                // The operator goes on behind the end of the record.
                None => step.kind == Kind::Look,
            },
        };
        self.current = carried_out.then_some(step);
        carried_out
    }
}
