//! The graph as a picture that needs no other program.

use std::fmt::Write;

use super::layout::layout;
use super::{Graph, Kind, Relation, States, Tone, Vertex};

/// Sizes in pixels.
const CHARACTER: f64 = 7.3;
const BOX_HEIGHT: f64 = 42.0;
const ROW: f64 = 62.0;
const GAP: f64 = 120.0;
const MARGIN: f64 = 24.0;
/// Characters of a line in a box at most.
const LONGEST: usize = 42;

const STYLE: &str = "\
svg{background:#fff;font:13px system-ui,-apple-system,'Segoe UI',sans-serif}\
text{fill:#1c2330}.small{font-size:11px;fill:#5b6472}.label{font-size:10px;fill:#5b6472;text-anchor:middle}\
.edge{fill:none;stroke:#8a94a3;stroke-width:1.3}.soft{stroke-dasharray:5 4}\
.box{stroke-width:1.5}.external{stroke-dasharray:5 4}\
.service{fill:#e8f0fe;stroke:#3b6fd4}.image{fill:#f3f4f6;stroke:#8a94a3}.build{fill:#fff4e0;stroke:#c98a1b}\
.network{fill:#e6f6ec;stroke:#2f9a55}.volume{fill:#f4eafd;stroke:#8b4fc7}\
.config{fill:#fffbe0;stroke:#b3a11a}.secret{fill:#fdeaea;stroke:#c74f4f}.model{fill:#e3f6f8;stroke:#2a93a3}\
.good{fill:#2e9e44}.busy{fill:#1f8fcf}.bad{fill:#d03030}.off{fill:#9aa2ad}";

impl Graph {
    /// A standalone SVG document: columns from left to right, services before
    /// what they need.
    pub fn to_svg(&self, name: &str, states: &States) -> String {
        let parts: Vec<&Vertex> = self.graph.node_weights().collect();
        let ends: Vec<(usize, usize)> = self
            .graph
            .raw_edges()
            .iter()
            .map(|edge| (edge.source().index(), edge.target().index()))
            .collect();
        let plan = layout(parts.len(), &ends);
        let boxes: Vec<Words> = parts.iter().map(|part| Words::new(part, states)).collect();
        let columns = Columns::new(&plan.places, &boxes, plan.columns);
        let height = plan.rows * ROW + 2.0 * MARGIN - (ROW - BOX_HEIGHT);
        let width = columns.total();
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n\
             <style>{STYLE}</style>\n<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
             markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" \
             fill=\"#8a94a3\"/></marker></defs>\n",
            escaped(name)
        );
        for ((edge, way), (from, to)) in self.graph.raw_edges().iter().zip(&plan.ways).zip(&ends) {
            let mut points = vec![(
                columns.right(plan.places[*from].0, &boxes[*from]),
                middle(plan.places[*from].1),
            )];
            for (column, row) in way {
                points.push((columns.left(*column), middle(*row)));
                points.push((columns.left(*column + 1) - GAP, middle(*row)));
            }
            points.push((columns.left(plan.places[*to].0), middle(plan.places[*to].1)));
            draw_edge(&mut out, &points, &edge.weight.relation);
        }
        for ((part, words), (column, row)) in parts.iter().zip(&boxes).zip(&plan.places) {
            draw_box(
                &mut out,
                part,
                words,
                (columns.left(*column), middle(*row)),
                states,
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

/// The lines in a box and its width.
struct Words {
    name: String,
    small: String,
    width: f64,
}

impl Words {
    fn new(part: &Vertex, states: &States) -> Self {
        let state = states
            .get(&part.name)
            .filter(|_| part.kind == Kind::Service);
        let mut small = match part.kind {
            Kind::Service => part.detail.clone(),
            kind if part.detail.is_empty() || part.detail == part.name => kind.word().to_owned(),
            kind => format!("{} · {}", kind.word(), part.detail),
        };
        if let Some(state) = state {
            small = if small.is_empty() {
                state.text.clone()
            } else {
                format!("{small} · {}", state.text)
            };
        }
        let (name, small) = (cut(&part.name), cut(&small));
        let widest = width(&name).max(width(&small) * 0.88);
        let dot = if state.is_some() { 16.0 } else { 0.0 };
        Self {
            width: (widest + 24.0 + dot).max(72.0),
            name,
            small,
        }
    }
}

/// Where columns begin.
struct Columns {
    starts: Vec<f64>,
}

impl Columns {
    fn new(places: &[(usize, f64)], boxes: &[Words], count: usize) -> Self {
        let mut widths = vec![72.0_f64; count];
        for ((column, _), words) in places.iter().zip(boxes) {
            widths[*column] = widths[*column].max(words.width);
        }
        let mut starts = vec![MARGIN];
        for width in widths {
            let last = starts.last().copied().unwrap_or(MARGIN);
            starts.push(last + width + GAP);
        }
        Self { starts }
    }

    fn left(&self, column: usize) -> f64 {
        self.starts[column]
    }

    fn right(&self, column: usize, words: &Words) -> f64 {
        self.starts[column] + words.width
    }

    fn total(&self) -> f64 {
        let end = self.starts.last().copied().unwrap_or(MARGIN);
        (end - GAP + MARGIN).max(2.0 * MARGIN)
    }
}

fn middle(row: f64) -> f64 {
    MARGIN + row * ROW + BOX_HEIGHT / 2.0
}

fn draw_edge(out: &mut String, points: &[(f64, f64)], relation: &Relation) {
    let soft = !matches!(relation, Relation::DependsOn { required: true, .. });
    let class = if soft { "edge soft" } else { "edge" };
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| points.get(i));
        match before {
            None => {
                let _ = write!(path, "M{x:.1} {y:.1}");
            }
            // Within a column, straight on.
            Some((_, last)) if (last - y).abs() < 0.1 => {
                let _ = write!(path, "L{x:.1} {y:.1}");
            }
            Some((from, last)) => {
                let half = (from + x) / 2.0;
                let _ = write!(path, "C{half:.1} {last:.1} {half:.1} {y:.1} {x:.1} {y:.1}");
            }
        }
    }
    let label = relation.label();
    let _ = write!(
        out,
        "<path class=\"{class}\" marker-end=\"url(#arrow)\" d=\"{path}\">"
    );
    if !label.is_empty() {
        let _ = write!(out, "<title>{}</title>", escaped(&label));
    }
    out.push_str("</path>\n");
    // Paths of mounts are too long to stand on a line; they are its title.
    if let (Relation::DependsOn { .. }, [.., from, to]) = (relation, points) {
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            (from.0 + to.0) / 2.0,
            (from.1 + to.1) / 2.0 - 4.0,
            escaped(&label)
        );
    }
}

