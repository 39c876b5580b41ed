//! `unsafe` lives in one crate, and says why it is sound.

use crate::tree::{Finding, Tree};

/// The crate that may hold `unsafe`.
const HOME: &str = "crates/ring/";

/// Lines above an `unsafe` block among which its SAFETY comment is looked for: those of its own
/// statement and its comment.
const LINES_ABOVE: usize = 8;

/// `unsafe` outside its crate, and blocks and impls of it without a SAFETY comment.
pub fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        let lexed = file.lex();
        let comments: Vec<&str> = lexed.comments.lines().collect();
        let code: Vec<&str> = lexed.code.lines().collect();
        for pair in lexed.words().windows(2).filter(|pair| pair[0].text == "unsafe") {
            let line = pair[0].line;
            let mut add = |text| found.push(Finding::new("unsafe", &file.path, line, text));
            if !file.path.starts_with(HOME) {
                add("unsafe outside crates/ring");
            } else if matches!(pair[1].text, "{" | "impl") && !is_explained(line, &code, &comments)
            {
                add("no SAFETY comment above");
            }
        }
    }
    found
}

/// Looks at the line and upwards, as far as code or comment goes on without an empty line.
fn is_explained(line: usize, code: &[&str], comments: &[&str]) -> bool {
    let is_empty = |index: usize| {
        code[index].trim().is_empty() && comments.get(index).is_none_or(|it| it.trim().is_empty())
    };
    let above = (0..line).rev().take(LINES_ABOVE);
    above
        .take_while(|index| !is_empty(*index))
        .any(|index| comments.get(index).is_some_and(|comment| comment.contains("SAFETY:")))
}

#[cfg(test)]
mod tests {
    use super::unsafe_code;
    use crate::tree::{File, Tree};

    fn found(path: &str, text: &str) -> usize {
        let files = vec![File::new(path, text)];
        unsafe_code(&Tree { files }).len()
    }

    #[test]
    fn unsafe_stays_at_home_and_is_explained() {
        let explained = "// SAFETY: so.\nlet x =\n    unsafe { f() };\n";
        assert_eq!(found("crates/ring/src/a.rs", explained), 0);
        assert_eq!(found("crates/node/src/a.rs", explained), 1);
        assert_eq!(found("crates/ring/src/a.rs", "unsafe { f() }"), 1);
        assert_eq!(found("crates/ring/src/a.rs", "// SAFETY: other.\n\nunsafe { f() }"), 1);
        assert_eq!(found("crates/ring/src/a.rs", "unsafe impl Send for X {}"), 1);
        assert_eq!(found("crates/ring/src/a.rs", "/// # Safety\n/// So.\nunsafe fn f() {}"), 0);
        assert_eq!(found("crates/node/src/a.rs", "#![forbid(unsafe_code)] // unsafe {"), 0);
    }
}
