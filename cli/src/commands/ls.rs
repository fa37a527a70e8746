//! `stack ls`

use stack_api::container::State;
use stack_api::request::StackInfo;

use crate::context::Context;
use crate::error::Error;
use crate::ui::form::{Form, Row};
use crate::ui::palette;
use crate::ui::table::Columns;
use crate::{exit, ui};

/// List the stacks that have containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: names of all stacks, also of those that do not run\n  \
                  stack ls -aq"
)]
pub(crate) struct Ls {
    /// Also stacks of which nothing runs
    #[arg(short, long)]
    all: bool,

    /// Only names
    #[arg(short, long)]
    quiet: bool,

    /// Only stacks whose name matches: name=PATTERN, a regular expression
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Option<regex::Regex>,

    /// table, json (one array), or a text with fields in it, e.g.
    /// '{{.Name}} {{.Status}}'
    #[arg(long, value_name = "FORM", default_value = "table", value_parser = form)]
    format: Form,
}

impl Ls {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let client = context.client().await?;
        let mut stacks: Vec<StackInfo> = client.get("/v1/stacks").await?;
        stacks.retain(|stack| self.all || runs(stack));
        if let Some(filter) = &self.filter {
            stacks.retain(|stack| filter.is_match(&stack.name));
        }
        if self.quiet {
            for stack in &stacks {
                ui::print_line(&stack.name)?;
            }
            return Ok(exit::OK);
        }
        let rows: Vec<Row> = stacks.iter().map(|stack| row(stack, self.all)).collect();
        match self.format.array(context.ui, &rows)? {
            Some(text) => ui::print(text)?,
            None => {
                let mut table = Columns::new(context.ui, &["NAME", "STATUS", "CONFIG FILES"]);
                for stack in &stacks {
                    let style = if runs(stack) {
                        palette::GOOD
                    } else {
                        palette::DIM
                    };
                    table.row(vec![
                        stack.name.clone(),
                        context.ui.out.paint(style, status(stack, self.all)),
                        stack.files.join(", "),
                    ]);
                }
                ui::print(table)?;
            }
        }
        Ok(exit::OK)
    }
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text, &row(&StackInfo::default(), true))
}

fn row(stack: &StackInfo, all: bool) -> Row {
    Row::from(serde_json::json!({
        "Name": stack.name,
        "Status": status(stack, all),
        "ConfigFiles": stack.files.join(","),
    }))
}

fn filter(text: &str) -> Result<regex::Regex, String> {
    let pattern = text.strip_prefix("name=").ok_or("name=PATTERN")?;
    regex::Regex::new(pattern).map_err(|error| error.to_string())
}

fn runs(stack: &StackInfo) -> bool {
    !status(stack, false).is_empty()
}

/// `exited(1), running(2)`; without `all` only what runs.
fn status(stack: &StackInfo, all: bool) -> String {
    let live = [
        State::Starting,
        State::Running,
        State::Paused,
        State::Restarting,
        State::Stopping,
    ];
    let words: Vec<String> = stack
        .states
        .iter()
        .filter(|(_, n)| **n > 0)
        .filter(|(state, _)| all || live.iter().any(|live| live.as_str() == state.as_str()))
        .map(|(state, n)| format!("{state}({n})"))
        .collect();
    words.join(", ")
}
