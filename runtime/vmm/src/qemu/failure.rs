//! What QEMU says when it cannot start, in the words of this crate.

use std::path::PathBuf;

use crate::Error;

/// The error behind QEMU's output.
pub(super) fn translate(said: &str) -> Error {
    let line = said
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.contains("warning:"))
        .unwrap_or("QEMU ended without a word");
    // `qemu-system-x86_64: -drive if=none,…: what is wrong`
    let line = line.strip_prefix("qemu-system-").map_or(line, |rest| {
        rest.split_once(": ").map_or(rest, |(_, said)| said)
    });
    let why = match line.strip_prefix('-') {
        Some(option) => option.split_once(": ").map_or(line, |(_, why)| why),
        None => line,
    };
    if said.contains("Failed to get") && said.contains("lock") {
        return Error::DiskLocked(file_in(line).unwrap_or_else(|| why.to_owned()));
    }
    if said.to_lowercase().contains("cannot allocate memory") {
        return Error::Start(format!("the host has not enough memory ({why})"));
    }
    if said.contains("No space left on device") {
        return Error::DiskFull(PathBuf::from(file_in(line).unwrap_or_default()));
    }
    if let Some(file) = file_in(line).filter(|_| why.contains("No such file")) {
        return Error::Start(format!("{file} is missing"));
    }
    if line.contains("id=files") {
        return Error::Start(format!("the file server is not there: {why}"));
    }
    if why.contains("UNIX socket path") && why.contains("too long") {
        return Error::Start(format!("the runtime directory's path is too long ({why})"));
    }
    Error::Start(why.to_owned())
}

/// The value of `file=` in an echoed option.
fn file_in(line: &str) -> Option<String> {
    let rest = line.split_once("file=")?.1;
    rest.split_once(": ")
        .map(|(file, _)| file.replace(",,", ","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_failures() {
        let locked = "qemu-system-x86_64: -drive if=none,id=d0,format=raw,file=/v/db.img: \
                      Failed to get \"write\" lock\nIs another process using the image [/v/db.img]?\n";
        assert!(matches!(translate(locked), Error::DiskLocked(_)));
        let missing = "qemu-system-x86_64: -drive if=none,id=d0,file=/v/a,,b.img: Could not open \
                       '/v/a,b.img': No such file or directory\n";
        assert_eq!(
            translate(missing).to_string(),
            "the VM could not be started: /v/a,b.img is missing"
        );
        let memory =
            "qemu-system-x86_64: cannot set up guest memory 'ram': Cannot allocate memory\n";
        assert!(translate(memory).to_string().contains("not enough memory"));
        let files = "qemu-system-x86_64: -chardev socket,id=files,path=/x: Failed to connect to '/x': \
                     No such file or directory\n";
        assert!(translate(files).to_string().contains("file server"));
        assert!(translate("").to_string().contains("without a word"));
    }
}
