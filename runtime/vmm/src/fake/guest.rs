//! The guest of a made-up VM: speaks the agent's protocol, runs a script.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stack_protocol::config::{HealthCheck, VmConfig};
use stack_protocol::frame::{Decoder, Frame, Kind, MAX_CONFIGURE, Preamble};
use stack_protocol::log::{Record, Stream};
use stack_protocol::message::{
    Command, Event, Exit, FromGuest, Health, Outcome, ProcessInfo, Reply, Request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Far enough away to be never.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// The guest.
pub(super) struct Guest {
    alive: watch::Sender<bool>,
    boot_id: String,
    configured: bool,
    stubborn: bool,
    busy: bool,
    mute: bool,
    /// It was told to.
    ends: bool,
    exit: Option<Exit>,
    health: Health,
    check: Option<(bool, Duration)>,
    definition: Option<HealthCheck>,
    /// How far its clock is ahead.
    clock_ns: i64,
    output: Vec<Record>,
    /// When the service ends, and how.
    end: Option<(Instant, Exit)>,
}

impl Guest {
    pub(super) fn new(alive: watch::Sender<bool>) -> Guest {
        let mut bytes = [0u8; 8];
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        Guest {
            alive,
            boot_id: format!("fake-{:016x}", u64::from_le_bytes(bytes)),
            configured: false,
            stubborn: false,
            busy: false,
            mute: false,
            ends: false,
            exit: None,
            health: Health::None,
            check: None,
            definition: None,
            clock_ns: 0,
            output: Vec::new(),
            end: None,
        }
    }

    /// Answers one host after another, until the VM ends.
    pub(super) async fn serve(mut self, listener: UnixListener) {
        let mut life = self.alive.subscribe();
        let answering = async {
            while let Ok((stream, _)) = listener.accept().await {
                if let Err(error) = self.converse(stream).await {
                    tracing::debug!(%error, "conversation with a made-up guest ended");
                }
            }
        };
        tokio::select! {
            _ = life.wait_for(|alive| !alive) => {}
            () = answering => {}
        }
    }

    async fn converse(&mut self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut decoder = Decoder::with_limit(MAX_CONFIGURE);
        let mut buffer = vec![0; 64 << 10];
        let mut greeted = false;
        loop {
            let end = self
                .end
                .as_ref()
                .map_or(Instant::now() + NEVER, |(at, _)| *at);
            let probe = self.check.map_or(NEVER, |(_, interval)| interval);
            let mut out = Vec::new();
            tokio::select! {
                read = stream.read(&mut buffer) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    decoder.push(&buffer[..read]);
                    if !greeted {
                        let Some(nonce) = decoder.find_preamble() else { continue };
                        out.extend_from_slice(&Preamble::bytes(nonce));
                        greeted = true;
                    }
                    while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
                        if frame.kind == Kind::Control
                            && let Ok(request) = serde_json::from_slice::<Request>(&frame.payload)
                        {
                            self.answer(request, &mut out);
                        }
                    }
                }
                () = tokio::time::sleep_until(end) => self.finish(&mut out),
                () = tokio::time::sleep(probe) => self.probe(&mut out),
            }
            let written = stream.write_all(&out).await;
            if self.ends {
                self.alive.send_replace(false);
                return Ok(());
            }
            written?;
            if self.mute {
                return talk(&mut stream).await;
            }
        }
    }

    /// One, as long as the service runs.
    fn processes(&self) -> Vec<ProcessInfo> {
        let one = ProcessInfo {
            pid: 1,
            ppid: 0,
            user: "root".to_owned(),
            cpu_ms: 0,
            age_ms: 0,
            memory_bytes: 0,
            state: if self.busy { 'R' } else { 'S' },
            command: "made-up".to_owned(),
        };
        match self.configured && self.exit.is_none() {
            true => vec![one],
            false => Vec::new(),
        }
    }

    fn answer(&mut self, request: Request, out: &mut Vec<u8>) {
        let mut events = Vec::new();
        let hello = matches!(request.command, Command::Hello { .. });
        let outcome = match request.command {
            Command::Hello { log_sequence, .. } => {
                self.output.retain(|record| record.sequence > log_sequence);
                Outcome::Hello {
                    version: stack_protocol::VERSION,
                    boot_id: self.boot_id.clone(),
                    configured: self.configured,
                    exit: self.exit.clone(),
                    health: self.health,
                }
            }
            // It is set up for ever.
            Command::Configure(config) if config.process.args == ["deaf"] => return,
            Command::Configure(config) => match self.configure(&config) {
                Ok(()) => {
                    events.push(Event::Started { pid: 1 });
                    Outcome::Ok
                }
                Err(outcome) => outcome,
            },
            Command::Update(config) if self.exit.is_some() || !self.configured => {
                let message = format!("{} is not running", config.hostname);
                Outcome::Error { message, code: 128 }
            }
            Command::Update(config) if config.memory_limit == Some(1) => Outcome::Error {
                message: "the service uses more than that".to_owned(),
                code: 128,
            },
            Command::Update(config) => {
                if config.healthcheck != self.definition {
                    self.check(&config);
                    // Before the reply, as the real one does it.
                    say(out, &FromGuest::Event(self.health_event(0, "")));
                }
                Outcome::Ok
            }
            Command::Stop { grace_ms, .. } => {
                let after = if self.stubborn { grace_ms } else { 0 };
                self.end_after(
                    Duration::from_millis(after),
                    if self.stubborn { 137 } else { 143 },
                );
                Outcome::Ok
            }
            Command::Signal { session: 0, signal } => {
                self.end_after(Duration::ZERO, 128 + signal);
                Outcome::Ok
            }
            Command::Shutdown => {
                self.ends = true;
                Outcome::Ok
            }
            Command::Stats => Outcome::Stats(Box::default()),
            Command::Processes => Outcome::Processes {
                list: self.processes(),
            },
            Command::Exec { .. } => Outcome::Error {
                message: "a made-up VM runs no programs".to_owned(),
                code: 126,
            },
            Command::Clock { move_ns } => {
                self.clock_ns += move_ns;
                let time_ns = now_ns() + self.clock_ns;
                Outcome::Clock { time_ns }
            }
            Command::LogAck { .. }
            | Command::Resize { .. }
            | Command::Signal { .. }
            | Command::Freeze { .. } => Outcome::Ok,
        };
        say(
            out,
            &FromGuest::Reply(Reply {
                id: request.id,
                outcome,
            }),
        );
        for event in events {
            say(out, &FromGuest::Event(event));
        }
        for record in std::mem::take(&mut self.output) {
            log(&record).encode(out);
        }
        if hello && let Some(exit) = &self.exit {
            say(out, &FromGuest::Event(Event::Exited(exit.clone())));
        }
    }

    fn configure(&mut self, config: &VmConfig) -> Result<(), Outcome> {
        self.configured = true;
        let args: Vec<&str> = config.process.args.iter().map(String::as_str).collect();
        let number = |n: usize| {
            args.get(n)
                .and_then(|text| text.parse::<u64>().ok())
                .unwrap_or(0)
        };
        match args.first().copied().unwrap_or_default() {
            "exit" => self.end_after(Duration::ZERO, number(1) as i32),
            "busy" => {
                self.busy = true;
                self.end_after(Duration::from_millis(number(1)), number(2) as i32);
            }
            "run" => self.end_after(Duration::from_millis(number(1)), number(2) as i32),
            "missing" => {
                let message = "exec: \"missing\": executable file not found in $PATH".to_owned();
                return Err(Outcome::Error { message, code: 127 });
            }
            "mute" => self.mute = true,
            "say" => {
                self.output = args[1..]
                    .iter()
                    .enumerate()
                    .map(|(n, line)| record(n, line))
                    .collect()
            }
            first => self.stubborn = first == "stubborn",
        }
        self.check(config);
        Ok(())
    }

    fn check(&mut self, config: &VmConfig) {
        self.definition.clone_from(&config.healthcheck);
        self.check = config.healthcheck.as_ref().map(|check| {
            let passes = check.test.last().is_none_or(|word| word != "false");
            (passes, Duration::from_millis(check.interval_ms.max(1)))
        });
        self.health = if self.check.is_some() {
            Health::Starting
        } else {
            Health::None
        };
    }

    fn health_event(&self, code: i32, output: &str) -> Event {
        Event::Health {
            health: self.health,
            failing_streak: u32::from(code != 0),
            code,
            output: output.to_owned(),
        }
    }

    fn end_after(&mut self, delay: Duration, code: i32) {
        let signal = (code > 128).then_some(code - 128);
        let exit = Exit {
            code,
            signal,
            ..Exit::default()
        };
        self.end = Some((Instant::now() + delay, exit));
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some((_, exit)) = self.end.take() {
            self.check = None;
            self.exit = Some(exit.clone());
            say(out, &FromGuest::Event(Event::Exited(exit)));
        }
    }

    fn probe(&mut self, out: &mut Vec<u8>) {
        let Some((passes, _)) = self.check.take() else {
            return;
        };
        self.health = if passes {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        let (code, output) = if passes {
            (0, "")
        } else {
            (1, "made-up failure")
        };
        say(out, &FromGuest::Event(self.health_event(code, output)));
    }
}

/// Writes, and reads nothing.
async fn talk(stream: &mut UnixStream) -> std::io::Result<()> {
    for n in 0.. {
        let line = log(&record(n, "and another thing"));
        stream.write_all(&line.to_bytes()).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn log(record: &Record) -> Frame {
    Frame {
        kind: Kind::Log,
        channel: 0,
        payload: record.encode(),
    }
}

fn say(out: &mut Vec<u8>, message: &FromGuest) {
    Frame::control(message).encode(out);
}

fn now_ns() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_nanos() as i64
}

fn record(n: usize, line: &str) -> Record {
    Record {
        sequence: n as u64 + 1,
        time_ns: now_ns() as u64,
        stream: Stream::Stdout,
        partial: false,
        data: line.as_bytes().to_vec(),
    }
}
