//! Tables: aligned columns, three spaces apart, a dim head and no lines.

use console::{measure_text_width, truncate_str};

use super::{Ui, palette};

/// Between columns.
const GAP: &str = "   ";

/// A table for standard output; ends with a newline.
#[derive(Debug)]
pub(crate) struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// An empty table.
    pub(crate) fn new(ui: Ui, head: &[&str]) -> Columns {
        Columns {
            rows: vec![
                head.iter()
                    .map(|word| ui.out.paint(palette::DIM, word))
                    .collect(),
            ],
        }
    }

    /// Columns of the terminal it takes.
    pub(crate) fn width(&self) -> usize {
        self.to_string()
            .lines()
            .map(measure_text_width)
            .max()
            .unwrap_or(0)
    }

    /// Adds a row; cells may have colours.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Columns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - measure_text_width(cell)));
                line.push_str(GAP);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` in at most `width` columns, the end replaced by `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Paint;
    use super::*;

    #[test]
    fn colours_and_wide_letters_do_not_move_columns() {
        let ui = Ui {
            out: Paint(true),
            err: Paint(false),
            live: false,
            width: 80,
        };
        let mut table = Columns::new(ui, &["NAME", "STATE"]);
        table.row(vec!["日本".into(), ui.out.paint(palette::GOOD, "running")]);
        table.row(vec!["longer".into(), "exited".into()]);
        assert_eq!(
            console::strip_ansi_codes(&table.to_string()),
            "NAME     STATE\n日本     running\nlonger   exited\n"
        );
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut("nginx -g", 20), "nginx -g");
        assert_eq!(cut("nginx -g daemon", 6), "nginx…");
    }
}
