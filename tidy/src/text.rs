//! Rules about lines: how many, how wide, how they end, and words that mean "not finished".

use crate::tree::{File, Finding, Tree};

/// Lines of a file.
pub const FILE_LINES_MAX: usize = 500;

/// Characters of a line.
pub const LINE_CHARS_MAX: usize = 100;

/// Rust files that are too long.
pub fn file_lengths(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter_map(|file| {
            let lines = file.text.lines().count();
            let text = format!("{lines} lines, {FILE_LINES_MAX} at most");
            let size = (lines > FILE_LINES_MAX).then_some(lines)?;
            let finding = Finding::new("file-length", &file.path, lines, text);
            Some(Finding { size: Some(size), ..finding })
        })
        .collect()
}

/// Lines of Rust that are too wide.
pub fn line_widths(tree: &Tree) -> Vec<Finding> {
    let lines = tree.rust().flat_map(numbered_lines);
    let wide = lines.filter_map(|(file, line, text)| {
        let chars = text.chars().count();
        let what = format!("{chars} characters, {LINE_CHARS_MAX} at most");
        (chars > LINE_CHARS_MAX).then(|| Finding::new("line-width", &file.path, line, what))
    });
    wide.collect()
}

/// White space at ends of lines, tabs in Rust, and how files end.
pub fn white_space(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    // What a program printed is compared byte by byte, white space included; so are patches.
    let is_exact = |path: &str| path.contains("/golden") || path.ends_with(".patch");
    let files = tree.files.iter().filter(|file| !is_exact(&file.path));
    for file in files {
        let mut add =
            |line, text: &str| found.push(Finding::new("white-space", &file.path, line, text));
        for (_, line, text) in numbered_lines(file) {
            if text.trim_end() != text {
                add(line, "white space at the end of the line");
            }
            if file.is_rust() && text.contains('\t') {
                add(line, "a tab");
            }
        }
        let last = file.text.lines().count();
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            add(last, "no newline at the end of the file");
        }
        if file.text.ends_with("\n\n") {
            add(last, "empty lines at the end of the file");
        }
    }
    found
}

/// Code that says it is not finished.
pub fn placeholders(tree: &Tree) -> Vec<Finding> {
    const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
    const MARKS: [&str; 3] = ["FIXME", "TODO", "XXX"];
    let mut found = Vec::new();
    for file in tree.rust() {
        let lexed = file.lex();
        for pair in lexed.words().windows(2) {
            if MACROS.contains(&pair[0].text) && pair[1].text == "!" {
                let text = format!("{}!", pair[0].text);
                found.push(Finding::new("placeholder", &file.path, pair[0].line, text));
            }
        }
        for (number, line) in lexed.comments.lines().enumerate() {
            if let Some(mark) = MARKS.iter().find(|mark| line.contains(**mark)) {
                found.push(Finding::new("placeholder", &file.path, number + 1, *mark));
            }
        }
    }
    found
}

fn numbered_lines(file: &File) -> impl Iterator<Item = (&File, usize, &str)> {
    let lines = file.text.split_terminator('\n').enumerate();
    lines.map(move |(number, line)| (file, number + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree { files: vec![File::new(path, text)] }
    }

    #[test]
    fn long_files_are_found() {
        let rust = |lines| tree("a.rs", &"x\n".repeat(lines));
        assert_eq!(file_lengths(&rust(500)), []);
        assert_eq!(file_lengths(&rust(501))[0].size, Some(501));
    }

    #[test]
    fn wide_lines_are_found() {
        let rust = |chars| tree("a.rs", &format!("x\n{}\n", "é".repeat(chars)));
        assert_eq!(line_widths(&rust(100)), []);
        assert_eq!(line_widths(&rust(101))[0].line, 2);
        assert_eq!(line_widths(&tree("a.md", &"x".repeat(101))), []);
    }

    #[test]
    fn untidy_white_space_is_found() {
        for text in ["a \n", "a\t\n", "a\r\n", "a", "a\n\n"] {
            assert_eq!(white_space(&tree("a.md", text)).len(), 1, "{text:?}");
        }
        assert_eq!(white_space(&tree("a.rs", "\ta\n")).len(), 1);
        assert_eq!(white_space(&tree("Makefile", "a:\n\tb\n")), []);
        assert_eq!(white_space(&tree("x/golden/a.txt", "a \n")), []);
        assert_eq!(white_space(&tree("x/a.patch", " \n")), []);
    }

    #[test]
    fn placeholders_are_found() {
        for text in ["todo!()", "unimplemented! {}", "dbg!(x)", "// TODO", "/* XXX */"] {
            assert_eq!(placeholders(&tree("a.rs", text)).len(), 1, "{text}");
        }
        for text in ["todo()", "\"// FIXME: todo!\"", "// to do"] {
            assert_eq!(placeholders(&tree("a.rs", text)), [], "{text}");
        }
    }
}
