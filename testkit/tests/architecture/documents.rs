//! What the documents say of the workspace is what the workspace is.

use std::collections::BTreeMap;
use std::path::Path;

use super::{members, read, root};

/// Folders that README lists and that are no member of the workspace.
const OTHER_FOLDERS: [&str; 4] = ["deploy", "docs", ".ci", "fuzz"];

/// Cells of all table rows of `text` whose first cell begins with a backtick.
fn rows(text: &str) -> impl Iterator<Item = Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("| `") || line.starts_with("| [`"));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// The part of `text` from the heading `title` to the next heading.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let start = text.find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("no heading {title}"));
    let body = &text[start + title.len() + 2..];
    body.split("\n#").next().unwrap_or_default()
}

/// The name in the first pair of backticks, without a closing slash.
fn code(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_default().trim_end_matches('/').to_owned()
}

#[test]
fn readme_lists_every_folder_and_no_other() {
    let readme = read("README.md");
    let mut listed: Vec<String> = rows(section(&readme, "## Folders")).map(|row| code(&row[0])).collect();
    let mut expected: Vec<String> = members().into_iter().map(|member| member.folder).collect();
    expected.extend(
        OTHER_FOLDERS.iter().filter(|name| root().join(name).exists()).map(|name| (*name).to_owned()),
    );
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn architecture_lists_every_crate_with_what_it_uses() {
    let architecture = read("docs/architecture.md");
    let listed: BTreeMap<String, (String, Vec<String>)> = rows(section(&architecture, "## Crates"))
        .map(|row| {
            let used = row[2].split(',').map(code).filter(|name| !name.is_empty());
            let mut used: Vec<String> = used.collect();
            used.sort();
            (code(&row[0]), (code(&row[1]), used))
        })
        .collect();
    let found: BTreeMap<String, (String, Vec<String>)> =
        members().into_iter().map(|member| (member.package, (member.folder, member.uses))).collect();
    assert_eq!(listed, found);
}

#[test]
fn every_crate_says_what_it_is() {
    for member in members() {
        assert!(member.description.len() > 20, "{} needs a description in its Cargo.toml", member.package);
    }
}

#[test]
fn readme_names_the_oldest_rust_that_the_manifest_allows() {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("rust-version")).expect("rust-version");
    let version = line.split('"').nth(1).expect("quoted");
    assert!(read("README.md").contains(&format!("Rust {version}")), "README must name Rust {version}");
}

#[test]
fn readme_has_the_two_commands() {
    let readme = read("README.md");
    for command in ["cargo run --release -p adit-node -- demo\n", "cargo test --workspace\n", ".ci/run"] {
        assert!(readme.contains(command), "README must name {command:?}");
    }
}

/// Links between documents lead somewhere.
#[test]
fn relative_links_lead_to_files() {
    for document in super::files().iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let document = document.to_str().expect("UTF-8");
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let folder = Path::new(document).parent().expect("a file");
            assert!(
                root().join(folder).join(path).exists(),
                "{document} links to {target}, which does not exist"
            );
        }
    }
}

/// Each variable that the node proxy refuses or warns of stands in docs/compatibility.md.
#[test]
fn compatibility_lists_every_variable_without_support() {
    let compatibility = read("docs/compatibility.md");
    let source = read("process/src/config/unsupported.rs");
    // Rules begin with their name; parts list theirs.
    let rows = source.lines().map(|line| line.trim_start().trim_start_matches('('));
    let rows = rows.filter(|line| line.starts_with('"') || line.contains("names: &["));
    let quoted = rows.flat_map(|line| line.split('"').skip(1).step_by(2));
    let names: Vec<&str> = quoted
        .filter(|name| {
            name.len() > 3
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .collect();
    assert!(names.len() > 10, "the table has moved: {names:?}");
    for name in names {
        assert!(
            compatibility.contains(&format!("`{name}`")),
            "docs/compatibility.md does not tell of {name}"
        );
    }
}

/// How many tests `document` names; each is in the file that stands before it. A name follows its file in backticks, and
/// files stand below `core/src` or `testkit/tests`, or are named in full.
fn tests_named_in(document: &str) -> usize {
    let mut found = 0;
    for row in read(document).lines().filter(|line| line.starts_with('|')) {
        let mut source = None;
        for name in test_cell(row).split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                let folders = ["core/src", "testkit/tests", "."];
                let path = folders.map(|folder| format!("{folder}/{name}"));
                let path = path.iter().find(|path| root().join(path).is_file());
                source = Some(read(path.unwrap_or_else(|| panic!("{document}: {name} is not there"))));
            } else {
                let source = source.as_ref().unwrap_or_else(|| panic!("{document}: {name} has no file"));
                assert!(
                    source.contains(&format!("fn {name}(")),
                    "{document}: there is no test {name}: {row}"
                );
                found += 1;
            }
        }
    }
    found
}

/// The first cell of a row that names tests; what stands behind it is remarks.
fn test_cell(row: &str) -> &str {
    row.split(" | ").find(|cell| cell.contains(".rs`")).unwrap_or_default()
}

#[test]
fn security_tests_exist() {
    let found = tests_named_in("docs/security-tests.md");
    assert!(found > 250, "only {found} tests are named");
}

/// Each case has its tests, or says why it has none.
#[test]
fn edge_cases_are_tested() {
    let found = tests_named_in("docs/edge-cases.md");
    assert!(found > 200, "only {found} tests are named");
    let document = read("docs/edge-cases.md");
    for section in 1..=8 {
        assert!(document.contains(&format!("\n## §{section} ")), "§{section} is missing");
    }
    let excuses = ["part 3", "pending: ", "none: "];
    for row in document.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, tests, ..] = cells[..] else { panic!("not a row of three: {row}") };
        let told =
            tests.starts_with('`') || tests == "tests" || excuses.iter().any(|it| tests.starts_with(it));
        assert!(told, "a case without a test: {row}");
    }
}

/// Each budget of HTTP/2 has an attack against a whole shard.
#[test]
fn every_budget_is_attacked() {
    let source = read("core/src/http2/budgets.rs");
    let attacks = ["floods", "memory"].map(|name| read(&format!("testkit/tests/attacks/{name}.rs"))).concat();
    let reasons = source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split('"').nth(1));
    let reasons: Vec<&str> = reasons.collect();
    assert!(reasons.len() > 10, "the table has moved: {reasons:?}");
    for reason in reasons {
        assert!(attacks.contains(&format!("\"{reason}\"")), "no attack ends as {reason}");
    }
}
