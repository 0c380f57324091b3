//! The page that says which test proves which row.

use std::fs;
use std::path::Path;

/// All sources below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_row_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("tests/e2e/ROWS.md")).unwrap();
    let mut code = String::new();
    for folder in ["tests/e2e", "src", "actors/src"] {
        sources(&root.join(folder), &mut code);
    }
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
    let rows = rows.into_iter().filter(|row| !row.starts_with("| ---"));
    let mut proven = 0;
    for row in rows.filter(|row| !row.starts_with("| row |")) {
        let mut names = row.split('`').skip(1).step_by(2).peekable();
        assert!(names.peek().is_some(), "no test: {row}");
        for name in names {
            assert!(code.contains(&format!("fn {name}()")), "no test `{name}`");
            proven += 1;
        }
    }
    assert!(proven > 90, "{proven} tests are named");
}
