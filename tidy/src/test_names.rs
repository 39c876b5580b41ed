//! Tables that say which test holds each of their lines: no line is without, every test is there.
//!
//! A table whose last column is called `test` is such a one. A test is named by its module and its
//! name, as in `clients::nbdcopy_copies_in_and_out`; `the same` stands for that of the line above.

use crate::tree::{Finding, Tree};

/// Lines without a test, and tests that are not there.
pub fn test_names(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with("docs/")) {
        let mut is_inside = false;
        for (number, line) in file.text.lines().enumerate() {
            let Some(last) = last_cell(line) else {
                is_inside = false;
                continue;
            };
            if last == "test" {
                is_inside = true;
            } else if is_inside && !last.starts_with("---") {
                let wrong = |text| Finding::new("test-names", &file.path, number + 1, text);
                found.extend(of_cell(tree, last).into_iter().map(wrong));
            }
        }
    }
    found
}

/// What is wrong with the names in a cell.
fn of_cell(tree: &Tree, cell: &str) -> Vec<String> {
    let names = cell.split('`').skip(1).step_by(2);
    let tests: Vec<(&str, &str)> = names.filter_map(|name| name.rsplit_once("::")).collect();
    if tests.is_empty() && cell != "the same" {
        return vec!["no test is named".to_owned()];
    }
    let missing = tests.into_iter().filter(|(module, name)| !is_there(tree, module, name));
    missing.map(|(module, name)| format!("there is no test {module}::{name}")).collect()
}

fn is_there(tree: &Tree, module: &str, name: &str) -> bool {
    let definition = format!("fn {name}(");
    tree.rust().any(|file| {
        let path = file.path.trim_end_matches(".rs").trim_end_matches("/tests");
        let is_it = path.rsplit('/').next() == Some(module);
        is_it
            && file.text.split_once(&definition).is_some_and(|(before, _)| {
                let attributes = before.rsplit("\n\n").next().unwrap_or_default();
                attributes.contains("#[test]")
            })
    })
}

/// The last cell of a row of a table.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    row.rsplit('|').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    fn findings(table: &str) -> Vec<String> {
        let source = "#[test]\nfn works() -> Result<()> {\n}\n\nfn helper() {}\n";
        let files = vec![
            File::new("docs/NBD.md", table),
            File::new("tests/tests/clients.rs", source),
            File::new("crates/nbd/src/cut/tests.rs", "    #[test]\n    fn trims() {}\n"),
        ];
        test_names(&Tree { files }).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_line_names_its_test() {
        let table = "| item | us | test |\n|---|---|---|\n\
                     | a | yes | `clients::works`, `cut::trims` |\n\
                     | b | yes | the same |\n\n| item |\n|---|\n| without tests |\n";
        assert!(findings(table).is_empty());
    }

    #[test]
    fn what_is_missing_is_found() {
        let table = "| item | test |\n|---|---|\n| a | |\n| b | `clients::breaks` |\n\
                     | c | `clients::helper` |\n| d | `cut::works` |\n";
        let found = findings(table);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("docs/NBD.md:3: no test is named"), "{found:?}");
        assert!(found[1].contains("there is no test clients::breaks"), "{found:?}");
    }
}
