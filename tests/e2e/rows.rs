//! The pages that say which test proves which row.

use std::collections::BTreeSet;
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
    let pages = ["ROWS.md", "SURVIVAL.md"];
    let pages = pages.map(|page| fs::read_to_string(root.join("tests/e2e").join(page)).unwrap());
    let page = pages.concat();
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

/// The files below a folder, each as a whole.
fn files(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_refusal_has_a_test_that_provokes_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |page: &str| fs::read_to_string(root.join(page)).unwrap();
    let (page, errors) = (read("tests/e2e/REFUSALS.md"), read("docs/errors.md"));
    let mut code = Vec::new();
    for folder in ["tests/e2e", "actors/src/tests", "src/sip/src/call/tests"] {
        files(&root.join(folder), &mut code);
    }
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|row| {
        !["| ---", "| refusal", "| end"]
            .iter()
            .any(|head| row.starts_with(head))
    });
    let mut proven = BTreeSet::new();
    for row in rows {
        let refusal = row.split('|').nth(1).unwrap().trim();
        let heading = format!("## {refusal}");
        assert!(
            errors.lines().any(|line| line == heading),
            "docs/errors.md does not know {refusal}"
        );
        // What only the case knows comes last.
        let phrase = refusal.split_once(' ').unwrap().1.replace(" {}", "");
        let words = reasons(&errors, &heading).chain([phrase]);
        let words: Vec<String> = words.filter(|words| words != "{}").collect();
        let mut names = row.split('`').skip(1).step_by(2).peekable();
        assert!(names.peek().is_some(), "no test: {row}");
        let mut is_there = false;
        for name in names {
            let head = format!("fn {name}()");
            let file = code.iter().find(|text| text.contains(&head));
            let file = file.unwrap_or_else(|| panic!("no test `{name}`"));
            is_there |= words.iter().any(|words| file.contains(words));
        }
        assert!(is_there, "no test of {refusal} knows its words");
        proven.insert(heading);
    }
    for heading in errors.lines().filter(|line| line.starts_with("## ")) {
        assert!(proven.contains(heading), "no row for {heading}");
    }
}

/// The names of the reasons below a heading.
fn reasons<'a>(errors: &'a str, heading: &str) -> impl Iterator<Item = String> + use<'a> {
    let below = errors.lines().skip_while({
        let heading = heading.to_owned();
        move |line| *line != heading
    });
    let below = below.skip(1).take_while(|line| !line.starts_with("## "));
    below.filter_map(|line| {
        let name = line.strip_prefix('`')?.split('`').next()?;
        Some(name.to_owned())
    })
}
