//! `stack network inspect`

use serde_json::{Value, json};
use stack_api::network::{Member, NetworkInfo};

use super::find;
use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Show networks in full, as JSON
///
/// The form is that of `docker network inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: the addresses of a network's containers\n  \
                  stack network inspect default | jq '.[].Containers[] | {Name, IPv4Address}'")]
pub(super) struct Inspect {
    /// Networks: full names, or keys of this project's file
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut all = Vec::new();
        for word in &self.networks {
            all.push(json(&find(context, &client, word).await?));
        }
        let text = serde_json::to_string_pretty(&all).map_err(|e| Error::Lost(e.to_string()))?;
        ui::print_line(text)?;
        Ok(exit::OK)
    }
}

/// As `docker network inspect` shows it.
pub(super) fn json(network: &NetworkInfo) -> Value {
    let pool4 = network.subnet.map(|subnet| {
        json!({
            "Subnet": subnet,
            "Gateway": network.gateway,
            "IPRange": network.range,
        })
    });
    let pool6 = network.subnet6.map(|subnet| {
        json!({
            "Subnet": subnet,
            "Gateway": network.gateway6,
            "IPRange": network.range6,
        })
    });
    let pools: Vec<Value> = pool4.into_iter().chain(pool6).collect();
    let member = |member: &Member| {
        let with = |address: Option<String>, prefix: Option<u8>| {
            let both = address.zip(prefix);
            both.map_or(String::new(), |(address, prefix)| {
                format!("{address}/{prefix}")
            })
        };
        let prefix4 = network.subnet.map(|subnet| subnet.prefix_len());
        let prefix6 = network.subnet6.map(|subnet| subnet.prefix_len());
        let value = json!({
            "Name": member.name,
            "MacAddress": member.mac,
            "IPv4Address": with(member.ipv4.map(|ip| ip.to_string()), prefix4),
            "IPv6Address": with(member.ipv6.map(|ip| ip.to_string()), prefix6),
            "State": member.state.as_str(),
            "DNSNames": member.names,
            "DefaultRoute": member.default_route,
        });
        (member.id.clone(), value)
    };
    let members: serde_json::Map<String, Value> = network.members.iter().map(member).collect();
    json!({
        "Name": network.name,
        "Stack": network.project,
        "Driver": "bridge",
        "Scope": "local",
        "Internal": network.internal,
        "Attachable": true,
        "EnableIPv4": network.subnet.is_some(),
        "EnableIPv6": network.subnet6.is_some(),
        "MTU": network.mtu,
        "IPAM": {"Driver": "default", "Config": pools, "Reserved": network.reserved},
        "Containers": members,
        "Labels": network.labels,
        "CreatedMs": network.created_ms,
    })
}
