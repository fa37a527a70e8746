//! `stack net capture`

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use http_body_util::BodyExt;
use stack_api::network::NetworkInfo;

use crate::context::{Context, containers};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::{exit, ui};

/// Write what passes a service's network cards to a file
///
/// The file is in the pcapng form, which Wireshark and tshark read. It has all
/// frames in both directions, and is complete whenever the capture is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: capture until Ctrl-C, then look\n  \
                  stack net capture web -w web.pcapng && wireshark web.pcapng")]
pub(super) struct Capture {
    /// File to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", required = true)]
    write: PathBuf,

    /// Only this network: its full name, or its key in the file
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,

    /// Number of the container (default: the first that runs)
    #[arg(long, value_name = "N")]
    index: Option<u32>,

    /// Service
    service: String,
}

impl Capture {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let project = context.named()?;
        let client = context.client().await?;
        let list = containers(&client, &project.name).await?;
        project.check_services(std::slice::from_ref(&self.service), &list)?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("service", &self.service);
        if let Some(index) = self.index {
            query.append_pair("index", &index.to_string());
        }
        if let Some(word) = &self.network {
            let networks: Vec<NetworkInfo> = client.get("/v1/networks").await?;
            let full = format!("{}_{word}", project.name);
            let known = networks.iter().any(|network| network.name == full);
            query.append_pair("network", if known { &full } else { word });
        }
        let path = format!("/v1/stacks/{}/capture?{}", project.name, query.finish());
        let (mut body, _connection) = client.raw(&path).await?;
        let mut out = open(&self.write)?;
        let mut interrupts = Interrupts::take()?;
        ui::say("capturing until Ctrl-C");
        let mut written = 0_u64;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = interrupts.next() => break,
            };
            let Some(frame) = frame else {
                ui::say("the network daemon has ended the capture");
                break;
            };
            let frame = frame.map_err(|error| Error::Lost(error.to_string()))?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            match out.write_all(&bytes).and_then(|()| out.flush()) {
                Ok(()) => written += bytes.len() as u64,
                // Whoever read it has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(cannot_write(&self.write, &error)),
            }
        }
        ui::say(format_args!("{written} bytes written"));
        Ok(exit::OK)
    }
}

fn open(path: &Path) -> Result<Box<dyn Write>, Error> {
    if path == Path::new("-") {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(Error::Usage {
                message: "a capture is no text for a terminal".to_owned(),
                help: Some("write it to a file, or pipe it to `tshark -r -`".to_owned()),
            });
        }
        return Ok(Box::new(stdout));
    }
    let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
    Ok(Box::new(file))
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::Usage {
        message: format!("{} cannot be written: {error}", path.display()),
        help: None,
    }
}
