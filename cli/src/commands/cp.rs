//! `stack cp`

mod place;

use std::fs::File;
use std::io::{self, IsTerminal, Seek};
use std::path::{Path, PathBuf};

use stack_api::container::Container;
use stack_api::look::Archive;
use stack_archive::{Pack, Unpack};

use crate::client::Client;
use crate::context::{Context, containers};
use crate::error::Error;
use crate::exit;
use place::Place;

/// Copy files between a container and this machine
///
/// Paths in the container are absolute. A directory is copied with its name
/// into one that exists, DIR/. and . copy what is in it. `-` is a tar stream on
/// standard input or output. The container need not run: what is copied into
/// one that was only created is there when it starts. Without --index, files
/// go to all containers of the service, and come from the first.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "stack cp [OPTIONS] SERVICE:PATH PATH|-\n       \
                      stack cp [OPTIONS] PATH|- SERVICE:PATH",
    after_help = "Example: take a log out, put a configuration in\n  \
                  stack cp web:/var/log/nginx/error.log .\n  \
                  stack cp nginx.conf web:/etc/nginx/nginx.conf"
)]
pub(crate) struct Cp {
    /// Keep owners and groups, here if you are root (default: root there, you here)
    #[arg(short, long)]
    archive: bool,

    /// Copy what a symbolic link leads to, if the path is one
    #[arg(short = 'L', long)]
    follow_link: bool,

    /// Number of the container
    #[arg(long, value_name = "N")]
    index: Option<u32>,

    /// Also into containers that `stack run` made of the service
    #[arg(long, conflicts_with = "index")]
    all: bool,

    /// From where
    #[arg(value_name = "SOURCE")]
    from: Place,

    /// To where
    #[arg(value_name = "TARGET")]
    to: Place,
}

impl Cp {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let service = match (&self.from, &self.to) {
            (Place::Service { service, .. }, Place::Here(_) | Place::Stream)
            | (Place::Here(_) | Place::Stream, Place::Service { service, .. }) => service.clone(),
            _ => {
                return Err(Error::usage(
                    "one of source and target must be in a service",
                    "write it as SERVICE:PATH, e.g. web:/etc/hosts",
                ));
            }
        };
        let project = context.named()?;
        let client = context.client().await?;
        let existing = containers(&client, &project.name).await?;
        project.check_services(std::slice::from_ref(&service), &existing)?;
        let stack = &project.name;
        let mut of = Archive {
            index: self.index,
            ..Archive::default()
        };
        if self.all {
            of.container = self.containers(&service, &existing)?.into_iter().next();
        }
        of.service.clone_from(&service);
        match (&self.from, &self.to) {
            (Place::Service { path, .. }, Place::Stream) => {
                self.to_stream(&client, stack, of, path).await?;
            }
            (Place::Service { path, .. }, Place::Here(to)) => {
                self.out(&client, stack, of, path, to).await?;
            }
            (from, Place::Service { path, .. }) => {
                let names = self.containers(&service, &existing)?;
                // A stream can be read only once.
                let spool = match from {
                    Place::Stream if names.len() > 1 => Some(spool().map_err(|source| {
                        let path = "standard input".into();
                        let doing = "cannot read";
                        Error::File {
                            doing,
                            path,
                            source,
                        }
                    })?),
                    _ => None,
                };
                for name in names {
                    let of = Archive {
                        index: None,
                        container: Some(name),
                        ..of.clone()
                    };
                    self.put(&client, stack, of, (from, spool.as_ref()), path)
                        .await?;
                }
            }
            _ => {}
        }
        Ok(exit::OK)
    }

    fn containers(&self, service: &str, existing: &[Container]) -> Result<Vec<String>, Error> {
        let names: Vec<String> = existing
            .iter()
            .filter(|c| c.service == service && (self.all || !c.one_off))
            .filter(|c| self.index.is_none_or(|wanted| wanted == c.number))
            .map(|container| container.name.clone())
            .collect();
        if names.is_empty() {
            let what = self.index.map_or_else(String::new, |n| format!(" {n}"));
            return Err(Error::usage(
                format!("service {service} has no container{what}"),
                "see `stack ps -a`; `stack create` makes one",
            ));
        }
        Ok(names)
    }

    /// A place in the container that is said already.
    fn query(&self, of: Archive, path: &place::Within) -> Archive {
        Archive {
            path: path.path.clone(),
            name: path.name.clone(),
            follow: self.follow_link || path.follows(),
            owners: self.archive,
            ..of
        }
    }

    async fn to_stream(
        &self,
        client: &Client,
        stack: &str,
        of: Archive,
        path: &place::Within,
    ) -> Result<(), Error> {
        if io::stdout().is_terminal() {
            return Err(Error::usage(
                "a tar stream is nothing for a terminal",
                "pipe it into tar, e.g. `| tar -x -C DIR`",
            ));
        }
        let mut query = self.query(of, path);
        if path.contents {
            query.name = String::new();
        }
        let mut stream = client.fetch_archive(stack, &query).await?;
        stream.copy_to(&mut io::stdout()).await
    }

    async fn out(
        &self,
        client: &Client,
        stack: &str,
        of: Archive,
        from: &place::Within,
        to: &Path,
    ) -> Result<(), Error> {
        let to = place::absolute(to)?;
        let query = self.query(of, from);
        let stream = client.fetch_archive(stack, &query).await?;
        let order = Unpack {
            path: to.clone(),
            tree: true,
            name: Some(query.name.into()),
            contents: from.contents,
            // Nobody else may give files away.
            owners: self.archive && rustix::process::geteuid().is_root(),
            ..Unpack::default()
        };
        stream.unpack(order).await.map_err(|source| Error::File {
            doing: "cannot write",
            path: to,
            source,
        })
    }

    async fn put(
        &self,
        client: &Client,
        stack: &str,
        of: Archive,
        (from, spool): (&Place, Option<&File>),
        to: &place::Within,
    ) -> Result<(), Error> {
        let mut query = Archive {
            path: to.written.clone(),
            ..self.query(of, to)
        };
        let Place::Here(path) = from else {
            return client.send_stream(stack, &query, spool).await;
        };
        let contents = place::means_contents(&path.to_string_lossy());
        let path: PathBuf = place::absolute(path)?;
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        query.tree = true;
        query.contents = contents;
        let name = path.file_name().map_or_else(
            || "root".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let order = Pack {
            path,
            name,
            follow: self.follow_link || contents || slash,
            ..Pack::default()
        };
        client.send_archive(stack, &query, order).await
    }
}

/// Standard input, in a file without a name.
fn spool() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    file.rewind()?;
    Ok(file)
}
