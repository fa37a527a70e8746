//! `stack scale`

use std::collections::BTreeMap;

use hyper::Method;
use stack_api::request;

use super::up;
use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::project::lock::LockUse;
use crate::ui::human;

/// Change how many containers services have
///
/// It counts until the next `stack up`, which goes by the file again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: more workers for the night\n  \
                  stack scale worker=5")]
pub(crate) struct Scale {
    /// Leave alone what the services depend on
    #[arg(long)]
    no_deps: bool,

    /// Services and how many containers each
    #[arg(value_name = "SERVICE=N", required = true, value_parser = up::scale)]
    services: Vec<(String, u32)>,
}

impl Scale {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let names: Vec<String> = self.services.iter().map(|(name, _)| name.clone()).collect();
        let (spec, project) = context.spec_and_project(&names, LockUse::Advise)?;
        let stack = spec.name.clone();
        let request = request::Up {
            spec,
            services: names,
            no_deps: self.no_deps,
            scale: self.services.into_iter().collect::<BTreeMap<_, _>>(),
            ignore_orphans: true,
            builds: crate::builds::of(&project),
            ..request::Up::default()
        };
        let client = context.client().await?;
        let mut interrupts = Interrupts::take()?;
        let path = format!("/v1/stacks/{stack}");
        let events = client.events(Method::PUT, &path, &request).await?;
        let summary = Progress::new(context.ui, context.global.progress)
            .follow(events, &mut interrupts)
            .await?;
        let took = human::took(summary.took_ms);
        context.ui.note(format_args!("{stack} is scaled in {took}"));
        Ok(exit::OK)
    }
}
