//! Clients and servers that load a network, for benchmarks and soak tests.
//!
//! usage: load serve ADDRESS PORT          PORT discards, +1 sends, +2 echoes,
//!                                         +3 echoes one byte and closes
//!        load send ADDRESS:PORT SECONDS   to a port that discards
//!        load fetch ADDRESS:PORT SECONDS  from a port that sends
//!        load ask ADDRESS:PORT SECONDS    one byte there and back, again and again
//!        load connect ADDRESS:PORT SECONDS  the same with a connection for each
//!        load names ADDRESS:PORT SECONDS NAME OUTSTANDING [RATE]
//!        load lookups ADDRESS:PORT SECONDS NAME RATE   each from a new port
//!        load hold ADDRESS:PORT COUNT SECONDS  idle connections to a port that echoes
//!        load stall ADDRESS:PORT SECONDS  reads nothing that long, then 64 MiB
//!        load copy ADDRESS:PORT BYTES     sends BYTES to a port that echoes,
//!                                         and compares what comes back
//!
//! Prints one line of JSON. Latencies are in microseconds.
#![allow(
    clippy::disallowed_methods,
    reason = "the clock is what it measures with"
)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<f64>().map_err(io::Error::other);
    let line = match args[..] {
        ["serve", address, port] => return serve(address, number(port)? as u16),
        ["send", to, seconds] => send(to, number(seconds)?)?,
        ["fetch", from, seconds] => fetch(from, number(seconds)?)?,
        ["ask", to, seconds] => ask(to, number(seconds)?)?,
        ["connect", to, seconds] => connect(to, number(seconds)?)?,
        ["lookups", to, seconds, name, rate] => lookups(to, number(seconds)?, name, number(rate)?)?,
        ["hold", to, count, seconds] => hold(to, number(count)? as usize, number(seconds)?)?,
        ["stall", from, seconds] => stall(from, number(seconds)?)?,
        ["copy", to, bytes] => copy(to, number(bytes)? as u64)?,
        ["names", to, seconds, name, outstanding, ref rate @ ..] => {
            let outstanding = number(outstanding)? as usize;
            let rate = rate.first().map(|rate| number(rate)).transpose()?;
            names(to, number(seconds)?, name, outstanding, rate)?
        }
        _ => return Err(io::Error::other("see the top of the source for the usage")),
    };
    println!("{line}");
    Ok(())
}

fn serve(address: &str, port: u16) -> io::Result<()> {
    let roles: [fn(TcpStream) -> io::Result<()>; 3] = [discard, generate, echo];
    for (n, role) in roles.into_iter().enumerate() {
        let listener = TcpListener::bind((address, port + n as u16))?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || role(stream));
            }
        });
    }
    let listener = TcpListener::bind((address, port + 3))?;
    println!("ready");
    io::stdout().flush()?;
    let mut byte = [0];
    for mut stream in listener.incoming().flatten() {
        if stream.read(&mut byte)? == 1 {
            let _ = stream.write_all(&byte);
        }
    }
    Ok(())
}

/// Reads to the end, then says how many bytes came.
fn discard(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = buffer();
    let mut total = 0u64;
    loop {
        match stream.read(&mut buffer[64..])? {
            0 => break,
            n => total += n as u64,
        }
    }
    stream.write_all(&total.to_be_bytes())
}

fn generate(mut stream: TcpStream) -> io::Result<()> {
    let buffer = buffer();
    loop {
        stream.write_all(&buffer[64..])?;
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = buffer();
    loop {
        match stream.read(&mut buffer[64..])? {
            0 => return stream.shutdown(Shutdown::Write),
            n => stream.write_all(&buffer[64..64 + n])?,
        }
    }
}

/// Not at the start of a page, where copies are slow on some processors.
fn buffer() -> Vec<u8> {
    vec![7; 64 + (128 << 10)]
}

fn send(to: &str, seconds: f64) -> io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    let buffer = buffer();
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        stream.write_all(&buffer[64..])?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    Ok(bulk(u64::from_be_bytes(total), start.elapsed()))
}

fn fetch(from: &str, seconds: f64) -> io::Result<String> {
    let mut stream = TcpStream::connect(from)?;
    let mut buffer = buffer();
    let start = Instant::now();
    let mut total = 0;
    while start.elapsed().as_secs_f64() < seconds {
        match stream.read(&mut buffer[64..])? {
            0 => break,
            n => total += n as u64,
        }
    }
    Ok(bulk(total, start.elapsed()))
}

fn bulk(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = bytes as f64 * 8e-9 / seconds;
    format!("{{\"bytes\": {bytes}, \"seconds\": {seconds:.3}, \"gbit\": {rate:.4}}}")
}

fn ask(to: &str, seconds: f64) -> io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    let mut byte = [1];
    while start.elapsed().as_secs_f64() < seconds {
        let asked = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        times.push(asked.elapsed());
    }
    Ok(latencies(times, start.elapsed(), 0))
}

fn connect(to: &str, seconds: f64) -> io::Result<String> {
    let (start, mut times) = (Instant::now(), Vec::new());
    let mut byte = [1];
    while start.elapsed().as_secs_f64() < seconds {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        drop(stream);
        times.push(asked.elapsed());
    }
    Ok(latencies(times, start.elapsed(), 0))
}

