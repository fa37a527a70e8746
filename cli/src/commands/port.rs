//! `stack port`

use std::net::SocketAddr;

use crate::context::{Context, containers};
use crate::error::Error;
use crate::{exit, ui};

/// Print where a port of a service is published
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ask the web server, wherever its port 80 is\n  \
                  curl http://$(stack port web 80)/"
)]
pub(crate) struct Port {
    /// tcp or udp
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,

    /// Number of the container
    #[arg(long, default_value_t = 1, value_name = "N")]
    index: u32,

    /// Service
    service: String,

    /// Port of the service (default: all that are published)
    #[arg(value_name = "PORT")]
    port: Option<u16>,
}

impl Port {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let services = std::slice::from_ref(&self.service);
        let project = context.named()?;
        let client = context.client().await?;
        let list = containers(&client, &project.name).await?;
        project.check_services(services, &list)?;
        let container = list
            .iter()
            .find(|c| !c.one_off && c.service == self.service && c.number == self.index)
            .ok_or_else(|| Error::Usage {
                message: format!("service {} has no container {}", self.service, self.index),
                help: Some("see `stack ps -a`".to_owned()),
            })?;
        let address =
            |port: &stack_api::container::Published| SocketAddr::new(port.host_ip, port.host_port);
        let Some(wanted) = self.port else {
            for port in &container.ports {
                let protocol = if port.udp { "udp" } else { "tcp" };
                ui::print_line(format_args!(
                    "{}/{protocol} -> {}",
                    port.target,
                    address(port)
                ))?;
            }
            return Ok(exit::OK);
        };
        let udp = self.protocol == "udp";
        let found = container
            .ports
            .iter()
            .find(|p| p.target == wanted && p.udp == udp);
        let Some(found) = found else {
            return Err(stack_api::event::ApiError::new(
                "port_not_published",
                format!(
                    "port {wanted}/{} of {} is not published",
                    self.protocol, container.name
                ),
            )
            .help(
                "publish it under `ports` in the stack file; it is bound while the container runs",
            )
            .into());
        };
        ui::print_line(address(found))?;
        Ok(exit::OK)
    }
}
