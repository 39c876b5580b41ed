//! A failing run made small: which of its steps are needed for it to fail in the same way.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002), kind by kind: parts of the steps are left out,
//! first large ones, then smaller ones, and what still fails is gone on with. What is left over is
//! no proof: a bug that needs a moment to be met to the microsecond hides when anything is taken
//! away.

use crate::checks::Violation;
use crate::failure::run_scripted_caught;
use crate::script::{Line, Script, Tape};
use crate::steps::{Kind, Step, Steps};
use crate::world::{Options, Outcome};

/// Runs of a reduction at most.
pub const RUNS_MAX: usize = 2000;

/// What a reduction came to.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// What the smallest run comes to.
    pub outcome: Outcome,
    /// Steps of the whole run.
    pub before: usize,
    /// What is left.
    pub steps: Steps,
    /// What those steps come to, in order of time.
    pub lines: Vec<Line>,
    /// Runs that it took.
    pub runs: usize,
}

/// One run over and over, with fewer steps.
struct Reduction<'a, F> {
    seed: u64,
    options: Options,
    tape: &'a Tape,
    fails: F,
    runs: usize,
    told: &'a mut dyn FnMut(usize, usize),
}

/// Records a run of a seed.
pub fn record(seed: u64, options: Options) -> (Outcome, Tape) {
    let script = Script::record();
    let outcome = run_scripted_caught(seed, options, &script);
    let (mut tape, _) = script.take();
    tape.failed_at = outcome.violation.as_ref().map_or(outcome.simulated, |(at, _)| *at);
    (outcome, tape)
}

/// Plays a recorded run with these steps only.
pub fn play(seed: u64, options: Options, tape: &Tape, kept: Steps) -> (Outcome, Vec<Line>) {
    let script = Script::play(tape.clone(), kept);
    let outcome = run_scripted_caught(seed, options, &script);
    (outcome, script.take().1)
}

/// Makes the failure of a seed small; nothing where it does not fail. `told` hears of runs made and
/// steps left.
pub fn reduce(seed: u64, options: Options, told: &mut dyn FnMut(usize, usize)) -> Option<Reduced> {
    let (outcome, tape) = record(seed, options);
    let (_, violation) = outcome.violation?;
    let name = name_of(&violation);
    let fails = |outcome: &Outcome| {
        outcome.violation.as_ref().is_some_and(|(_, violation)| name_of(violation) == name)
    };
    // Without an operator nothing comes back to life: that is no finding.
    let is_live = violation.invariant.starts_with("LIVE");
    let mut reduction = Reduction { seed, options, tape: &tape, fails, runs: 0, told };
    Some(reduction.reduce(|kind| !(is_live && kind == Kind::Look)))
}

/// The same failure has the same name; a panic is named by its place.
fn name_of(violation: &Violation) -> (&'static str, String) {
    let place = violation.text.rsplit_once(" at ").map_or("", |(_, place)| place);
    let is_panic = violation.invariant == "panic";
    (violation.invariant, if is_panic { place.to_owned() } else { String::new() })
}

impl<F: Fn(&Outcome) -> bool> Reduction<'_, F> {
    fn reduce(&mut self, may_go: impl Fn(Kind) -> bool) -> Reduced {
        let all: Steps = Kind::ALL.into_iter().flat_map(|kind| self.tape.steps(kind)).collect();
        let before = all.0.len();
        let mut kept = all;
        loop {
            let len = kept.0.len();
            for kind in Kind::ALL.into_iter().filter(|kind| may_go(*kind)) {
                let (of_kind, others): (Vec<Step>, Vec<Step>) =
                    kept.0.iter().partition(|step| step.kind == kind);
                let needed = minimize(of_kind, |some| {
                    self.still_fails(some.iter().chain(&others).copied().collect())
                });
                kept = needed.into_iter().chain(others).collect();
            }
            if kept.0.len() == len || self.runs >= RUNS_MAX {
                break;
            }
        }
        self.conclude(kept, before)
    }

    fn still_fails(&mut self, kept: Steps) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let left = kept.0.len();
        let (outcome, _) = play(self.seed, self.options, self.tape, kept);
        let fails = (self.fails)(&outcome);
        if fails {
            (self.told)(self.runs, left);
        }
        fails
    }

    /// What is left comes to something, or need not be left: looks at which nothing was said.
    fn conclude(&mut self, kept: Steps, before: usize) -> Reduced {
        let (outcome, lines) = play(self.seed, self.options, self.tape, kept.clone());
        let heard = lines.iter().map(|line| line.step).filter(|step| kept.contains(*step));
        let heard: Steps = heard.collect();
        let (steps, outcome, lines) = if heard != kept && self.still_fails(heard.clone()) {
            let (outcome, lines) = play(self.seed, self.options, self.tape, heard.clone());
            (heard, outcome, lines)
        } else {
            (kept, outcome, lines)
        };
        // Behind the end of the record the operator goes on by himself.
        let lines = lines.into_iter().filter(|line| steps.contains(line.step)).collect();
        Reduced { outcome, before, steps, lines, runs: self.runs }
    }
}

