//! What of the table a terminal has room for. It is drawn over the last one, which
//! works as long as each of its lines is one of the terminal's.

use super::form::Row;
use crate::ui::table::{Columns, cut};
use crate::ui::{Ui, palette, screen};

/// The columns of the table; the one without a name is bars.
const HEAD: [&str; 9] = [
    "CONTAINER ID",
    "NAME",
    "CPU %",
    "",
    "MEM USAGE / LIMIT",
    "MEM %",
    "NET I/O",
    "BLOCK I/O",
    "PIDS",
];

/// What is left out of a narrow one, what says least first.
const LEAVE_OUT: [&str; 7] = [
    "",
    "CONTAINER ID",
    "PIDS",
    "BLOCK I/O",
    "NET I/O",
    "MEM %",
    "MEM USAGE / LIMIT",
];

/// What is written to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Screen {
    /// What comes once, or goes to a file: there is room for all.
    Endless,
    /// A terminal on which the table is drawn again and again.
    Live {
        /// Columns.
        width: usize,
        /// Lines.
        height: usize,
    },
}

impl Screen {
    /// The terminal as it is now.
    pub(super) fn now(live: bool) -> Screen {
        // A height of none is one that is not known.
        let size = screen().filter(|(_, height)| *height > 0);
        let (width, height) = size.unwrap_or((80, 24));
        match live {
            true => Screen::Live { width, height },
            false => Screen::Endless,
        }
    }

    /// The table, with the columns that there is room for.
    pub(super) fn table(self, ui: Ui, rows: &[Row]) -> Columns {
        let Screen::Live { width, .. } = self else {
            return columns(ui, rows, &LEAVE_OUT[..1]);
        };
        let tables = (0..=LEAVE_OUT.len()).map(|n| columns(ui, rows, &LEAVE_OUT[..n]));
        let mut tables = tables.skip_while(|table| table.width() > width);
        tables
            .next()
            .unwrap_or_else(|| columns(ui, rows, &LEAVE_OUT))
    }

    /// The text and what is `below` it, no wider and no higher than the terminal.
    pub(super) fn cut(self, text: &str, mut below: Vec<String>) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Screen::Live { width, height } = self {
            // The cursor is below the last line.
            let room = height.saturating_sub(1).max(2);
            if lines.len() + below.len() > room {
                // A head, a container and how many more there are.
                below.truncate(room.saturating_sub(3));
                shorten(&mut lines, room - below.len());
            }
            for line in lines.iter_mut().chain(&mut below) {
                *line = cut(line, width);
            }
        }
        lines.append(&mut below);
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

/// Says in the last of so many lines how many more there are.
fn shorten(lines: &mut Vec<String>, room: usize) {
    if lines.len() > room {
        let kept = room.saturating_sub(1);
        let more = lines.len() - kept;
        lines.truncate(kept);
        lines.push(format!("{more} more: there is no room for them"));
    }
}

fn columns(ui: Ui, rows: &[Row], left_out: &[&str]) -> Columns {
    let keep = |name: &&str| !left_out.contains(name);
    let kept: Vec<&str> = HEAD.into_iter().filter(keep).collect();
    let mut table = Columns::new(ui, &kept);
    for row in rows {
        let cell = |name: &&str| match *name {
            "CONTAINER ID" => row.id.clone(),
            "NAME" => row.name.clone(),
            "CPU %" => row.cpu.clone(),
            "MEM USAGE / LIMIT" => row.memory.clone(),
            "MEM %" => row.memory_share.clone(),
            "NET I/O" => row.net.clone(),
            "BLOCK I/O" => row.disk.clone(),
            "PIDS" => row.pids.clone(),
            _ => ui.out.paint(palette::GOOD, &row.bars),
        };
        table.row(kept.iter().map(cell).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Paint;

    fn rows(count: usize) -> Vec<Row> {
        let row = |n: usize| Row {
            id: "0123456789ab".to_owned(),
            name: format!("shop-web-{n}"),
            cpu: "12.34%".to_owned(),
            memory: "64MiB / 256MiB".to_owned(),
            memory_share: "25.00%".to_owned(),
            net: "1.2kB / 3.4MB".to_owned(),
            disk: "5.6MB / 7.8GB".to_owned(),
            pids: "9".to_owned(),
            bars: "▃█▁".repeat(10),
            ..Row::default()
        };
        (1..=count).map(row).collect()
    }

    fn ui(width: usize) -> Ui {
        Ui {
            out: Paint(false),
            err: Paint(false),
            live: false,
            width,
        }
    }

    fn live(width: usize) -> Screen {
        Screen::Live { width, height: 24 }
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        let words = |width: usize| -> Vec<String> {
            let table = live(width).table(ui(width), &rows(2));
            assert!(table.width() <= width, "{table}");
            let table = table.to_string();
            let words = table.lines().next().unwrap_or_default().split("   ");
            let words = words.map(str::trim).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        assert_eq!(words(40), ["NAME", "CPU %", "MEM USAGE / LIMIT"]);
        let some = [
            "NAME",
            "CPU %",
            "MEM USAGE / LIMIT",
            "MEM %",
            "NET I/O",
            "BLOCK I/O",
        ];
        assert_eq!(words(80), some);
        let most = [&["CONTAINER ID"][..], &some, &["PIDS"]].concat();
        assert_eq!(words(120), most);
        assert_eq!(words(200), most);
    }

    #[test]
    fn bars_are_for_wide_ones_that_are_drawn_again() {
        let table = |screen: Screen| screen.table(ui(40), &rows(1)).to_string();
        assert!(table(live(200)).contains('▃'));
        assert!(!table(live(120)).contains('▃'));
        let once = table(Screen::Endless);
        assert!(once.contains("PIDS") && !once.contains('▃'), "{once}");
    }

    #[test]
    fn each_line_is_one_of_the_terminal() {
        for (width, height) in [(40, 24), (80, 8), (120, 5), (10, 3), (1, 1)] {
            let screen = Screen::Live { width, height };
            let table = screen.table(ui(width), &rows(30)).to_string();
            let text = screen.cut(&table, vec!["a long line about the network".repeat(8)]);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() < height.max(3), "{height}: {text}");
            let widest = lines.iter().map(|line| console::measure_text_width(line));
            assert!(widest.max() <= Some(width), "{width}: {text}");
        }
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let screen = Screen::Live {
            width: 80,
            height: 6,
        };
        let table = screen.table(ui(80), &rows(9)).to_string();
        let text = screen.cut(&table, vec!["flows".to_owned()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[3..], ["7 more: there is no room for them", "flows"]);
        let all = screen.cut("a\nb\n", vec!["flows".to_owned()]);
        assert_eq!(all, "a\nb\nflows\n");
        assert_eq!(Screen::Endless.cut("a\nb\n", Vec::new()), "a\nb\n");
    }
}
