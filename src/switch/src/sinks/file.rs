//! One file a day, to which lines are appended (`cdr-2026-11-28.csv`).
//!
//! Nothing is remembered between two times: each time the file is opened anew, looked at, appended to and synced. So it may be moved away,
//! cut off or removed by others at any time. What is there and is not ours, or has other columns, is left alone: then a file with
//! a number is begun (`cdr-2026-11-28-2.csv`). The folder is never made: where a disk is not mounted, its place is not written to.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::CallId;
use rustix::fs::OFlags;

/// How many files a day may have: each stands for other columns.
const MOST_FILES: u32 = 99;
/// How much of the end of a file is looked through for what is in it already.
const TAIL: u64 = 8 << 20;
/// The longest line that may have been cut off by a crash.
const LONGEST_LINE: u64 = 64 << 10;
/// The owner writes, his group reads.
const RIGHTS: u32 = 0o640;

/// What kind of file it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// How its name ends.
    pub(super) ending: &'static str,
    /// Its first line.
    pub(super) head: Option<&'static str>,
    /// How each other line begins, where they all begin alike.
    pub(super) start: &'static str,
    /// The id of the call in a line.
    pub(super) id_of: fn(&str) -> Option<CallId>,
}

impl Kind {
    fn path(&self, folder: &Path, day: &str, number: u32) -> PathBuf {
        let number = match number {
            1 => String::new(),
            number => format!("-{number}"),
        };
        folder.join(format!("cdr-{day}{number}.{}", self.ending))
    }
}

/// The ids in the ends of the files of a day, as far as such files can be read: what was written before a crash.
pub(super) fn written(kind: &Kind, folder: &Path, day: &str) -> BTreeSet<CallId> {
    let mut ids = BTreeSet::new();
    for number in 1..=MOST_FILES {
        // A pipe must not hold up the thread, and a link leads to nothing of ours.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags())
            .open(kind.path(folder, day, number));
        // One may have been moved away, and those behind it not.
        let Ok(file) = file else {
            continue;
        };
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let Ok(tail) = tail(&file, TAIL) else {
            continue;
        };
        let text = String::from_utf8_lossy(&tail);
        // What is cut off begins with its id too, and is no record.
        let whole = text.rfind('\n').and_then(|end| text.get(..end));
        ids.extend(whole.unwrap_or_default().lines().filter_map(kind.id_of));
    }
    ids
}

/// The last octets of a file, so many at most.
fn tail(mut file: &File, most: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut octets = Vec::new();
    file.take(most).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Appends lines to the file of a day and waits until they are on the disk. Either all are there or, but for a crash, none.
pub(super) fn append(kind: &Kind, folder: &Path, day: &str, lines: &[String]) -> io::Result<()> {
    for number in 1..=MOST_FILES {
        let path = kind.path(folder, day, number);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(RIGHTS)
            // Who may write in the folder must not choose what is written to.
            .custom_flags(flags())
            .open(path)?;
        if !file.metadata()?.is_file() {
            continue;
        }
        let Some(length) = sound_length(kind, &file)? else {
            continue;
        };
        let head = kind.head.filter(|_| length == 0).into_iter();
        let all = head.chain(lines.iter().map(String::as_str));
        let mut text = String::new();
        for line in all {
            text.push_str(line);
            text.push('\n');
        }
        let done = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_data());
        if let Err(error) = done {
            // What is there of it would be taken for a line.
            let _ = file.set_len(length);
            return Err(error);
        }
        if length == 0 {
            File::open(folder)?.sync_all()?;
        }
        return Ok(());
    }
    Err(io::Error::other(
        "there are too many files of this day that have other columns",
    ))
}

