//! Functions that do not fit a screen.

use crate::lexer::{Lexed, Word};
use crate::tree::{Finding, Tree};

/// Lines of a function, from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of its `fn`, from 1.
    pub line: usize,
    /// Lines from there to its end, both included.
    pub lines: usize,
}

/// Functions that are too long.
pub fn function_lengths(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        for Function { name, line, lines } in functions(&file.lex()) {
            if lines > FUNCTION_LINES_MAX {
                let place = format!("{}::{name}", file.path);
                let text = format!("{lines} lines, {FUNCTION_LINES_MAX} at most");
                let finding = Finding::new("function-length", &place, line, text);
                found.push(Finding { size: Some(lines), ..finding });
            }
        }
    }
    found
}

/// Every function that has a body, those inside others too.
pub fn functions(lexed: &Lexed) -> Vec<Function> {
    let words = lexed.words();
    let starts = words.windows(2).enumerate();
    let named = starts.filter(|(_, pair)| pair[0].text == "fn" && pair[1].text != "(");
    named
        .filter_map(|(at, pair)| {
            let end = body_end(&words[at..])?;
            Some(Function {
                name: pair[1].text.to_owned(),
                line: pair[0].line,
                lines: end - pair[0].line + 1,
            })
        })
        .collect()
}

/// Line of the brace that closes the body of the function that starts here; `None` without a body.
fn body_end(words: &[Word<'_>]) -> Option<usize> {
    let (mut parens, mut braces) = (0_i32, 0_i32);
    for word in words {
        match word.text {
            "(" | "[" => parens += 1,
            ")" | "]" => parens -= 1,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 {
                    return Some(word.line);
                }
            }
            ";" if parens == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::lex;
    use crate::tree::File;

    #[test]
    fn functions_end_at_their_brace() {
        let source = "trait T { fn a(&self); }\nfn b(x: [u8; 2]) -> fn(u8) {\n  f(\"}\");\n  \
                      fn c() { if x { } // }\n  }\n  '}'\n}\nfn d() {}\n";
        let found = functions(&lex(source));
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(found, [("b", 2, 6), ("c", 4, 2), ("d", 8, 1)]);
    }

    #[test]
    fn long_functions_are_found() {
        let of = |lines: usize| {
            let text = format!("/// Doc.\nfn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
            function_lengths(&Tree { files: vec![File::new("a.rs", &text)] })
        };
        assert_eq!(of(70), []);
        let found = of(71);
        assert_eq!((found[0].place.as_str(), found[0].size), ("a.rs::f", Some(71)));
    }
}
