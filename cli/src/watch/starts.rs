//! Containers that start while their service is watched: by `scale`, by `up` in
//! another terminal, after a rebuild.

use std::time::Duration;

use stack_api::journal::EventQuery;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::Error;

/// How long a daemon is left alone that has cut the connection.
const RETRY: Duration = Duration::from_secs(2);

/// Services whose containers start. Nothing is told when this is dropped.
pub(super) struct Starts {
    services: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

impl Starts {
    /// Those of a stack, from now on.
    pub(super) fn of(client: &Client, stack: &str) -> Starts {
        let (to, services) = mpsc::unbounded_channel();
        let (client, stack) = (client.clone(), stack.to_owned());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut after = None;
            loop {
                let _ = follow(&client, &stack, &mut after, &to).await;
                tokio::time::sleep(RETRY).await;
            }
        });
        Starts {
            services,
            _task: task,
        }
    }

    /// The next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> String {
        match self.services.recv().await {
            Some(service) => service,
            // The task lives as long as this does.
            None => std::future::pending().await,
        }
    }
}

/// Tells of starts until the connection ends. `after`: what was heard last.
async fn follow(
    client: &Client,
    stack: &str,
    after: &mut Option<u64>,
    to: &mpsc::UnboundedSender<String>,
) -> Result<(), Error> {
    let query = EventQuery {
        after: *after,
        ..EventQuery::default()
    };
    let mut happenings = client.happenings(stack, &query).await?;
    while let Some(happening) = happenings.next().await? {
        *after = Some(happening.sequence);
        if happening.action == "start" {
            let _ = to.send(happening.service);
        }
    }
    Ok(())
}
