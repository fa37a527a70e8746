//! Progress for logs and pipes: a line when a step has ended, and now and
//! then a word about what takes long.

use std::collections::BTreeMap;
use std::time::Duration;

use stack_api::event::Event;

use super::steps::{Layers, News, Steps};
use crate::ui::{self, Ui, human, palette, untrusted};

/// A step that stays in one status this long gets a line.
const LONG: Duration = Duration::from_secs(10);

/// The display.
#[derive(Debug)]
pub(super) struct Plain {
    ui: Ui,
    steps: Steps,
    /// What was said last, by kind and name.
    told: BTreeMap<(String, String), String>,
    images: BTreeMap<String, Layers>,
}

impl Plain {
    pub(super) fn new(ui: Ui) -> Plain {
        Plain {
            ui,
            steps: Steps::default(),
            told: BTreeMap::new(),
            images: BTreeMap::new(),
        }
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
                let layers = self.images.entry(image.clone()).or_default();
                layers.take(layer, *phase, *done, *total);
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
                let (step, changed) = self.steps.take(&news);
                // A pull is worth a line when it begins: it may take minutes.
                let tells = changed && (*finished || status == "pulling");
                if !tells {
                    return;
                }
                // Each that waits for the same says so.
                let key = (kind.clone(), name.clone());
                let again = self.told.insert(key, status.clone()).as_ref() == Some(status);
                if again {
                    return;
                }
                let took = match (*finished, step.took_ms) {
                    (true, ms) if ms > 0 => format!("({})", human::took(ms)),
                    _ => String::new(),
                };
                self.line(kind, name, status, &took);
            }
            Event::Output { name, line } => {
                let name = self
                    .ui
                    .err
                    .paint(palette::DIM, format!("{} |", untrusted::plain(name)));
                ui::status(format_args!("{name} {}", untrusted::plain(line)));
            }
            Event::Warning { message } => self.ui.warn(untrusted::plain(message)),
            Event::Note { message } => self.ui.note(untrusted::plain(message)),
            Event::Done { .. } | Event::Failed(_) => {}
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        for (kind, name, step) in self.steps.long_running(LONG) {
            // Its turn has not come: what it waits for is told.
            if step.status == "created" {
                continue;
            }
            let elapsed = u64::try_from(step.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut more = format!("for {}", human::took(elapsed));
            if let Some(layers) = self.images.get(&name).filter(|_| kind == "image") {
                let (done, all) = layers.bytes();
                more = format!("{} of {}", human::bytes(done), human::bytes(all));
            }
            if let Some(detail) = &step.detail {
                more = format!("{more}: {}", untrusted::plain(detail));
            }
            self.line(&kind, &name, &format!("still {}", step.status), &more);
        }
    }

    fn line(&self, kind: &str, name: &str, status: &str, more: &str) {
        let dim = |text: &str| self.ui.err.paint(palette::DIM, text);
        let line = format!(
            "{} {} {} {}",
            dim(&format!("{kind:<9}")),
            untrusted::plain(name),
            untrusted::plain(status),
            dim(more)
        );
        ui::status(
            if more.is_empty() {
                line.replace("\u{1b}[2m\u{1b}[0m", "")
            } else {
                line
            }
            .trim_end(),
        );
    }
}
