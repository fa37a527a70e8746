//! `stack plan`

mod show;

use stack_api::request;
use stack_planner::plan::Plan as Planned;

use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Show what `stack up` would do, and why
///
/// Each change comes with the old and the new value and the line of the file;
/// secrets are hidden. Nothing is changed. Images that have to be pulled first
/// make the plan preliminary.
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

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
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
        let (spec, project) =
            context.spec_and_project(&self.services, crate::project::lock::LockUse::Advise)?;
        let name = spec.name.clone();
        let request = request::Up {
            spec,
            services: self.services,
            no_deps: self.no_deps,
            force_recreate: self.force_recreate,
            no_recreate: self.no_recreate,
            remove_orphans: self.remove_orphans,
            builds: crate::builds::of(&project),
            ..request::Up::default()
        };
        let client = context.client().await?;
        let mut plan: Planned = client
            .call(&format!("/v1/stacks/{name}/plan"), &request)
            .await?;
        plan.locate(&project);
        if self.json || self.format == Format::Json {
            let json = serde_json::to_string_pretty(&plan).map_err(std::io::Error::from);
            ui::print_line(json.map_err(Error::Output)?)?;
        } else {
            print(context, &plan)?;
        }
        let changes = !plan.is_empty();
        Ok(if self.detailed_exitcode && changes {
            CHANGES
        } else {
            exit::OK
        })
    }
}

/// Shows a plan: the steps on standard output, remarks on standard error.
///
/// # Errors
/// It could not be written.
pub(super) fn print(context: &Context, plan: &Planned) -> Result<(), Error> {
    ui::print(show::text(context.ui, plan))?;
    for note in &plan.notes {
        context.ui.warn(ui::untrusted::plain(note));
    }
    if !plan.orphans.is_empty() {
        context.ui.warn(format_args!(
            "not in the file any more, but still there: {} (--remove-orphans)",
            plan.orphans.join(", ")
        ));
    }
    Ok(())
}
