//! Every rule, run on the repository.
//!
//! What a rule finds is printed as `path:line: what [rule]`.

use std::path::Path;

use tandem_tidy::{
    Finding, Tree, doc_tables, docs, exceptions, functions, manifests, purity, test_names, text,
    unsafety,
};

fn tree() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tidy lies in the repository");
    let tree = Tree::load(root);
    assert!(tree.rust().count() > 50, "the repository's sources are there");
    tree
}

#[track_caller]
fn expect_none(findings: &[Finding]) {
    let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(list.is_empty(), "{} findings:\n{}", list.len(), list.join("\n"));
}

#[test]
fn files_and_functions_are_short() {
    let tree = tree();
    let mut findings = text::file_lengths(&tree);
    findings.extend(functions::function_lengths(&tree));
    let list = tree.find("tidy/exceptions.txt").expect("the list is there, if empty");
    expect_none(&exceptions::apply(&list.text, findings));
}

#[test]
fn lines_fit_and_end_well() {
    let tree = tree();
    expect_none(&text::line_widths(&tree));
    expect_none(&text::white_space(&tree));
}

#[test]
fn nothing_is_left_unfinished() {
    expect_none(&text::placeholders(&tree()));
}

#[test]
fn pure_crates_are_pure() {
    expect_none(&purity::impure_paths(&tree()));
}

#[test]
fn unsafe_code_is_confined_and_explained() {
    expect_none(&unsafety::unsafe_code(&tree()));
}

#[test]
fn dependencies_point_downward() {
    expect_none(&manifests::dependencies(&tree()));
}

#[test]
fn every_module_says_what_it_is() {
    expect_none(&docs::module_docs(&tree()));
}

#[test]
fn the_code_map_is_complete() {
    expect_none(&docs::code_map(&tree()));
}

#[test]
fn links_lead_somewhere() {
    expect_none(&docs::links(&tree()));
}

#[test]
fn lines_that_a_test_holds_name_it() {
    expect_none(&test_names::test_names(&tree()));
}

#[test]
fn tables_of_states_say_what_the_code_says() {
    expect_none(&doc_tables::enum_tables(&tree()));
}
