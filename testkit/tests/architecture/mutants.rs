//! The seeded faults of `testkit/mutants` still fit the sources that they spoil; `.ci/mutants` runs them.

use super::{files, read};

#[test]
fn every_fault_still_applies() {
    let patches: Vec<String> = files()
        .iter()
        .filter(|path| path.starts_with("testkit/mutants"))
        .map(|path| path.to_str().expect("UTF-8").to_owned())
        .collect();
    assert!(patches.len() > 10, "the seeded faults have gone");
    for patch in patches {
        let text = read(&patch);
        assert!(text.contains("\ncaught by: "), "{patch} does not say which command must notice");
        let source = text.lines().find_map(|line| line.strip_prefix("--- a/"));
        let source = read(source.unwrap_or_else(|| panic!("{patch} names no file")));
        // Per hunk, the lines as they are: what stays and what goes.
        for hunk in text.split("\n@@ ").skip(1) {
            let before: Vec<&str> = hunk
                .lines()
                .skip(1)
                .filter_map(|line| line.strip_prefix(' ').or_else(|| line.strip_prefix('-')))
                .collect();
            let before = before.join("\n");
            assert_eq!(source.matches(&before).count(), 1, "{patch} no longer fits; it wants\n{before}");
        }
    }
}
