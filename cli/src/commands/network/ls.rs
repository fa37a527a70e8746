//! `stack network ls`

use stack_api::network::NetworkInfo;

use crate::context::Context;
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::table::Columns;
use crate::{exit, ui};

/// List networks
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    after_help = "Example: the networks of this project\n  stack network ls --filter project=shop"
)]
pub(super) struct Ls {
    /// Only names
    #[arg(short, long)]
    quiet: bool,

    /// Only those with `name=…`, `project=…` or `label=key[=value]`
    #[arg(long = "filter", value_name = "FILTER", value_parser = parse_filter)]
    filters: Vec<Filter>,

    /// table, json (one object per line), or a text with fields in it, e.g.
    /// '{{.Name}} {{.Stack}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &row(&NetworkInfo::default()))
}

fn row(network: &NetworkInfo) -> Row {
    Row::with_labels(super::inspect::json(network), &network.labels)
}

#[derive(Debug, Clone)]
enum Filter {
    Name(String),
    Project(String),
    Label(String, Option<String>),
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text.split_once('=') {
        Some(("name", part)) => Ok(Filter::Name(part.to_owned())),
        Some(("project", name)) => Ok(Filter::Project(name.to_owned())),
        Some(("label", label)) => Ok(match label.split_once('=') {
            Some((key, value)) => Filter::Label(key.to_owned(), Some(value.to_owned())),
            None => Filter::Label(label.to_owned(), None),
        }),
        _ => Err("there are `name=…`, `project=…` and `label=key[=value]`".to_owned()),
    }
}

impl Filter {
    fn takes(&self, network: &NetworkInfo) -> bool {
        match self {
            Filter::Name(part) => network.name.contains(part),
            Filter::Project(name) => network.project == *name,
            Filter::Label(key, value) => {
                let found = network.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        }
    }
}

impl Ls {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut networks: Vec<NetworkInfo> = client.get("/v1/networks").await?;
        networks.retain(|network| self.filters.iter().all(|filter| filter.takes(network)));
        if self.quiet {
            for network in &networks {
                ui::print_line(&network.name)?;
            }
            return Ok(exit::OK);
        }
        let rows: Vec<Row> = networks.iter().map(row).collect();
        match self.format.list(context.ui, &rows)? {
            Some(text) => ui::print(text)?,
            None => {
                let head = ["NAME", "STACK", "SUBNETS", "CONTAINERS", "INTERNAL"];
                let mut table = Columns::new(context.ui, &head);
                for network in &networks {
                    let owner = match network.project.as_str() {
                        "" => "-",
                        project => project,
                    };
                    table.row(vec![
                        network.name.clone(),
                        owner.to_owned(),
                        subnets(network),
                        network.members.len().to_string(),
                        if network.internal { "yes" } else { "no" }.to_owned(),
                    ]);
                }
                ui::print(table)?;
            }
        }
        Ok(exit::OK)
    }
}

/// `10.89.0.0/24, fd00::/64`
fn subnets(network: &NetworkInfo) -> String {
    let four = network.subnet.map(|subnet| subnet.to_string());
    let six = network.subnet6.map(|subnet| subnet.to_string());
    let both: Vec<String> = four.into_iter().chain(six).collect();
    both.join(", ")
}