fn latencies(mut times: Vec<Duration>, total: Duration, lost: usize) -> String {
    times.sort();
    let at = |part: f64| {
        let n = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
        times.get(n).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    format!(
        "{{\"count\": {}, \"rate\": {:.1}, \"p50\": {:.1}, \"p99\": {:.1}, \"lost\": {lost}}}",
        times.len(),
        times.len() as f64 / total.as_secs_f64(),
        at(0.5),
        at(0.99),
    )
}

/// Asks for the address of `name`, with so many queries under way, or so many
/// a second.
fn names(
    to: &str,
    seconds: f64,
    name: &str,
    outstanding: usize,
    rate: Option<f64>,
) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    let mut query = question(name);
    let gap = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let mut asked: Vec<Option<Instant>> = vec![None; 1 << 16];
    let (mut next, mut under_way, mut lost) = (0u16, 0, 0);
    let (start, mut times, mut answer) = (Instant::now(), Vec::new(), [0; 4096]);
    let mut due = start;
    while start.elapsed().as_secs_f64() < seconds {
        while under_way < outstanding && gap.is_none_or(|_| Instant::now() >= due) {
            query[..2].copy_from_slice(&next.to_be_bytes());
            asked[usize::from(next)] = Some(Instant::now());
            socket.send(&query)?;
            (next, under_way) = (next.wrapping_add(1), under_way + 1);
            due += gap.unwrap_or_default();
        }
        let patience = match gap {
            Some(_) => due.saturating_duration_since(Instant::now()),
            None => Duration::from_millis(200),
        };
        socket.set_read_timeout(Some(patience.max(Duration::from_micros(1))))?;
        match socket.recv(&mut answer) {
            Ok(length) if length > 12 && answer[3] & 15 == 0 && answer[7] > 0 => {
                let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
                if let Some(at) = asked[id].take() {
                    times.push(at.elapsed());
                    under_way -= 1;
                }
            }
            Ok(_) => return Err(io::Error::other("the name is not known")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if gap.is_none() {
                    (lost, under_way) = (lost + under_way, 0);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(latencies(times, start.elapsed(), lost))
}

/// A query for the IPv4 addresses of `name`.
fn question(name: &str) -> Vec<u8> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

fn lookups(to: &str, seconds: f64, name: &str, rate: f64) -> io::Result<String> {
    let (query, gap) = (question(name), Duration::from_secs_f64(1.0 / rate));
    let (start, mut times, mut lost) = (Instant::now(), Vec::new(), 0);
    let mut answer = [0; 4096];
    while start.elapsed().as_secs_f64() < seconds {
        let asked = Instant::now();
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send(&query)?;
        match socket.recv(&mut answer) {
            Ok(length) if length > 12 && answer[7] > 0 => times.push(asked.elapsed()),
            _ => lost += 1,
        }
        std::thread::sleep(gap.saturating_sub(asked.elapsed()));
    }
    Ok(latencies(times, start.elapsed(), lost))
}

/// Opens connections, uses each once, and again after a while.
fn hold(to: &str, count: usize, seconds: f64) -> io::Result<String> {
    let mut byte = [1];
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        streams.push(stream);
    }
    std::thread::sleep(Duration::from_secs_f64(seconds));
    for stream in &mut streams {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
    }
    Ok(format!("{{\"held\": {}}}", streams.len()))
}

/// Lets the sender wait, then reads.
fn stall(from: &str, seconds: f64) -> io::Result<String> {
    let mut stream = TcpStream::connect(from)?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (start, mut total, mut buffer) = (Instant::now(), 0, buffer());
    while total < 64 << 20 {
        match stream.read(&mut buffer[64..])? {
            0 => break,
            n => total += n as u64,
        }
    }
    Ok(bulk(total, start.elapsed()))
}

/// Bytes in which every shift, loss and repetition shows.
fn fill(buffer: &mut [u8], state: &mut u64) {
    for word in buffer.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_ne_bytes()[..word.len()]);
    }
}

fn copy(to: &str, bytes: u64) -> io::Result<String> {
    const PIECE: u64 = 64 << 10;
    const SEED: u64 = 0x2545_f491_4f6c_dd1d;
    let mut stream = TcpStream::connect(to)?;
    let mut sending = stream.try_clone()?;
    let start = Instant::now();
    let sender = std::thread::spawn(move || -> io::Result<()> {
        let (mut piece, mut state, mut left) = (vec![0; PIECE as usize], SEED, bytes);
        while left > 0 {
            fill(&mut piece, &mut state);
            let now = left.min(PIECE);
            sending.write_all(&piece[..now as usize])?;
            left -= now;
        }
        sending.shutdown(Shutdown::Write)
    });
    let (mut got, mut expected) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let (mut state, mut left) = (SEED, bytes);
    while left > 0 {
        let now = left.min(PIECE) as usize;
        stream.read_exact(&mut got[..now])?;
        fill(&mut expected, &mut state);
        if got[..now] != expected[..now] {
            return Err(io::Error::other(format!(
                "other bytes came back, {} before the end",
                left
            )));
        }
        left -= now as u64;
    }
    if stream.read(&mut got)? != 0 {
        return Err(io::Error::other("more came back than was sent"));
    }
    sender.join().expect("the sender does not panic")?;
    Ok(bulk(bytes, start.elapsed()))
}
