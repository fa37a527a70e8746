//! `GET /v1/stacks/{name}/debug`

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use axum::Json;
use axum::extract::{Path as UrlPath, State};
use stack_api::debug::{Debug, Probe};

use super::App;

/// Bytes of each file at most.
const TAIL: u64 = 64 << 10;

pub(super) async fn debug(
    State(app): State<App>,
    UrlPath(name): UrlPath<String>,
) -> Json<Vec<Debug>> {
    let handles = app.daemon.handles(Some(&name));
    let all = handles.iter().map(|handle| {
        let dir = app.daemon.paths.vm(&handle.id);
        let probe = handle.probe.borrow().clone();
        let record = handle.record();
        Debug {
            container: record.container.name,
            definition: Some(Box::new(record.spec)),
            environment: record.blueprint.config.process.env,
            console: end_of(&dir.join("console.log")),
            vmm: end_of(&dir.join("qemu.log")),
            probe: probe.map(|probe| Probe {
                code: probe.code,
                output: probe.output,
            }),
        }
    });
    Json(all.collect())
}

fn end_of(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let size = file.metadata().map_or(0, |meta| meta.len());
        let _ = file
            .seek(SeekFrom::Start(size.saturating_sub(TAIL)))
            .and_then(|_| file.take(TAIL).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
