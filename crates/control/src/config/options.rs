//! Options that were set: read from statements, merged by inheritance, turned into typed options.

use std::collections::BTreeMap;

use super::OptionTexts;
use super::diagnostic::{Diagnostics, Position};
use super::table::{Kind, Section, Spec, Support, Unit};
use super::tree::{Statement, Word};
use crate::secret::Secret;

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

/// Whether an option of that name, in whatever section, is a flag, which needs no value.
pub fn is_flag(name: &str) -> bool {
    let found = Section::ALL.iter().find_map(|section| section.find(name));
    found.is_some_and(|spec| matches!(spec.kind, Kind::Flag))
}

/// What of the set is of `section`, as it was written.
pub(super) fn texts(set: &OptionSet, section: Section) -> OptionTexts {
    let own = set.iter().filter(|(name, _)| section.find(name).is_some());
    own.map(|(name, value)| ((*name).to_owned(), Secret::new(value.text.clone()))).collect()
}

/// The options that texts set, and warnings of what has no effect.
///
/// # Errors
/// A sentence: there is no such option, its value makes no sense, or it is not there.
pub(super) fn of_texts(
    texts: &OptionTexts,
    section: Section,
) -> Result<(OptionSet, Vec<String>), String> {
    let (mut set, mut warnings) = (OptionSet::new(), Vec::new());
    for (name, text) in texts {
        let text = text.reveal();
        let spec = section.find(name).ok_or_else(|| unknown_option(name, section))?;
        let shown = if spec.is_secret() { "..." } else { text };
        let parsed = parse_text(text, spec)
            .ok_or_else(|| format!("'{shown}' for option '{name}': {} expected", expected(spec)));
        let (value, clamped) = parsed?;
        warnings.extend(clamped);
        match remark(spec, &value) {
            None => {}
            Some(Remark::Warning(message)) => warnings.push(message),
            Some(Remark::Refusal(message)) => return Err(message),
        }
        set.insert(spec.name, value);
    }
    Ok((set, warnings))
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
    let Some((value, clamped)) = parse_text(&word.text, spec) else {
        let (shown, expected) = (word.shown(), expected(spec));
        let message = format!("'{shown}' for option '{}': {expected} expected", spec.name);
        diagnostics.error(word.at, message);
        return None;
    };
    if let Some(message) = clamped {
        diagnostics.warn_once(spec.name, word.at, message);
    }
    Some(value)
}

/// The value that a text is, and a word of warning where it was moved into its range.
fn parse_text(text: &str, spec: &Spec) -> Option<(OptionValue, Option<String>)> {
    let plain = |text: &str| (OptionValue::plain(text), None);
    match &spec.kind {
        Kind::Number { min, max, unit, .. } => {
            let number = parse_number(text, *unit)?;
            if (*min..=*max).contains(&number) {
                return Some((OptionValue { text: text.to_owned(), number: Some(number) }, None));
            }
            let clamped = Some(number.clamp(*min, *max));
            let clamped = clamped.filter(|_| matches!(spec.support, Support::Clamped))?;
            let message = format!("'{}' is {number}, {clamped} is taken", spec.name);
            let value = OptionValue { text: clamped.to_string(), number: Some(clamped) };
            Some((value, Some(message)))
        }
        Kind::Flag => ["yes", "no"].contains(&text).then(|| plain(text)),
        Kind::Choice(words) => {
            let mut prefixes = words.iter().filter_map(|choice| choice.strip_suffix("NAME"));
            if prefixes.any(|prefix| text.len() > prefix.len() && text.starts_with(prefix)) {
                return Some(plain(text));
            }
            words.iter().find(|choice| choice.eq_ignore_ascii_case(text)).map(|it| plain(it))
        }
        Kind::CountOr { min, max, words } => {
            let number = text.parse().ok().filter(|number| (*min..=*max).contains(number));
            let word = words.contains(&text).then_some(None);
            let value = word.or_else(|| number.map(Some));
            value.map(|number| (OptionValue { text: text.to_owned(), number }, None))
        }
        Kind::Names => Some(plain(text)),
        Kind::Text { len_max } | Kind::Secret { len_max } => {
            (text.len() <= *len_max).then(|| plain(text))
        }
    }
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
    match remark(spec, value) {
        None => {}
        Some(Remark::Warning(message)) => diagnostics.warn_once(spec.name, at, message),
        Some(Remark::Refusal(message)) => diagnostics.refuse(at, message),
    }
}

/// What is to be said of an option that is set to a value.
enum Remark {
    /// It has no effect, or another one than it says.
    Warning(String),
    /// It is understood and not there.
    Refusal(String),
}

fn remark(spec: &Spec, value: &OptionValue) -> Option<Remark> {
    let (name, text) = (spec.name, value.text.as_str());
    let is_among = |words: &[&str]| {
        let number = value.number.map(|number| number.to_string());
        words.iter().any(|word| *word == text || Some(*word) == number.as_deref())
    };
    match &spec.support {
        Support::Active | Support::Clamped => None,
        Support::Renamed { quiet: words, .. }
        | Support::Ignored { quiet: words, .. }
        | Support::Only { allowed: words, .. }
            if is_among(words) =>
        {
            None
        }
        Support::Renamed { why, .. } => Some(Remark::Warning(format!("'{name} {text}': {why}"))),
        Support::Ignored { why, .. } => {
            Some(Remark::Warning(format!("option '{name}' has no effect: {why}")))
        }
        Support::Only { allowed, why } => {
            let instead = match allowed.first() {
                Some(word) => format!("; leave it out or say '{word}'"),
                None => "; leave it out".to_owned(),
            };
            let text = if spec.is_secret() { "..." } else { text };
            Some(Remark::Refusal(format!("'{name} {text}' is refused: {why}{instead}")))
        }
    }
}
