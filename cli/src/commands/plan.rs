//! `stack plan`

use std::collections::BTreeMap;

use anstyle::Style;
use stack_api::request;
use stack_planner::plan::{Action, Plan as Planned, Step};

use crate::context::Context;
use crate::error::Error;
use crate::ui::{Ui, human, palette};
use crate::{exit, ui};

/// Show what `stack up` would do, and why
///
/// Nothing is changed. Images that have to be pulled first make the plan
/// preliminary.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: fail in a pipeline when a machine has drifted\n  \
                  stack plan --detailed-exitcode"
)]
pub(crate) struct Plan {
    /// Services, with all that they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Leave alone what the services depend on
    #[arg(long)]
    no_deps: bool,

    /// Plan new containers even when nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,

    /// Plan no new containers even when something changed
    #[arg(long)]
    no_recreate: bool,

    /// Plan to remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,

    /// End with 2 when something would change
    #[arg(long)]
    detailed_exitcode: bool,

    /// text, or json: the whole plan
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// `--detailed-exitcode`: something would change.
const CHANGES: u8 = 2;

impl Plan {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let spec = context.spec(&self.services)?;
        let name = spec.name.clone();
        let request = request::Up {
            spec,
            services: self.services,
            no_deps: self.no_deps,
            force_recreate: self.force_recreate,
            no_recreate: self.no_recreate,
            remove_orphans: self.remove_orphans,
            ..request::Up::default()
        };
        let client = context.client().await?;
        let plan: Planned = client
            .call(&format!("/v1/stacks/{name}/plan"), &request)
            .await?;
        match self.format {
            Format::Json => {
                let json = serde_json::to_string_pretty(&plan).map_err(std::io::Error::from);
                ui::print_line(json.map_err(Error::Output)?)?;
            }
            Format::Text => {
                ui::print(text(context.ui, &plan))?;
                if !plan.orphans.is_empty() {
                    context.ui.warn(format_args!(
                        "not in the file any more, but still there: {} (--remove-orphans)",
                        plan.orphans.join(", ")
                    ));
                }
            }
        }
        let changes = !plan.is_empty();
        Ok(if self.detailed_exitcode && changes {
            CHANGES
        } else {
            exit::OK
        })
    }
}

fn text(ui: Ui, plan: &Planned) -> String {
    if plan.is_empty() {
        let kept = human::count(plan.unchanged.len(), "container");
        return format!("Nothing to do: {kept} as wanted.\n");
    }
    let width = |of: fn(&Step) -> &str| {
        plan.steps
            .iter()
            .map(|step| of(step).chars().count())
            .max()
            .unwrap_or(0)
    };
    let name_width = width(|step| step.action.subject().1);
    let mut out = String::new();
    for step in &plan.steps {
        let (mark, style) = look(&step.action);
        let (kind, name) = step.action.subject();
        let verb = format!("{mark} {:<8}", step.action.verb());
        out.push_str(&ui.out.paint(style, verb));
        out.push_str(&format!(" {kind:<9} {name:<name_width$}  "));
        out.push_str(&ui.out.paint(palette::DIM, &step.reason));
        for wait in &step.wait_for {
            let condition = serde_json::to_value(wait.condition);
            let condition = condition.ok().and_then(|c| c.as_str().map(str::to_owned));
            let after = format!(
                ", after {} ({})",
                wait.service,
                condition
                    .unwrap_or_default()
                    .trim_start_matches("service_")
                    .replace('_', " ")
            );
            out.push_str(&ui.out.paint(palette::DIM, after));
        }
        out.push('\n');
    }
    out.push_str(&format!("\n{}\n", summary(plan)));
    out
}

/// `+` makes, `~` changes, `-` removes, `>` runs.
fn look(action: &Action) -> (char, Style) {
    match action {
        Action::Pull { .. } => ('>', palette::BUSY),
        Action::CreateNetwork { .. } | Action::CreateVolume { .. } | Action::Create { .. } => {
            ('+', palette::GOOD)
        }
        Action::UpdateNetwork { .. } | Action::Recreate { .. } => ('~', palette::WARN),
        Action::Start { .. } => ('>', palette::GOOD),
        Action::Stop { .. } => ('>', palette::WARN),
        Action::Remove { .. } => ('-', palette::BAD),
    }
}

/// `2 to create, 1 to recreate; 3 containers stay as they are.`
fn summary(plan: &Planned) -> String {
    let mut verbs: BTreeMap<&str, usize> = BTreeMap::new();
    for step in &plan.steps {
        *verbs.entry(step.action.verb()).or_default() += 1;
    }
    let order = [
        "pull", "create", "update", "recreate", "start", "stop", "remove",
    ];
    let parts: Vec<String> = order
        .iter()
        .filter_map(|verb| verbs.get(verb).map(|n| format!("{n} to {verb}")))
        .collect();
    let kept = match plan.unchanged.len() {
        0 => String::new(),
        n => format!("; {} unchanged", human::count(n, "container")),
    };
    format!("{}{kept}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Paint;

    #[test]
    fn a_plan_says_why() {
        let plan: Planned = serde_json::from_value(serde_json::json!({
            "steps": [
                {"action": {"type": "create", "service": "db", "number": 1, "name": "shop-db-1"},
                 "reason": {"type": "missing"}, "after": [], "wait_for": []},
                {"action": {"type": "start", "service": "web", "number": 1, "name": "shop-web-1"},
                 "reason": {"type": "not_running", "state": "exited"}, "after": [0],
                 "wait_for": [{"service": "db", "condition": "service_healthy", "required": true}]},
            ],
            "orphans": [],
            "unchanged": ["shop-cache-1"],
        }))
        .unwrap();
        let ui = Ui {
            out: Paint(false),
            err: Paint(false),
            live: false,
            width: 80,
        };
        assert_eq!(
            text(ui, &plan),
            "+ create   container shop-db-1   not there yet\n\
             > start    container shop-web-1  it is exited, after db (healthy)\n\
             \n1 to create, 1 to start; 1 container unchanged.\n"
        );
        let empty = Planned {
            unchanged: vec!["a".to_owned()],
            ..Planned::default()
        };
        assert_eq!(text(ui, &empty), "Nothing to do: 1 container as wanted.\n");
    }
}
