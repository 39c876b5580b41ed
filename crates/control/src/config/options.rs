//! Options that were set: read from statements, merged by inheritance, turned into typed options.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostics, Position};
use super::table::{Kind, Section, Spec, Support, Unit};
use super::tree::{Statement, Word};

mod typed;

pub(super) use typed::wfc_timeout;

/// Options of one section by name, as far as they are set.
pub type OptionSet = BTreeMap<&'static str, OptionValue>;

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue {
    /// As the file has it.
    pub text: String,
    /// As a number in the option's unit, where it is one.
    pub(super) number: Option<u64>,
}

impl OptionValue {
    fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), number: None }
    }

    /// Whether it is the number 0, which is no limit where it is one.
    pub(super) fn is_zero(&self) -> bool {
        self.number == Some(0)
    }
}

/// An [`OptionSet`] with the place of each value.
pub(super) type PlacedSet = BTreeMap<&'static str, (OptionValue, Position)>;

/// Reads the option that `statement` sets into `into`.
pub(super) fn read(
    statement: &Statement,
    section: Section,
    into: &mut PlacedSet,
    diagnostics: &mut Diagnostics,
) {
    let keyword = &statement.keyword;
    if keyword.text == "_unknown" {
        return;
    }
    let Some((spec, negated)) = find(&keyword.text, section) else {
        let message = unknown_option(&keyword.text, section);
        return diagnostics.error(keyword.at, message);
    };
    if statement.block.is_some() {
        let message = format!("';' expected behind option '{}', not a block", spec.name);
        return diagnostics.error(keyword.at, message);
    }
    let Some(value) = value(statement, spec, negated, diagnostics) else {
        return;
    };
    if let Some((_, first)) = into.get(spec.name) {
        let first = diagnostics.place(*first);
        let message = format!("option '{}' is set twice, first at {first}", spec.name);
        return diagnostics.error(keyword.at, message);
    }
    check_support(spec, &value, keyword.at, diagnostics);
    into.insert(spec.name, (value, keyword.at));
}

/// Inheritance: the options of all sets, a later one's before an earlier one's.
pub(super) fn merge(sets: &[&PlacedSet]) -> PlacedSet {
    let mut merged = PlacedSet::new();
    for set in sets {
        merged.extend(set.iter().map(|(name, value)| (*name, value.clone())));
    }
    merged
}

/// The set without its places.
pub(super) fn without_places(set: PlacedSet) -> OptionSet {
    set.into_iter().map(|(name, (value, _))| (name, value)).collect()
}

fn find(name: &str, section: Section) -> Option<(&'static Spec, bool)> {
    if let Some(spec) = section.find(name) {
        return Some((spec, false));
    }
    let spec = section.find(name.strip_prefix("no-")?)?;
    matches!(spec.kind, Kind::Flag).then_some((spec, true))
}

fn unknown_option(name: &str, section: Section) -> String {
    let names = section.specs().map(|spec| spec.name);
    let hint = match (Section::ALL.iter().find(|it| it.find(name).is_some()), closest(name, names))
    {
        (Some(Section::Disk | Section::PeerDisk), _) if section == Section::PeerDisk => {
            "; it is of the disk, not of a peer: 'disk' of a resource or volume has it".to_owned()
        }
        (Some(other), _) => format!("; section '{}' has it", other.name()),
        (None, Some(close)) => format!("; is '{close}' meant?"),
        (None, None) => String::new(),
    };
    format!("no option '{name}' in section '{}'{hint}", section.name())
}

/// The name that a typing error or two would make `name` of.
pub(super) fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let best = names.map(|candidate| (distance(name, candidate), candidate)).min()?;
    (best.0 <= 2 && best.0 < name.chars().count()).then_some(best.1)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn value(
    statement: &Statement,
    spec: &Spec,
    negated: bool,
    diagnostics: &mut Diagnostics,
) -> Option<OptionValue> {
    let keyword = &statement.keyword;
    let flag = matches!(spec.kind, Kind::Flag);
    match statement.values.as_slice() {
        [] if flag => Some(OptionValue::plain(if negated { "no" } else { "yes" })),
        [first, ..] if negated => {
            let name = &keyword.text;
            diagnostics.error(first.at, format!("option '{name}' takes no value, ';' expected"));
            None
        }
        [] => {
            let message = format!("option '{}': {} expected", spec.name, expected(spec));
            diagnostics.error(keyword.at, message);
            None
        }
        [word] => parse(word, spec, diagnostics),
        words if matches!(spec.kind, Kind::Names) => {
            let names: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            Some(OptionValue::plain(&names.join(" ")))
        }
        [_, second, ..] => {
            diagnostics.error(second.at, extra_word(statement, second));
            None
        }
    }
}

/// What to say of a word too many; a `;` was forgotten if it stands on a later line.
pub(super) fn extra_word(statement: &Statement, extra: &Word) -> String {
    let keyword = &statement.keyword;
    if extra.at.line > keyword.at.line {
        return format!("';' expected before '{}', behind '{}'", extra.shown(), keyword.text);
    }
    format!("';' expected, not '{}'", extra.shown())
}

