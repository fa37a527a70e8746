//! Progress on a terminal: a line per thing, redrawn in place, with a
//! spinner while it goes on and a mark when it has ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use stack_api::event::{Event, LayerPhase};

use super::steps::{Layers, News, Step, Steps};
use crate::terminal::NoEcho;
use crate::ui::table::cut;
use crate::ui::{self, Ui, human, palette, untrusted};

/// Redraws per second.
const RATE: u8 = 12;

/// Before a line that has ended well.
const DONE: &str = "✔";

/// Widest name that is shown whole.
const MAX_NAME: usize = 48;

/// Lines of a failed build that are shown.
const MAX_OUTPUT: usize = 20;

/// The display.
#[derive(Debug)]
pub(super) struct Live {
    ui: Ui,
    lines: MultiProgress,
    steps: Steps,
    bars: BTreeMap<(String, String), Bar>,
    layers: BTreeMap<(String, String), ProgressBar>,
    images: BTreeMap<String, Layers>,
    /// Steps as they came.
    order: Vec<(String, String)>,
    /// What builds wrote last, by image.
    output: BTreeMap<String, VecDeque<String>>,
    name_width: usize,
    /// What is on the screen stays there.
    ended: bool,
    _no_echo: Option<NoEcho>,
}

/// The line of a step.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    step: Step,
}

impl Live {
    pub(super) fn new(ui: Ui) -> Live {
        let target = if ui::status_is_on_stdout() {
            ProgressDrawTarget::stdout_with_hz(RATE)
        } else {
            ProgressDrawTarget::stderr_with_hz(RATE)
        };
        Live {
            ui,
            lines: MultiProgress::with_draw_target(target),
            steps: Steps::default(),
            bars: BTreeMap::new(),
            layers: BTreeMap::new(),
            images: BTreeMap::new(),
            order: Vec::new(),
            output: BTreeMap::new(),
            name_width: 12,
            ended: false,
            _no_echo: NoEcho::enter(),
        }
    }

