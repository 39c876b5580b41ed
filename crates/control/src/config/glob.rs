//! Patterns of `include`: `*` and `?`, in any component of a path.
//!
//! `*` does not match a leading dot, as in a shell. Matches come sorted, so that the order of
//! resources does not depend on a directory's.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Whether `pattern` has a wildcard.
pub(super) fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// The existing paths that `pattern` matches, at most `count_max` of them.
///
/// # Errors
/// A directory cannot be listed, for another reason than that it does not exist.
pub(super) fn expand(pattern: &Path, count_max: usize) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy().into_owned();
        let mut next = Vec::new();
        for base in found {
            match component {
                Component::Normal(_) if is_pattern(&text) => {
                    list(&base, &text, count_max, &mut next)?;
                }
                Component::Normal(_)
                | Component::Prefix(_)
                | Component::RootDir
                | Component::CurDir
                | Component::ParentDir => next.push(base.join(component)),
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    found.truncate(count_max);
    Ok(found)
}

fn list(base: &Path, pattern: &str, count_max: usize, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let directory = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if matches(pattern, &name) {
            names.push(name);
        }
    }
    names.sort();
    into.extend(names.into_iter().take(count_max).map(|name| base.join(name)));
    Ok(())
}

fn is_absent(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}

/// Whether `name` matches `pattern`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: the `*` swallows one more.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match retry {
                Some((star, from)) => {
                    (p, n) = (star, from + 1);
                    retry = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.res", "r0.res", true),
            ("*.res", "r0.res.bak", false),
            ("*.res", ".hidden.res", false),
            (".*", ".hidden", true),
            ("r?.res", "r0.res", true),
            ("r?.res", "r.res", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab", true),
            ("*a*b", "ba", false),
            ("**", "x", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("*aab", "aaaab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
