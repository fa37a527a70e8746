//! Records of a log: what is written is read, whatever is cut off.

use stack_protocol::log::{Record, Stream};

use super::*;

const PLENTY: Limits = Limits {
    size: 1 << 20,
    files: 2,
};

pub(super) fn record(sequence: u64, text: &str, partial: bool) -> Record {
    let data = text.as_bytes().to_vec();
    Record {
        sequence,
        time_ns: sequence * 10,
        stream: Stream::Stdout,
        partial,
        data,
    }
}

fn write(writer: &mut Writer, records: &[Record]) {
    for record in records {
        writer.append(record).unwrap();
    }
    writer.flush().unwrap();
}

pub(super) fn lines(reader: &mut Reader) -> Vec<String> {
    std::iter::from_fn(|| reader.next_entry())
        .map(|entry| entry.text())
        .collect()
}

#[test]
fn a_record_that_comes_twice_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    write(
        &mut writer,
        &[record(1, "one", false), record(2, "two", false)],
    );
    drop(writer);
    let mut writer = Writer::open(&path, PLENTY, true).unwrap();
    assert_eq!(writer.stored(), 2);
    write(
        &mut writer,
        &[record(2, "two", false), record(3, "three", false)],
    );
    assert_eq!(lines(&mut Reader::open(&path)), ["one", "two", "three"]);
}

#[test]
fn parts_of_a_long_line_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    let mut reader = Reader::open(&path);
    write(&mut writer, &[record(1, "he", true)]);
    assert!(reader.next_entry().is_none());
    write(&mut writer, &[record(2, "llo", false)]);
    assert_eq!(reader.next_entry().unwrap().text(), "hello");
}

#[test]
fn a_new_boot_starts_over_and_ends_old_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    write(
        &mut writer,
        &[record(1, "one", false), record(2, "prompt> ", true)],
    );
    drop(writer);
    drop(Writer::open(&path, PLENTY, false).unwrap());
    // The daemon was killed before it had stored anything of this boot.
    let mut writer = Writer::open(&path, PLENTY, true).unwrap();
    assert_eq!(writer.stored(), 0);
    write(&mut writer, &[record(1, "again", false)]);
    assert_eq!(
        lines(&mut Reader::open(&path)),
        ["one", "prompt> ", "again"]
    );
}

#[test]
fn a_line_that_was_cut_off_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    write(
        &mut writer,
        &[record(1, "one", false), record(2, "two", false)],
    );
    drop(writer);
    let size = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(size - 5).unwrap();
    let mut writer = Writer::open(&path, PLENTY, true).unwrap();
    assert_eq!(writer.stored(), 1);
    write(
        &mut writer,
        &[record(2, "two", false), record(3, "three", false)],
    );
    assert_eq!(lines(&mut Reader::open(&path)), ["one", "two", "three"]);
}

#[test]
fn bytes_that_are_no_text_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    let data: Vec<u8> = (0..=255).collect();
    let bytes = Record {
        data: data.clone(),
        ..record(1, "", false)
    };
    write(&mut writer, &[bytes]);
    assert_eq!(Reader::open(&path).next_entry().unwrap().data, data);
}

#[test]
fn files_are_bounded_in_size_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let limits = Limits {
        size: 1000,
        files: 3,
    };
    let mut writer = Writer::open(&path, limits, false).unwrap();
    let mut follower = Reader::open(&path);
    let mut followed = Vec::new();
    for n in 1..=300 {
        write(&mut writer, &[record(n, &format!("line {n}"), false)]);
        followed.extend(lines(&mut follower));
    }
    assert_eq!(followed.len(), 300, "a follower misses nothing");
    let sizes: Vec<u64> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3);
    assert!(sizes.iter().all(|size| *size < 1100), "{sizes:?}");
    let kept = lines(&mut Reader::open(&path));
    assert!(kept.len() > 40 && kept.len() < 100, "{}", kept.len());
    assert_eq!(kept, followed[300 - kept.len()..]);

    // Fewer files are wanted: the others go at the next rotation.
    writer.limit(Limits {
        size: 1000,
        files: 1,
    });
    for n in 301..=340 {
        write(&mut writer, &[record(n, &format!("line {n}"), false)]);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    remove(&path);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_was_away_too_long_goes_on_with_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let limits = Limits {
        size: 500,
        files: 2,
    };
    let mut writer = Writer::open(&path, limits, false).unwrap();
    write(&mut writer, &[record(1, "first", false)]);
    let mut reader = Reader::open(&path);
    assert_eq!(lines(&mut reader), ["first"]);
    for n in 2..=200 {
        write(&mut writer, &[record(n, &format!("line {n}"), false)]);
    }
    let rest = lines(&mut reader);
    assert!(rest.len() > 5, "{rest:?}");
    assert_eq!(rest.last().unwrap(), "line 200");
    assert!(reader.takes_note_of_missed());
    write(&mut writer, &[record(201, "one more", false)]);
    assert_eq!(lines(&mut reader), ["one more"]);
    assert!(!reader.takes_note_of_missed(), "it is told once");
}

