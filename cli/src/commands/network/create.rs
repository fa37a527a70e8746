//! `stack network create`

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use stack_api::network::NetworkInfo;
use stack_api::spec::NetworkSpec;

use crate::context::Context;
use crate::error::Error;
use crate::{exit, ui};

/// Make a network that stacks share
///
/// Stacks use it with `external: true`. It has a network daemon of its own,
/// which runs as long as a machine is on it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: a network with a subnet of your choice\n  \
                  stack network create --subnet 10.7.0.0/24 shared")]
pub(super) struct Create {
    /// No way out
    #[arg(long)]
    internal: bool,

    /// Give it IPv6 addresses, too
    #[arg(long)]
    ipv6: bool,

    /// Subnet, e.g. 10.7.0.0/24; one of each kind
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<IpNet>,

    /// Address of the router in a subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,

    /// Part of the subnet that addresses are taken from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<IpNet>,

    /// Address that nobody is given, as name=address
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS", value_parser = pair)]
    reserved: Vec<(String, String)>,

    /// Label, as key=value
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// Option: com.docker.network.driver.mtu=BYTES
    #[arg(short = 'o', long = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,

    /// Driver: there is bridge
    #[arg(short, long, default_value = "bridge", value_parser = ["bridge"], hide = true)]
    driver: String,

    /// Networks are always attachable
    #[arg(long, hide = true)]
    attachable: bool,

    /// Name
    name: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "" => Err("a key is missing before `=`".to_owned()),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let wanted = self.spec()?;
        let client = context.client().await?;
        let made: NetworkInfo = client.call("/v1/networks", &wanted).await?;
        ui::print_line(made.name)?;
        Ok(exit::OK)
    }

    /// What the daemon is asked for; the rules are those of stack files.
    fn spec(&self) -> Result<NetworkSpec, Error> {
        let wrong = |message: String| Error::Usage {
            message,
            help: Some("see `stack network create --help`".to_owned()),
        };
        let mut spec = NetworkSpec {
            name: self.name.clone(),
            internal: self.internal,
            ipv6: self.ipv6,
            labels: self.labels.iter().cloned().collect(),
            ..NetworkSpec::default()
        };
        for subnet in &self.subnet {
            let twice = match subnet {
                IpNet::V4(subnet) => spec.subnet.replace(subnet.trunc()).is_some(),
                IpNet::V6(subnet) => {
                    spec.ipv6 = true;
                    spec.subnet6.replace(subnet.trunc()).is_some()
                }
            };
            if twice {
                return Err(wrong(format!("{subnet} is a second subnet of its kind")));
            }
        }
        if spec
            .subnet
            .is_some_and(|net| !(8..=29).contains(&net.prefix_len()))
            || spec
                .subnet6
                .is_some_and(|net| !(16..=120).contains(&net.prefix_len()))
        {
            return Err(wrong("the subnet is too large or too small".to_owned()));
        }
        let inside = |address: &IpAddr| match address {
            IpAddr::V4(address) => spec.subnet.is_some_and(|net| net.contains(address)),
            IpAddr::V6(address) => spec.subnet6.is_some_and(|net| net.contains(address)),
        };
        let mut reserved = BTreeMap::new();
        for (name, address) in &self.reserved {
            match address.parse().ok().filter(inside) {
                Some(address) => drop(reserved.insert(name.clone(), address)),
                None => return Err(wrong(format!("{address} is not an address in a subnet"))),
            }
        }
        if let Some(outside) = self.gateway.iter().find(|gateway| !inside(gateway)) {
            return Err(wrong(format!("{outside} is not an address in a subnet")));
        }
        for gateway in &self.gateway {
            match gateway {
                IpAddr::V4(gateway) => spec.gateway = Some(*gateway),
                IpAddr::V6(gateway) => spec.gateway6 = Some(*gateway),
            }
        }
        for range in &self.ip_range {
            let fits = match range {
                IpNet::V4(range) => {
                    spec.range = Some(range.trunc());
                    spec.subnet.is_some_and(|net| net.contains(range))
                }
                IpNet::V6(range) => {
                    spec.range6 = Some(range.trunc());
                    spec.subnet6.is_some_and(|net| net.contains(range))
                }
            };
            if !fits {
                return Err(wrong(format!("{range} is not a part of a subnet")));
            }
        }
        spec.reserved = reserved;
        for (key, value) in &self.options {
            let least = if spec.ipv6 { 1280 } else { 576 };
            match (key.as_str(), value.parse::<u16>()) {
                ("com.docker.network.driver.mtu", Ok(mtu)) if mtu >= least => spec.mtu = Some(mtu),
                ("com.docker.network.driver.mtu", _) => {
                    return Err(wrong(format!("the MTU is a number from {least} to 65535")));
                }
                _ => context_free_warning(key),
            }
        }
        Ok(spec)
    }
}

fn context_free_warning(key: &str) {
    ui::say(format!("warning: the option {key} has no effect"));
}
