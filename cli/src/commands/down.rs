//! `stack down`

mod images;

use stack_api::request;

use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;
use crate::ui::human;

/// Stop and remove containers and networks
///
/// Named volumes stay unless -v is given. Services that no active profile
/// enables are removed, too, but for the volumes that only they use; containers
/// of services that are no longer in the file only with --remove-orphans.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: remove everything this stack made, its data included\n  \
                  stack down -v --remove-orphans"
)]
pub(crate) struct Down {
    /// Only these services (default: the whole stack)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Remove named and anonymous volumes as well: their data is lost
    #[arg(short, long, alias = "volume")]
    volumes: bool,

    /// Remove containers of services that are not in the file
    /// [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long)]
    remove_orphans: bool,

    /// Remove the services' images: all, or local (those that are built and
    /// have no `image`)
    #[arg(long, value_enum, value_name = "WHICH", hide_possible_values = true)]
    rmi: Option<images::Which>,

    /// Seconds to let services end by themselves (default: each one's own)
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Down {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let name = project.name.clone();
        let before = containers(&client, &name).await?;
        // Without a file, what is gone already is no mistake.
        if project.services.is_some() {
            project.check_services(&self.services, &before)?;
        }
        let images = match self.rmi {
            Some(which) => images::of(context, which, &self.services, &before)?,
            None => Vec::new(),
        };
        let before = before.len();
        let request = request::Down {
            volumes: self.volumes,
            volumes_known: project.volumes,
            remove_orphans: self.remove_orphans || context.is_set("COMPOSE_REMOVE_ORPHANS")?,
            services_known: project.services.unwrap_or_default(),
            services: self.services,
            timeout: self.timeout,
        };
        let path = format!("/v1/stacks/{name}/down");
        let summary = context.operate(&client, &path, &request, false).await?;
        images::remove(context, &client, images).await?;
        if before == 0 && summary.containers() == 0 {
            context
                .ui
                .note(format_args!("stack {name} has no containers"));
        } else {
            let count = human::count(summary.containers(), "container");
            let took = human::took(summary.took_ms);
            context
                .ui
                .note(format_args!("{name}: {count} removed in {took}"));
        }
        Ok(exit::OK)
    }
}
