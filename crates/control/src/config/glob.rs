//! Patterns of `include`: `*`, `?` and `[...]`, in any component of a path, as in a shell.
//!
//! `*` does not match a leading dot. Matches come sorted, so that the order of resources does not
//! depend on a directory's.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};

/// Whether `pattern` has a wildcard.
pub(super) fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The existing paths that `pattern` matches, relative to `folder`, at most `count_max` of them.
///
/// # Errors
/// It is no pattern, or a directory cannot be listed, for another reason than that it is not there.
pub(super) fn expand(
    folder: &Path,
    pattern: &str,
    count_max: usize,
) -> Result<Vec<PathBuf>, String> {
    let mut pattern = pattern.to_owned();
    // Two are no more than one in a shell, and all directories below to the crate.
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    // What the folder is called is no pattern; an absolute path has no folder.
    let folder = PathBuf::from(Pattern::escape(&folder.to_string_lossy()));
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let found = glob_with(&folder.join(pattern).to_string_lossy(), options);
    let found = found.map_err(|error| error.to_string())?;
    found.take(count_max).map(|path| path.map_err(|error| error.to_string())).collect()
}
