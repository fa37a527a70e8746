//! `stack rollback`

use stack_api::history;
use stack_planner::plan::Plan;

use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::ui::human;

/// Go back to a definition that the stack has reached before
///
/// Without a number, to the last one before the present one. The stack file
/// stays as it is: the next `stack up` applies it again. Data in volumes does
/// not go back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: see what going back would do, then do it\n  \
                  stack rollback --dry-run && stack rollback")]
pub(crate) struct Rollback {
    /// Number of the definition (`stack history`)
    #[arg(value_name = "NUMBER")]
    to: Option<u32>,

    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,

    /// Wait until all run and are healthy
    #[arg(long)]
    wait: bool,

    /// Seconds to let old containers end by themselves
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Rollback {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let name = context.named()?.name;
        let client = context.client().await?;
        let request = history::Rollback {
            to: self.to,
            timeout: self.timeout,
            wait: self.wait,
        };
        let path = format!("/v1/stacks/{name}/rollback");
        if self.dry_run {
            let plan: Plan = client.call(&format!("{path}/plan"), &request).await?;
            super::plan::print(context, &plan)?;
            return Ok(exit::OK);
        }
        let summary = context.operate(&client, &path, &request, false).await?;
        let count = human::count(summary.that_stay(), "container");
        let took = human::took(summary.took_ms);
        context
            .ui
            .note(format_args!("{name} is back ({count}, {took})"));
        Ok(exit::OK)
    }
}
