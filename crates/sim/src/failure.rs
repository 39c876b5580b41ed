//! A panic of the core, or of the simulator, is a failure of its seed: caught, with its moment.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

use crate::checks::Violation;
use crate::fault::FaultCounts;
use crate::marks::Marks;
use crate::script::Script;
use crate::world::{Options, Outcome, run_scripted};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The present of this thread's run.
pub fn at(now: u64) {
    NOW.set(now);
}

/// Keeps the text of panics instead of printing them; once for the process.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = (payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        TEXT.set(format!("{text} at {place}"));
    }));
}

/// Runs a seed; a panic becomes a violation.
pub fn run_caught(seed: u64, options: Options) -> Outcome {
    run_scripted_caught(seed, options, &Script::default())
}

/// The same for a run that is recorded or played.
pub fn run_scripted_caught(seed: u64, options: Options, script: &Script) -> Outcome {
    caught(|| run_scripted(seed, options, script.clone()))
}

/// What a run comes to, though it may panic.
pub fn caught(run: impl FnOnce() -> Outcome) -> Outcome {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Outcome {
        violation: Some((NOW.get(), Violation::new("panic", TEXT.take()))),
        hash: 0,
        events: 0,
        simulated: NOW.get(),
        requests: 0,
        faults: FaultCounts::default(),
        marks: Marks::default(),
    })
}
