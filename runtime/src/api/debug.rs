//! `GET /v1/stacks/{name}/debug`

use axum::Json;
use axum::extract::{Path, State};
use stack_api::debug::{Debug, Probe};

use super::App;
use crate::container::console;

pub(super) async fn debug(State(app): State<App>, Path(name): Path<String>) -> Json<Vec<Debug>> {
    let handles = app.daemon.handles(Some(&name));
    let all = handles.iter().map(|handle| {
        let [console, vmm] = console::said(&app.daemon.paths, &handle.id);
        let probe = handle.probe.borrow().clone();
        let record = handle.record();
        Debug {
            container: record.container.name,
            definition: Some(Box::new(record.spec)),
            environment: record.blueprint.config.process.env,
            console,
            vmm,
            probe: probe.map(|probe| Probe {
                code: probe.code,
                output: probe.output,
            }),
        }
    });
    Json(all.collect())
}
