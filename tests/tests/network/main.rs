//! The network as a service sees it, on real machines.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod daemon;
mod moves;
mod ports;
mod shared;
mod sockets;
mod stack;
mod user;

use stack_tests::Project;

/// A server that tells who asks: over HTTP at port 80, by UDP at port 5353.
const TELLS: &str = r#"
import http.server, socket, threading
class Teller(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.client_address[0].removeprefix("::ffff:") + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
def udp():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(("::", 5353))
    while True:
        data, peer = s.recvfrom(2048)
        s.sendto(data + b" from " + peer[0].removeprefix("::ffff:").encode(), peer)
threading.Thread(target=udp, daemon=True).start()
Server(("::", 80), Teller).serve_forever()
"#;

/// What a shell in a service prints; the command must work.
#[track_caller]
fn inside(project: &Project<'_>, service: &str, command: &str) -> String {
    let run = project.stack(&["exec", "-T", service, "sh", "-c", command]);
    run.ok().trim_end().to_owned()
}

/// The command fails in there.
#[track_caller]
fn fails_inside(project: &Project<'_>, service: &str, command: &str) {
    project
        .stack(&["exec", "-T", service, "sh", "-c", command])
        .fails();
}