fn draw_box(out: &mut String, part: &Vertex, words: &Words, (x, y): (f64, f64), states: &States) {
    let class = part.kind.word();
    let external = if part.external { " external" } else { "" };
    let round = if part.kind == Kind::Network {
        BOX_HEIGHT / 2.0
    } else {
        6.0
    };
    let top = y - BOX_HEIGHT / 2.0;
    let _ = write!(
        out,
        "<g><title>{} {}</title><rect class=\"box {class}{external}\" x=\"{x:.1}\" y=\"{top:.1}\" \
         width=\"{:.1}\" height=\"{BOX_HEIGHT}\" rx=\"{round}\"/>",
        class,
        escaped(&part.name),
        words.width,
    );
    let (first, text) = (
        if words.small.is_empty() {
            y + 4.5
        } else {
            y - 3.0
        },
        x + 12.0,
    );
    let weight = if part.kind == Kind::Service {
        " font-weight=\"600\""
    } else {
        ""
    };
    let _ = write!(
        out,
        "<text x=\"{text:.1}\" y=\"{first:.1}\"{weight}>{}</text>",
        escaped(&words.name)
    );
    if !words.small.is_empty() {
        let _ = write!(
            out,
            "<text class=\"small\" x=\"{text:.1}\" y=\"{:.1}\">{}</text>",
            y + 13.0,
            escaped(&words.small)
        );
    }
    if let Some(state) = states
        .get(&part.name)
        .filter(|_| part.kind == Kind::Service)
    {
        let tone = match state.tone {
            Tone::Good => "good",
            Tone::Busy => "busy",
            Tone::Bad => "bad",
            Tone::Off => "off",
        };
        let _ = write!(
            out,
            "<circle class=\"{tone}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"/>",
            x + words.width - 13.0,
            top + 13.0
        );
    }
    out.push_str("</g>\n");
}

fn cut(text: &str) -> String {
    if text.chars().nth(LONGEST).is_none() {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// A guess: what is not Latin is taken to be wide.
fn width(text: &str) -> f64 {
    text.chars()
        .map(|c| {
            if u32::from(c) < 0x1100 {
                CHARACTER
            } else {
                2.0 * CHARACTER
            }
        })
        .sum()
}

/// Text for an element's content or an attribute; characters that XML forbids
/// are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
