//! `stack graph`

mod state;

use std::path::PathBuf;

use stack_planner::graph::{Kind, Line, Relation, States};

use crate::client::daemon;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::project::Phases;
use crate::ui::{Ui, palette, report, untrusted};
use crate::{exit, ui};

/// Show what depends on what
///
/// Services with the images, networks, volumes, configs and secrets they use,
/// and with their states when the stack runs. The daemon is asked if it runs;
/// it is not started for this.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: a picture for the documentation\n  \
                  stack graph --format svg -o stack.svg")]
pub(crate) struct Graph {
    /// Services, with all that they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,

    /// Services only, without what they use
    #[arg(long)]
    services: bool,

    /// tree, dot (Graphviz), mermaid, svg or json
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,

    /// Do not ask the daemon how the services are
    #[arg(long)]
    no_state: bool,

    /// Write into a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Tree,
    Dot,
    Mermaid,
    Svg,
    Json,
}

impl Graph {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let phases = Phases {
            resolve_environment: false,
            ..Phases::default()
        };
        let mut project = context.project(&self.only, phases)?;
        if !self.only.is_empty() {
            let names = project.with_dependencies(self.only.iter().map(String::as_str));
            project = project.select(&names);
        }
        let mut graph = project.graph();
        if self.services {
            graph = graph.services_only();
        }
        let states = if self.no_state {
            States::new()
        } else {
            states(project.name()).await
        };
        let text = match self.format {
            Format::Tree => tree(
                context.ui,
                project.name(),
                &graph.lines(),
                &states,
                self.output.is_none(),
            ),
            Format::Dot => graph.to_dot(project.name(), &states),
            Format::Mermaid => graph.to_mermaid(&states),
            Format::Svg => graph.to_svg(project.name(), &states),
            Format::Json => {
                let json = project.graph_json(&graph, &states);
                let text = serde_json::to_string_pretty(&json).map_err(std::io::Error::from);
                text.map_err(Error::Output)? + "\n"
            }
        };
        ui::print_into(self.output, text)?;
        Ok(exit::OK)
    }
}

/// States of the services; none when no daemon runs or it does not answer.
async fn states(stack: &str) -> States {
    let Some(client) = daemon::running().await else {
        return States::new();
    };
    let list = containers(&client, stack).await.unwrap_or_default();
    state::of(&list)
}

fn tree(ui: Ui, name: &str, lines: &[Line<'_>], states: &States, colour: bool) -> String {
    let paint = |style, text: &str| {
        if colour {
            ui.out.paint(style, text)
        } else {
            text.to_owned()
        }
    };
    let ascii = !report::is_unicode();
    let mut out = format!("{}\n", paint(palette::STRONG, name));
    for line in lines {
        out.push_str(&paint(palette::DIM, &line.guide(ascii)));
        let part = line.part;
        let name = untrusted::plain(&part.name);
        if part.kind == Kind::Service {
            out.push_str(&paint(palette::STRONG, &name));
        } else {
            out.push_str(&paint(palette::DIM, part.kind.word()));
            out.push(' ');
            out.push_str(&name);
        }
        let mut notes = Vec::new();
        match line.relation {
            Some(relation @ Relation::DependsOn { .. }) => {
                notes.push(format!("when {}", relation.label()))
            }
            Some(relation @ Relation::Mounts { .. }) if !relation.label().is_empty() => {
                notes.push(format!(
                    "{} {}",
                    if ascii { "at" } else { "→" },
                    relation.label()
                ));
            }
            Some(_) | None => {}
        }
        if part.external {
            notes.push("external".to_owned());
        }
        if part.kind == Kind::Build {
            notes.push(part.detail.clone());
        }
        if line.again {
            notes.push("see its other place".to_owned());
        }
        if !notes.is_empty() {
            out.push_str("  ");
            out.push_str(&paint(palette::DIM, &untrusted::plain(&notes.join(", "))));
        }
        if let Some(state) = states
            .get(&part.name)
            .filter(|_| part.kind == Kind::Service)
        {
            out.push_str("  ");
            out.push_str(&paint(
                state::style(state.tone),
                &untrusted::plain(&state.text),
            ));
        }
        out.push('\n');
    }
    out
}
