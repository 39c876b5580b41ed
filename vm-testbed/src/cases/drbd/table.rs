//! Two columns of lines beside each other.

use std::fmt::Write;

/// A line of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What it is about: a step, a command, or a node.
    pub label: String,
    /// What came of it; empty for a step.
    pub value: String,
}

/// A table of both, whose lines are about the same things. A line that differs is marked by `*`;
/// words that differ in name only do not.
///
/// # Panics
/// The columns have other lines.
pub(super) fn side_by_side(tandem: &[Line], drbd: &[Line]) -> String {
    assert_eq!(tandem.len(), drbd.len(), "a column is cut short");
    let mut text = format!("{:2}{:<46}{:<48}{}\n", "", "", "tandem", "DRBD 8.4");
    for (ours, theirs) in tandem.iter().zip(drbd) {
        assert_eq!(ours.label, theirs.label, "columns of other steps");
        let mark = if in_our_words(&theirs.value) == ours.value { "" } else { "*" };
        let line = format!("{mark:2}{:<46}{:<48}{}", ours.label, ours.value, theirs.value);
        writeln!(text, "{}", line.trim_end()).expect("a string takes what it is given");
    }
    text
}

/// DRBD 9, and so tandem, says `Connecting` where 8.4 says `WFConnection`.
fn in_our_words(value: &str) -> String {
    value.replace("WFConnection", "Connecting")
}

/// The number of the first line in which texts differ, and the line in both.
pub(super) fn first_difference(expected: &str, found: &str) -> Option<String> {
    let count = expected.lines().count().max(found.lines().count());
    let line = |text: &'_ str, index| text.lines().nth(index).unwrap_or("(none)").to_owned();
    (0..count).map(|index| (index, line(expected, index), line(found, index))).find_map(
        |(index, expected, found)| {
            (expected != found).then(|| format!("{}:\n-{expected}\n+{found}", index + 1))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, value: &str) -> Line {
        Line { label: label.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn what_differs_is_marked_and_other_words_for_it_are_not() {
        let tandem = [line("cut", ""), line("alice", "Connecting"), line("bob", "Primary")];
        let drbd = [line("cut", ""), line("alice", "WFConnection"), line("bob", "Secondary")];
        let table = side_by_side(&tandem, &drbd);
        let marks: Vec<_> = table.lines().map(|line| line.starts_with('*')).collect();
        assert_eq!(marks, [false, false, false, true]);
    }

    #[test]
    fn a_difference_is_found_where_one_text_ends_too() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\n").unwrap(), "2:\n-b\n+(none)");
        assert_eq!(first_difference("a\n", "b\n").unwrap(), "1:\n-a\n+b");
    }
}