/// A small part of `items` for which `fails` still holds; it holds for all of them.
fn minimize<T: Clone>(items: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    if items.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut items = items;
    let mut parts = 2;
    while items.len() > 1 {
        let len = items.len().div_ceil(parts);
        let mut shrunk = false;
        let mut start = 0;
        while start < items.len() && items.len() > 1 {
            let end = (start + len).min(items.len());
            let rest: Vec<T> = [&items[..start], &items[end..]].concat();
            if !rest.is_empty() && fails(&rest) {
                items = rest;
                shrunk = true;
            } else {
                start = end;
            }
        }
        if len == 1 && !shrunk {
            break;
        }
        parts = if len == 1 { items.len().max(1) } else { parts * 2 };
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Mark;

    #[test]
    fn what_is_needed_together_is_left_together() {
        let mut tries = 0;
        let needed = [3, 57, 58];
        let left = minimize((0..1000).collect(), |some: &[i32]| {
            tries += 1;
            needed.iter().all(|it| some.contains(it))
        });
        assert_eq!(left, needed);
        assert!(tries < 200, "{tries} tries");
        assert_eq!(minimize(vec![1, 2], |_| true), Vec::<i32>::new());
        assert_eq!(minimize(vec![1, 2], |some| some.contains(&2)), [2]);
    }

    const OPTIONS: Options = Options { seconds: 5, trace: false };

    #[test]
    fn a_run_with_nothing_left_out_is_the_same_run() {
        for seed in 0..6 {
            let (outcome, tape) = record(seed, OPTIONS);
            assert_eq!(outcome.hash, crate::world::run(seed, OPTIONS).hash, "seed {seed} recorded");
            let all = Kind::ALL.into_iter().flat_map(|kind| tape.steps(kind)).collect();
            let (again, lines) = play(seed, OPTIONS, &tape, all);
            assert_eq!(again.hash, outcome.hash, "seed {seed} played");
            assert!(!lines.is_empty());
        }
    }

    #[test]
    fn a_run_with_everything_left_out_passes() {
        let (_, tape) = record(3, OPTIONS);
        let (outcome, lines) = play(3, OPTIONS, &tape, Steps::default());
        assert_eq!((outcome.violation, lines), (None, Vec::new()));
        assert_eq!((outcome.requests, outcome.faults.kills), (0, 0));
    }

    /// A situation takes the place of a failure: there is none to be had from a core that works.
    #[test]
    fn only_what_leads_to_a_situation_is_left() {
        let mark = Mark::KilledWithRequests;
        let is_met = |outcome: &Outcome| outcome.marks.count(mark) > 0;
        let seed = (0..100).find(|seed| is_met(&record(*seed, OPTIONS).0));
        let seed = seed.expect("some seed meets it");
        let (_, tape) = record(seed, OPTIONS);
        let told = &mut |_, _| {};
        let mut reduction =
            Reduction { seed, options: OPTIONS, tape: &tape, fails: is_met, runs: 0, told };
        let reduced = reduction.reduce(|_| true);
        let of_kind = |kind| reduced.steps.0.iter().filter(|step| step.kind == kind).count();
        let text = format!("{} of {} steps: {:?}", reduced.steps, reduced.before, reduced.lines);
        assert_eq!([Kind::Fault, Kind::Request].map(of_kind), [1, 1], "{text}");
        assert!(reduced.before > 20 * reduced.steps.0.len(), "{text}");
        let told: Steps = reduced.lines.iter().map(|line| line.step).collect();
        assert_eq!(told, reduced.steps);
        let (again, lines) = play(seed, OPTIONS, &tape, reduced.steps.clone());
        assert!(is_met(&again) && lines == reduced.lines);
        for step in &reduced.steps.0 {
            let fewer = reduced.steps.0.iter().copied().filter(|it| it != step).collect();
            assert!(!is_met(&play(seed, OPTIONS, &tape, fewer).0), "{step} is needed: {text}");
        }
    }
}