fn expected(spec: &Spec) -> String {
    match &spec.kind {
        Kind::Number { min, max, unit, .. } => format!("a number, {min} to {max}{}", unit.name()),
        Kind::Flag => "'yes' or 'no'".to_owned(),
        Kind::Choice(words) => {
            // The empty word is how one takes an inherited choice back.
            let words = words.iter().filter(|word| !word.is_empty());
            format!("one of {}", words.copied().collect::<Vec<_>>().join(", "))
        }
        Kind::CountOr { min, max, words } => {
            format!("one of {}, or a number, {min} to {max}", words.join(", "))
        }
        Kind::Names => "names of hosts".to_owned(),
        Kind::Text { len_max } | Kind::Secret { len_max } => {
            format!("a string of up to {len_max} bytes")
        }
    }
}

fn parse(word: &Word, spec: &Spec, diagnostics: &mut Diagnostics) -> Option<OptionValue> {
    let text = &word.text;
    let parsed = match &spec.kind {
        Kind::Number { min, max, unit, .. } => {
            let number = parse_number(text, *unit);
            let clamps = matches!(spec.support, Support::Clamped);
            match number {
                Some(number) if (*min..=*max).contains(&number) => {
                    Some(OptionValue { text: text.clone(), number: Some(number) })
                }
                Some(number) if clamps => {
                    let clamped = number.clamp(*min, *max);
                    let message = format!("'{}' is {number}, {clamped} is taken", spec.name);
                    diagnostics.warn_once(spec.name, word.at, message);
                    Some(OptionValue { text: clamped.to_string(), number: Some(clamped) })
                }
                Some(_) | None => None,
            }
        }
        Kind::Flag => ["yes", "no"].contains(&text.as_str()).then(|| OptionValue::plain(text)),
        Kind::Choice(words) => {
            let found = words.iter().find(|choice| choice.eq_ignore_ascii_case(text));
            let prefixes = words.iter().filter_map(|choice| choice.strip_suffix("NAME"));
            let named = |prefix: &str| text.len() > prefix.len() && text.starts_with(prefix);
            let is_named = prefixes.into_iter().any(named);
            if is_named {
                Some(OptionValue::plain(text))
            } else {
                found.map(|choice| OptionValue::plain(choice))
            }
        }
        Kind::CountOr { min, max, words } => {
            let number = text.parse().ok().filter(|number| (*min..=*max).contains(number));
            let word = words.contains(&text.as_str()).then_some(None);
            let value = word.or_else(|| number.map(Some));
            value.map(|number| OptionValue { text: text.clone(), number })
        }
        Kind::Names => Some(OptionValue::plain(text)),
        Kind::Text { len_max } | Kind::Secret { len_max } => {
            (text.len() <= *len_max).then(|| OptionValue::plain(text))
        }
    };
    if parsed.is_none() {
        let (shown, expected) = (word.shown(), expected(spec));
        let message = format!("'{shown}' for option '{}': {expected} expected", spec.name);
        diagnostics.error(word.at, message);
    }
    parsed
}

/// A number in `unit`. A suffix K, M, G or s makes bytes of a unit that counts them.
fn parse_number(text: &str, unit: Unit) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'k', 'M', 'm', 'G', 'g', 's']);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    let factor = match &text[digits.len()..] {
        "" => return Some(number),
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        "s" if unit.bytes().is_some() => 512,
        _ => return None,
    };
    // Rounded up: a small limit must not become 0, which means none.
    Some(number.checked_mul(factor)?.div_ceil(unit.bytes().unwrap_or(1)))
}

fn check_support(spec: &Spec, value: &OptionValue, at: Position, diagnostics: &mut Diagnostics) {
    let (name, text) = (spec.name, value.text.as_str());
    let is_among = |words: &[&str]| {
        let number = value.number.map(|number| number.to_string());
        words.iter().any(|word| *word == text || Some(*word) == number.as_deref())
    };
    match &spec.support {
        Support::Active | Support::Clamped => {}
        Support::Renamed { quiet, .. } if is_among(quiet) => {}
        Support::Renamed { why, .. } => {
            diagnostics.warn_once(name, at, format!("'{name} {text}': {why}"));
        }
        Support::Ignored { quiet, .. } if is_among(quiet) => {}
        Support::Ignored { why, .. } => {
            diagnostics.warn_once(name, at, format!("option '{name}' has no effect: {why}"));
        }
        Support::Only { allowed, .. } if is_among(allowed) => {}
        Support::Only { allowed, why } => {
            let instead = match allowed.first() {
                Some(word) => format!("; leave it out or say '{word}'"),
                None => "; leave it out".to_owned(),
            };
            let text = if spec.is_secret() { "..." } else { text };
            diagnostics.refuse(at, format!("'{name} {text}' is refused: {why}{instead}"));
        }
    }
}
