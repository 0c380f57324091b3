//! What messages, hints and documents tell people to type is there to be typed.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _, Parser as _};

use super::Cli;

/// Every file below with one of these endings, that is written by people.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if path
            .extension()
            .is_some_and(|it| endings.iter().any(|ending| it == *ending))
        {
            found.push(path);
        }
    }
    found
}

/// Whether a word stands for something of the reader's: NAME, `{name}`, a placeholder of a format.
fn is_placeholder(word: &str) -> bool {
    !word.starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
}

/// What is wrong with the words after `strowger`: each must be a command, an option of it, or what these take.
fn fault(words: &[&str]) -> Option<String> {
    let root = Cli::command();
    let mut command: &Command = &root;
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let word = word
            .trim_end_matches([',', ';', '.', ':', ')', ']'])
            .trim_start_matches('[');
        if let Some(option) = word.strip_prefix("--") {
            let option = option.split('=').next().unwrap_or_default();
            let known = |of: &Command| {
                let found = of
                    .get_arguments()
                    .find(|it| it.get_long() == Some(option))
                    .cloned();
                found.map(|it| it.get_action().takes_values())
            };
            if option == "help" {
                continue;
            }
            match known(command).or_else(|| known(&root)) {
                Some(true) if !word.contains('=') => drop(words.next()),
                Some(_) => {}
                None => return Some(format!("`{}` has no --{option}", command.get_name())),
            }
        } else if command.has_subcommands() {
            match command.find_subcommand(word) {
                Some(next) => command = next,
                None if is_placeholder(word) => return None,
                None => return Some(format!("`{}` has no `{word}`", command.get_name())),
            }
        }
    }
    None
}

/// The commands between backticks, in examples, and on lines of their own.
fn commands(text: &str) -> Vec<String> {
    // A string that goes on in the next line of a source.
    let text = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("`strowger ") {
        let rest = &text[at + 1..];
        found.extend(rest.split(['`', '\n']).next().map(str::to_owned));
    }
    for (at, begin) in text.match_indices("Example: strowger ") {
        let rest = &text[at + begin.len() - "strowger ".len()..];
        found.extend(rest.split(['"', '\n']).next().map(str::to_owned));
    }
    let lines = text.lines().filter(|line| line.starts_with("strowger "));
    found.extend(lines.map(|line| line.split(" #").next().unwrap_or_default().to_owned()));
    found
}

#[test]
fn every_command_that_people_are_told_to_type_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut texts = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for folder in ["src", "actors/src", "docs"] {
        texts.extend(files(&root.join(folder), &["rs", "md"]));
    }
    // This one names some that are not there.
    texts.retain(|path| !path.ends_with("cli/hints.rs"));
    let (mut count, mut faults) = (0, Vec::new());
    for path in texts {
        let text = std::fs::read_to_string(&path).unwrap();
        for command in commands(&text) {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            count += 1;
            let fault = fault(&words);
            faults.extend(fault.map(|why| format!("{}: {command}: {why}", path.display())));
        }
    }
    assert!(count > 100, "{count}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_is_not_there_is_found() {
    for wrong in [
        "call list",
        "trunk lst",
        "trunk show x --secret",
        "sesion login",
    ] {
        let words: Vec<&str> = wrong.split(' ').collect();
        assert!(fault(&words).is_some(), "{wrong}");
    }
    for right in [
        "calls list",
        "trunk show NAME --secrets",
        "--config x run",
        "{kind} list",
    ] {
        let words: Vec<&str> = right.split(' ').collect();
        assert_eq!(fault(&words), None, "{right}");
    }
    let text = "see `strowger call \\\n    list`, and `strowger_calls_active`";
    assert_eq!(commands(text).len(), 1);
}

#[test]
fn what_is_missing_is_listed_by_a_command_that_is_there() {
    for kind in [
        "trunk", "session", "route", "quota", "quota of", "ban", "token", "key", "call",
    ] {
        let problem = crate::problem::Problem::not_found(kind, "x");
        let text = serde_json::to_value(&problem).unwrap();
        let hint = text["hint"].as_str().unwrap();
        let line = hint.split('`').nth(1).unwrap();
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        let name = "x".to_owned();
        let failure = crate::failure::Failure::NotFound { kind, name }.to_string();
        assert!(failure.contains(line), "{failure}");
    }
}
