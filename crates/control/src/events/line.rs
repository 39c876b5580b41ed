//! A line: the keys that name an object, then what is told of it.

use std::fmt::Display;

use super::EventOptions;

/// A line under construction.
pub(super) struct Line {
    text: String,
    /// Whether there is something to tell.
    is_news: bool,
    options: EventOptions,
}

/// Keys and values that are told together.
type Group = Vec<(&'static str, String)>;

impl Line {
    pub(super) fn new(head: &str, options: EventOptions) -> Self {
        Self { text: head.to_owned(), is_news: false, options }
    }

    /// What names the object.
    pub(super) fn key(&mut self, key: &str, value: impl Display) {
        self.text.push_str(&format!(" {key}:{value}"));
    }

    /// A group of states: told where it has changed.
    pub(super) fn group<T>(&mut self, old: Option<&T>, new: &T, of: impl Fn(&T) -> Group) {
        let (before, now) = (old.map(&of), of(new));
        let has_changed = before.as_ref() != Some(&now);
        self.is_news |= has_changed;
        if has_changed || self.options.full {
            self.tell(before.as_ref(), &now);
        }
    }

    /// Something of the statistics that is told where it has changed, or anything is told in full.
    pub(super) fn statistics<T>(&mut self, old: Option<&T>, new: &T, of: impl Fn(&T) -> Group) {
        self.tell_statistics(old, new, of, self.options.full);
    }

    /// The same, told only where it has changed.
    pub(super) fn statistics_changed<T>(
        &mut self,
        old: Option<&T>,
        new: &T,
        of: impl Fn(&T) -> Group,
    ) {
        self.tell_statistics(old, new, of, false);
    }

    fn tell_statistics<T>(
        &mut self,
        old: Option<&T>,
        new: &T,
        of: impl Fn(&T) -> Group,
        always: bool,
    ) {
        let now = of(new);
        let has_changed = old.map(of).as_ref() != Some(&now);
        if self.options.statistics {
            self.is_news |= has_changed;
            if has_changed || always {
                self.tell_plain(&now);
            }
        }
    }

    /// Counters: told together wherever one of them has changed. Never with old values.
    pub(super) fn counters<T>(&mut self, old: Option<&T>, new: &T, of: impl Fn(&T) -> Group) {
        self.tell_statistics(old, new, of, self.options.full);
    }

    /// How far something is: told on every line, and a reason for one where it has advanced.
    pub(super) fn progress(&mut self, key: &str, value: &str, has_advanced: bool) {
        self.is_news |= has_advanced;
        self.key(key, value);
    }

    /// The line, if there is something to tell.
    pub(super) fn end(self) -> Option<String> {
        self.is_news.then_some(self.text)
    }

    /// The line, which has nothing but keys.
    pub(super) fn whole(self) -> Option<String> {
        Some(self.text)
    }

    fn tell(&mut self, before: Option<&Group>, now: &Group) {
        if !self.options.diff {
            return self.tell_plain(now);
        }
        for (index, (key, value)) in now.iter().enumerate() {
            match before.map(|before| &before[index].1) {
                // As DRBD has it: a score is shown with its old value always.
                Some(old) if old == value && !ALWAYS_TWO.contains(key) => self.key(key, value),
                Some(old) => self.key(key, format!("{old}->{value}")),
                None if *key == "promotion_score" => self.key(key, format!("0->{value}")),
                None => self.key(key, format!("UNKNOWN->{value}")),
            }
        }
    }

    fn tell_plain(&mut self, now: &Group) {
        for (key, value) in now {
            self.key(key, value);
        }
    }
}

/// Keys that have two values in a difference even where these are the same.
const ALWAYS_TWO: &[&str] = &["may_promote", "promotion_score"];

pub(super) fn yes_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}