#[test]
fn who_is_waited_for_misses_nothing() {
    for files in 1..=3 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let limits = Limits { size: 500, files };
        let readers = std::sync::Arc::default();
        let mut writer = Writer::open(&path, limits, false)
            .unwrap()
            .waiting_for(&readers);
        let mut waited = Reader::at_end(&path);
        waited.is_waited_for(&readers);
        let mut slow = Reader::at_end(&path);
        let texts: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
        for (n, text) in (1..).zip(&texts) {
            write(&mut writer, &[record(n, text, false)]);
        }
        assert!(writer.is_behind() && writer.stored() < 100);
        let mut got = Vec::new();
        while got.len() < 100 {
            let before = got.len();
            got.extend(lines(&mut waited));
            writer.flush().unwrap();
            assert!(got.len() > before || !writer.is_behind(), "{got:?}");
        }
        assert_eq!(got, texts);
        assert!(!waited.has_missed());
        // Nobody else is waited for, but told.
        drop(waited);
        for n in 101..=200 {
            write(&mut writer, &[record(n, "more", false)]);
        }
        assert_eq!(writer.stored(), 200);
        assert!(lines(&mut slow).len() < 200 && slow.has_missed());
    }
}

#[test]
fn a_hook_does_not_end_a_line_of_its_service() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    write(&mut writer, &[record(1, "he", true)]);
    writer.insert(Stream::Stdout, b"migrated").unwrap();
    write(&mut writer, &[record(2, "llo", false)]);
    let mut reader = Reader::open(&path);
    let entries: Vec<_> = std::iter::from_fn(|| reader.next_entry())
        .map(|entry| (entry.text(), entry.aside))
        .collect();
    let expected = [("migrated", true), ("hello", false)];
    assert_eq!(
        entries,
        expected.map(|(text, aside)| (text.to_owned(), aside))
    );
    assert!(!reader.has_missed());
}

#[test]
fn what_hooks_say_fills_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let limits = Limits {
        size: 200,
        files: 2,
    };
    let mut writer = Writer::open(&path, limits, false).unwrap();
    for n in 1..=20 {
        let line = format!("line {n}");
        writer.insert(Stream::Stdout, line.as_bytes()).unwrap();
        writer.flush().unwrap();
    }
    let kept = lines(&mut Reader::open(&path));
    assert!(
        kept.len() < 10 && kept.ends_with(&["line 20".to_owned()]),
        "{kept:?}"
    );
    assert!(!rotated(&path, 2).exists());
}

/// From wherever reading begins, what follows is what follows in the whole: no line without
/// its beginning, whoever else wrote meanwhile.
#[test]
fn what_is_near_the_end_is_the_end_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let limits = Limits {
        size: 2000,
        files: 5,
    };
    let mut writer = Writer::open(&path, limits, false).unwrap();
    for n in 1..=120 {
        if n == 70 {
            writer = Writer::open(&path, limits, false).unwrap();
        }
        let mut one = record(n, &format!("{n}"), n % 7 == 1 || n % 5 == 2);
        // Its lines have parts of which some are far from each other.
        if n % 11 < 2 {
            one.stream = Stream::Stderr;
            one.partial = n % 3 != 0;
        }
        one.sequence = if n < 70 { n } else { n - 69 };
        write(&mut writer, &[one]);
    }
    let whole = lines(&mut Reader::open(&path));
    let size = (0..=ages(&path)).map(|age| std::fs::metadata(rotated(&path, age)).unwrap().len());
    let size: u64 = size.sum();
    assert!(ages(&path) >= 2 && whole.len() > 20, "{whole:?}");
    let mut passed_over = 0;
    for bytes in 0..size {
        let mut reader = Reader::near_end(&path, bytes);
        assert!(!reader.is_from_oldest());
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry() {
            if reader.takes_note_of_gap() {
                found.clear();
                passed_over += 1;
            }
            found.push(entry.text());
        }
        if reader.takes_note_of_gap() {
            found.clear();
        }
        assert!(whole.ends_with(&found), "{bytes}: {found:?} of {whole:?}");
        // Nearly all that there are.
        assert!(bytes < 1500 || found.len() > 3, "{bytes}: {found:?}");
    }
    assert!(passed_over > 0);
    let mut all = Reader::near_end(&path, size);
    assert!(all.is_from_oldest());
    assert_eq!(lines(&mut all), whole);
}

#[test]
fn who_begins_within_a_line_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut writer = Writer::open(&path, PLENTY, false).unwrap();
    let part = |n| record(n, &"x".repeat(100), true);
    write(&mut writer, &(1..50).map(part).collect::<Vec<_>>());
    let mut reader = Reader::near_end(&path, 1000);
    assert_eq!(lines(&mut reader), [""; 0]);
    assert!(reader.is_within_line());
    assert_eq!(reader.rest().count(), 0);
    write(
        &mut writer,
        &[record(50, "end", false), record(51, "next", false)],
    );
    assert_eq!(lines(&mut reader), ["next"]);
    assert!(!reader.is_within_line() && reader.takes_note_of_gap());
}