    /// The lines, for others who write meanwhile.
    pub(super) fn lines(&self) -> MultiProgress {
        self.lines.clone()
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Layer {
                image,
                layer,
                phase,
                done,
                total,
            } => {
                self.images
                    .entry(image.clone())
                    .or_default()
                    .take(layer, *phase, *done, *total);
                self.layer(image, layer, *phase, *done, *total);
                self.redraw("image", image);
            }
            Event::Step {
                kind,
                name,
                status,
                finished,
                detail,
                at_ms,
            } => {
                let news = News {
                    kind,
                    name,
                    status,
                    finished: *finished,
                    detail: detail.as_deref(),
                    at_ms: *at_ms,
                };
                self.step(&news);
            }
            Event::Output { name, line } => {
                let last = self.output.entry(name.clone()).or_default();
                if last.len() == MAX_OUTPUT {
                    last.pop_front();
                }
                last.push_back(line.clone());
            }
            Event::Warning { message } => {
                let word = self.ui.err.paint(palette::WARN, "warning:");
                // Nothing is lost when the terminal is gone.
                drop(
                    self.lines
                        .println(format!("{word} {}", untrusted::plain(message))),
                );
            }
            Event::Note { message } => {
                let note = self.ui.err.paint(palette::DIM, untrusted::plain(message));
                drop(self.lines.println(note));
            }
            Event::Done { .. } | Event::Failed(_) => {}
        }
    }

    /// Puts still lines in place of the moving ones. What goes on is marked
    /// as cut off unless all went well.
    pub(super) fn end(&mut self, well: bool) {
        self.ended = true;
        for bar in self.bars.values() {
            bar.bar.disable_steady_tick();
        }
        // Nothing is lost when the terminal is gone.
        drop(self.lines.clear());
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
        for key @ (kind, name) in &self.order {
            let Some(line) = self.bars.get(key) else {
                continue;
            };
            let mark = match line.step.finished || well {
                true => self.ui.err.paint(palette::GOOD, DONE),
                false => self.ui.err.paint(palette::BAD, "✘"),
            };
            ui::say(format_args!(
                " {mark} {}",
                self.text(kind, name, &line.step)
            ));
            if line.step.finished || well {
                continue;
            }
            for said in self.output.get(name).into_iter().flatten() {
                ui::say(format_args!("     {}", untrusted::plain(said)));
            }
        }
    }

    fn step(&mut self, news: &News<'_>) {
        let key = (news.kind.to_owned(), news.name.to_owned());
        let (step, _) = self.steps.take(news);
        let step = step.clone();
        let width = news.name.chars().count().min(MAX_NAME);
        let wider = width > self.name_width;
        self.name_width = self.name_width.max(width);
        let running = self.style(Mark::Running);
        let lines = &self.lines;
        let order = &mut self.order;
        let line = self.bars.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            let bar = lines.add(ProgressBar::new_spinner().with_style(running.clone()));
            bar.enable_steady_tick(Duration::from_millis(100));
            Bar {
                bar,
                step: step.clone(),
            }
        });
        let restarts = line.step.finished && !step.finished;
        line.step = step;
        if restarts {
            line.bar.reset();
            line.bar.set_style(running);
            line.bar.enable_steady_tick(Duration::from_millis(100));
        }
        if news.finished {
            let done = |image: &String| news.kind == "image" && image == news.name;
            let layers = self.layers.iter().filter(|((image, _), _)| done(image));
            layers.for_each(|(_, bar)| self.take_away(bar));
            self.layers.retain(|(image, _), _| !done(image));
        }
        if wider {
            let keys: Vec<_> = self.bars.keys().cloned().collect();
            keys.iter().for_each(|(kind, name)| self.redraw(kind, name));
        } else {
            self.redraw(news.kind, news.name);
        }
    }

    fn redraw(&self, kind: &str, name: &str) {
        let Some(line) = self.bars.get(&(kind.to_owned(), name.to_owned())) else {
            return;
        };
        let text = self.text(kind, name, &line.step);
        if line.step.finished {
            line.bar.set_style(self.style(Mark::Done));
            line.bar.finish_with_message(text);
        } else {
            line.bar.set_message(text);
        }
    }

    fn text(&self, kind: &str, name: &str, step: &Step) -> String {
        let paint = self.ui.err;
        let shown = cut(&untrusted::plain(name), MAX_NAME);
        let width = self.name_width;
        let status = untrusted::plain(&step.status);
        let colour = if step.finished {
            palette::GOOD
        } else {
            palette::BUSY
        };
        let mut text = format!(
            "{} {shown:<width$}  {}",
            paint.paint(palette::DIM, format_args!("{:<9}", untrusted::plain(kind))),
            paint.paint(colour, format_args!("{status:<10}"))
        );
        let mut more = Vec::new();
        if let Some(layers) = self.images.get(name).filter(|_| kind == "image") {
            let ((ready, all), (done, total)) = (layers.ready(), layers.bytes());
            if !step.finished {
                more.push(format!("{} / {}", human::bytes(done), human::bytes(total)));
                more.push(format!("{ready} of {}", human::count(all, "layer")));
            }
        }
        if let Some(detail) = &step.detail {
            more.push(untrusted::plain(detail));
        }
        if step.finished && step.took_ms > 0 {
            more.push(human::took(step.took_ms));
        }
        if !more.is_empty() {
            text.push(' ');
            text.push_str(&paint.paint(palette::DIM, more.join("  ")));
        }
        text
    }

    fn layer(&mut self, image: &str, layer: &str, phase: LayerPhase, done: u64, total: u64) {
        let key = (image.to_owned(), layer.to_owned());
        if matches!(phase, LayerPhase::Done | LayerPhase::Exists) {
            if let Some(bar) = self.layers.remove(&key) {
                self.take_away(&bar);
            }
            return;
        }
        let style = self.layer_style(phase, total);
        let (lines, bars) = (&self.lines, &self.bars);
        let bar = self.layers.entry(key).or_insert_with(|| {
            let bar = ProgressBar::no_length();
            match bars.get(&("image".to_owned(), image.to_owned())) {
                Some(line) => lines.insert_after(&line.bar, bar),
                None => lines.add(bar),
            }
        });
        if total > 0 {
            bar.set_length(total);
        }
        bar.set_style(style);
        bar.set_prefix(cut(&untrusted::plain(layer), 12));
        bar.set_position(done);
    }

    /// Without a trace: a line that is only cleared would be left behind.
    fn take_away(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.lines.remove(bar);
    }

    fn layer_style(&self, phase: LayerPhase, total: u64) -> ProgressStyle {
        let word = match phase {
            LayerPhase::Extracting => "unpacking",
            LayerPhase::Uploading => "uploading",
            LayerPhase::Downloading | LayerPhase::Done | LayerPhase::Exists => "downloading",
        };
        let bar = match (total > 0, self.ui.err.0) {
            (true, true) => "{bar:24.cyan/240} {decimal_bytes:>9} / {decimal_total_bytes}",
            (true, false) => "{bar:24} {decimal_bytes:>9} / {decimal_total_bytes}",
            (false, _) => "{decimal_bytes:>9}",
        };
        template(&format!("     {{prefix:<12}}  {word:<11}  {bar}")).progress_chars("━╸━")
    }

    fn style(&self, mark: Mark) -> ProgressStyle {
        let paint = self.ui.err;
        match mark {
            Mark::Running => template(if paint.0 {
                " {spinner:.cyan} {wide_msg} {elapsed:.dim}"
            } else {
                " {spinner} {wide_msg} {elapsed}"
            })
            .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "),
            Mark::Done => template(&format!(" {} {{msg}}", paint.paint(palette::GOOD, DONE))),
        }
    }
}

impl Drop for Live {
    /// The operation was given up.
    fn drop(&mut self) {
        if !self.ended {
            self.end(false);
        }
    }
}

/// What stands before a line.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Running,
    Done,
}

/// A style; the templates here are all well-formed, which a test holds.
fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