fn flags() -> i32 {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// How long the file is, when what a crash has cut off is taken away; nothing when it has other columns, or is none of records.
fn sound_length(kind: &Kind, file: &File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(Some(0));
    }
    if let Some(head) = kind.head {
        let mut first = vec![0; head.len() + 2];
        let read = file.read_at(&mut first, 0)?;
        first.truncate(read);
        let is_ours = first.strip_prefix(head.as_bytes()).is_some_and(|rest| {
            rest.starts_with(b"\n") || rest.starts_with(b"\r\n") || rest.is_empty()
        });
        let is_cut_off = length <= head.len() as u64 && head.as_bytes().starts_with(&first);
        if is_cut_off {
            file.set_len(0)?;
            return Ok(Some(0));
        }
        if !is_ours {
            return Ok(None);
        }
    }
    if kind.head.is_none() {
        let mut first = vec![0; kind.start.len()];
        let read = file.read_at(&mut first, 0)?;
        first.truncate(read);
        if !kind.start.as_bytes().starts_with(&first) {
            return Ok(None);
        }
    }
    let tail = tail(file, LONGEST_LINE)?;
    if tail.last() == Some(&b'\n') {
        return Ok(Some(length));
    }
    let cut_off = tail.iter().rev().take_while(|octet| **octet != b'\n');
    let sound = length - cut_off.count() as u64;
    // A line of that length is none of ours; a file that began as one holds nothing else.
    if sound == length - tail.len() as u64 && sound > 0 {
        return Ok(None);
    }
    file.set_len(sound)?;
    Ok(Some(sound))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const DAY: &str = "2026-11-28";

    fn id_of(line: &str) -> Option<CallId> {
        line.split(',').next()?.parse().ok()
    }

    fn kind(head: &'static str) -> Kind {
        Kind {
            ending: "csv",
            head: Some(head),
            start: "",
            id_of,
        }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_head_is_written_once_and_other_columns_begin_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (kind("id,start"), kind("id,start,code"));
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        append(&old, folder.path(), DAY, &lines(&["1,a"])).unwrap();
        append(&old, folder.path(), DAY, &lines(&["2,b", "3,c"])).unwrap();
        assert_eq!(read("cdr-2026-11-28.csv"), "id,start\n1,a\n2,b\n3,c\n");
        append(&new, folder.path(), DAY, &lines(&["4,d,200"])).unwrap();
        append(&new, folder.path(), DAY, &lines(&["5,e,486"])).unwrap();
        append(&old, folder.path(), DAY, &lines(&["6,f"])).unwrap();
        assert_eq!(read("cdr-2026-11-28.csv"), "id,start\n1,a\n2,b\n3,c\n6,f\n");
        let second = "id,start,code\n4,d,200\n5,e,486\n";
        assert_eq!(read("cdr-2026-11-28-2.csv"), second);
        append(&old, folder.path(), "2026-11-29", &lines(&["7,g"])).unwrap();
        assert_eq!(read("cdr-2026-11-29.csv"), "id,start\n7,g\n");
        let rights = fs::metadata(folder.path().join("cdr-2026-11-28.csv")).unwrap();
        assert_eq!(rights.permissions().mode() & 0o137, 0, "0640 at most");
    }

    #[test]
    fn what_a_crash_has_cut_off_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cdr-2026-11-28.csv");
        let kind = kind("id,start");
        for (found, left) in [
            ("", "id,start\n"),
            ("id,st", "id,start\n"),
            ("id,start", "id,start\n"),
            ("id,start\n", "id,start\n"),
            ("id,start\n1,a\n2,", "id,start\n1,a\n"),
            ("id,start\r\n1,a\n", "id,start\r\n1,a\n"),
        ] {
            fs::write(&file, found).unwrap();
            append(&kind, folder.path(), DAY, &lines(&["9,z"])).unwrap();
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(text, format!("{left}9,z\n"), "{found:?}");
        }
        assert!(!folder.path().join("cdr-2026-11-28-2.csv").exists());
        // What is not ours stays as it is.
        fs::write(&file, "a letter").unwrap();
        append(&kind, folder.path(), DAY, &lines(&["9,z"])).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a letter");
    }

    #[test]
    fn a_file_that_is_moved_away_or_cut_off_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cdr-2026-11-28.csv");
        let kind = kind("id,start");
        append(&kind, folder.path(), DAY, &lines(&["1,a"])).unwrap();
        fs::rename(&file, folder.path().join("cdr-2026-11-28.csv.1")).unwrap();
        append(&kind, folder.path(), DAY, &lines(&["2,b"])).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "id,start\n2,b\n");
        File::create(&file).unwrap();
        append(&kind, folder.path(), DAY, &lines(&["3,c"])).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "id,start\n3,c\n");
    }

    #[test]
    fn neither_a_link_is_followed_nor_a_missing_folder_made() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "").unwrap();
        symlink(&secret, folder.path().join("cdr-2026-11-28.csv")).unwrap();
        let kind = kind("id,start");
        assert!(append(&kind, folder.path(), DAY, &lines(&["1,a"])).is_err());
        assert_eq!(fs::read_to_string(&secret).unwrap(), "");
        let missing = folder.path().join("missing");
        assert!(append(&kind, &missing, DAY, &lines(&["1,a"])).is_err());
        assert!(!missing.exists());
    }

    #[test]
    fn neither_a_pipe_nor_a_link_is_read_or_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let id = |n: u128| CallId::new(1_700_000_000_000, n);
        let kind = kind("id,start");
        let mkfifo = std::process::Command::new("mkfifo")
            .arg(folder.path().join("cdr-2026-11-28.csv"))
            .status();
        assert!(mkfifo.unwrap().success());
        append(&kind, folder.path(), DAY, &[format!("{},a", id(1))]).unwrap();
        assert!(folder.path().join("cdr-2026-11-28-2.csv").is_file());
        let found = written(&kind, folder.path(), DAY);
        assert_eq!(found, BTreeSet::from([id(1)]));
        let other = folder.path().join("other");
        fs::write(&other, format!("id,start\n{},b\n", id(2))).unwrap();
        symlink(&other, folder.path().join("cdr-2026-11-28-3.csv")).unwrap();
        assert_eq!(written(&kind, folder.path(), DAY), found);
    }

    #[test]
    fn what_is_written_already_is_found_in_all_files_of_the_day() {
        let folder = tempfile::tempdir().unwrap();
        let id = |n: u128| CallId::new(1_700_000_000_000, n);
        let (old, new) = (kind("id,start"), kind("id,start,code"));
        append(&old, folder.path(), DAY, &[format!("{},a", id(1))]).unwrap();
        append(&new, folder.path(), DAY, &[format!("{},b,200", id(2))]).unwrap();
        let found = written(&new, folder.path(), DAY);
        assert_eq!(found, BTreeSet::from([id(1), id(2)]));
        assert_eq!(written(&new, folder.path(), "2026-11-29"), BTreeSet::new());
        // One that was moved away hides no other.
        fs::rename(
            folder.path().join("cdr-2026-11-28.csv"),
            folder.path().join("cdr-2026-11-28.csv.1"),
        )
        .unwrap();
        let found = written(&new, folder.path(), DAY);
        assert_eq!(found, BTreeSet::from([id(2)]));
    }
}
