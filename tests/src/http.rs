//! Requests to services, and to the daemon.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ureq::Agent;

fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(20)))
        .http_status_as_error(false)
        .proxy(None)
        .build();
    config.new_agent()
}

/// Status and body of `GET url`.
///
/// # Panics
/// There is no answer.
#[track_caller]
pub fn get(url: &str) -> (u16, String) {
    try_get(url).unwrap_or_else(|error| panic!("GET {url}: {error}"))
}

/// Status and body of `GET url`.
///
/// # Errors
/// There is no answer, in words.
pub fn try_get(url: &str) -> Result<(u16, String), String> {
    let mut answer = agent().get(url).call().map_err(|error| error.to_string())?;
    let body = answer
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), body))
}

/// Status and body of a posted form.
///
/// # Panics
/// There is no answer.
#[track_caller]
pub fn post_form(url: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let mut answer = agent()
        .post(url)
        .send_form(fields.iter().copied())
        .unwrap_or_else(|error| panic!("POST {url}: {error}"));
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    (answer.status().as_u16(), body)
}

/// `POST /v1/shutdown` to a daemon; silent when there is none.
pub(crate) fn shut_down(socket: &Path) {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let request = b"POST /v1/shutdown HTTP/1.1\r\nHost: stack\r\nContent-Length: 0\r\n\r\n";
    let _ = stream.write_all(request);
    let _ = stream.read(&mut [0; 256]);
}
