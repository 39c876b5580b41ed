//! `exceptions.txt`: what is larger than it may be, and is known to be.
//!
//! One line each: date, rule, place, size. An entry allows exactly that size: what grew beyond it
//! is found, and so is an entry that is larger than need be or not needed at all. The list so only
//! shrinks, unless somebody adds a line in front of everybody's eyes.

use crate::tree::Finding;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<'a> {
    line: usize,
    rule: &'a str,
    place: &'a str,
    size: usize,
}

/// Takes what `list` allows away from `findings`, and adds what is wrong with the list.
pub fn apply(list: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let mut left = findings;
    let mut wrong = Vec::new();
    for (number, text) in list.lines().enumerate() {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = number + 1;
        let Some(entry) = parse(line, text) else {
            wrong.push(about(line, "not `YYYY-MM-DD rule place size`"));
            continue;
        };
        let matching = left
            .iter()
            .position(|finding| finding.rule == entry.rule && finding.place == entry.place);
        match matching.map(|at| (at, left[at].size.unwrap_or(0))) {
            None => wrong.push(about(line, "not needed any more: remove it")),
            Some((at, size)) if size == entry.size => {
                left.remove(at);
            }
            Some((at, size)) if size < entry.size => {
                left.remove(at);
                wrong.push(about(line, &format!("larger than need be: lower it to {size}")));
            }
            Some(_) => {}
        }
    }
    left.extend(wrong);
    left
}

fn parse(line: usize, text: &str) -> Option<Entry<'_>> {
    let mut words = text.split_whitespace();
    let (date, rule, place, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_date = date.len() == 10
        && date.char_indices().all(|(at, c)| match at {
            4 | 7 => c == '-',
            _ => c.is_ascii_digit(),
        });
    let size = size.parse().ok()?;
    (is_date && words.next().is_none()).then_some(Entry { line, rule, place, size })
}

fn about(line: usize, text: &str) -> Finding {
    Finding::new("exceptions", "tidy/exceptions.txt", line, text)
}

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::tree::Finding;

    fn finding(size: usize) -> Finding {
        Finding { size: Some(size), ..Finding::new("file-length", "a.rs", 1, "too long") }
    }

    fn left(list: &str, size: usize) -> Vec<String> {
        let left = apply(list, vec![finding(size)]);
        left.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn entries_allow_exactly_their_size() {
        let list = "# why\n\n2026-01-31 file-length a.rs 510\n";
        assert_eq!(left(list, 510), [""; 0]);
        assert_eq!(left(list, 511), ["too long"]);
        assert_eq!(left(list, 509), ["larger than need be: lower it to 509"]);
    }

    #[test]
    fn entries_that_do_nothing_are_found() {
        let unused = ["too long", "not needed any more: remove it"];
        assert_eq!(left("2026-01-31 file-length b.rs 510", 510), unused);
        assert_eq!(left("2026-01-31 function-length a.rs 510", 510), unused);
        let broken = ["too long", "not `YYYY-MM-DD rule place size`"];
        for list in ["file-length a.rs 510", "31.01.2026 file-length a.rs 510", "2026-01-31 a b c"]
        {
            assert_eq!(left(list, 510), broken, "{list}");
        }
    }
}
