//! Two connections that talk to each other over a link that loses segments,
//! on a clock that jumps from deadline to deadline.
#![expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64 << 10;

type Wire = Vec<(Header, Vec<u8>)>;

/// A client, a server, what they still have to say, and what they heard.
struct Pair {
    ends: [Connection; 2],
    say: [Vec<u8>; 2],
    heard: [Vec<u8>; 2],
    reading: [bool; 2],
    now: Instant,
    // One in so many segments is lost; 0 is none.
    loss: u64,
    random: u64,
    segments: usize,
}

impl Pair {
    fn new(say: [Vec<u8>; 2], loss: u64, seed: u64) -> Pair {
        let now = Instant::now();
        let mut client = Connection::asking(Seq(u32::MAX - 1000), LIMIT, now);
        let syn = client.pop(Some(0), now).unwrap().0;
        let mut server = Connection::asked(&syn, Seq(u32::MAX - 20), LIMIT, now);
        server.accept(now);
        Pair {
            ends: [client, server],
            say,
            heard: [vec![], vec![]],
            reading: [true; 2],
            now,
            loss,
            random: seed | 1,
            segments: 0,
        }
    }

    fn lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.loss > 0 && self.random.is_multiple_of(self.loss)
    }

    fn application(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let n = end.room().min(self.say[side].len());
        let rest = self.say[side].split_off(n);
        end.supply(&self.say[side]);
        self.say[side] = rest;
        if self.say[side].is_empty() && end.is_open() {
            end.finish();
        }
        if self.reading[side] {
            let n = end.readable().len();
            self.heard[side].extend_from_slice(end.readable());
            end.consume(n);
        }
    }

    /// What is to be passed on is, but for a few bytes.
    fn handle(&mut self, side: usize, header: &Header, payload: &[u8]) {
        let passed = self.ends[side].handle(header, payload, self.now);
        let (gone, kept) = payload[payload.len() - passed..].split_at(passed.saturating_sub(100));
        self.heard[side].extend_from_slice(gone);
        self.ends[side].keep(kept);
    }

    fn send(&mut self, side: usize) -> Wire {
        let mut wire = Wire::new();
        while let Some((header, piece)) = self.ends[side].pop(Some(0), self.now) {
            wire.push((header, self.ends[side].bytes(&piece).concat()));
        }
        self.segments += wire.len();
        assert!(self.segments < 1_000_000, "they talk without end");
        wire.retain(|_| !self.lost());
        wire
    }

    /// Runs until nothing is said any more, then to the next deadline, and so
    /// on, at most for `limit`.
    fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        loop {
            let mut quiet = true;
            for side in [0, 1] {
                self.application(side);
                for (header, payload) in self.send(side) {
                    quiet = false;
                    self.handle(1 - side, &header, &payload);
                    self.application(1 - side);
                }
            }
            self.now += Duration::from_micros(50);
            if !quiet {
                continue;
            }
            let next = self.ends.iter().filter_map(Connection::deadline).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => return,
            }
            let now = self.now;
            self.ends.iter_mut().for_each(|end| end.timeout(now));
        }
    }
}

fn bytes(n: usize, salt: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * 31 + salt) % 251) as u8).collect()
}

#[test]
fn both_directions_arrive_and_both_ends_close() {
    let say = [bytes(1_000_000, 1), bytes(300_000, 2)];
    let mut pair = Pair::new(say.clone(), 0, 1);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.heard[1], say[0]);
    assert_eq!(pair.heard[0], say[1]);
    assert!(
        pair.ends
            .iter()
            .all(|end| end.closed() == Some(Close::Done)),
        "{:?}",
        pair.ends
    );
}

#[test]
fn one_direction_goes_on_after_the_other_has_ended() {
    let say = [vec![], bytes(500_000, 3)];
    let mut pair = Pair::new(say.clone(), 0, 1);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.heard[0], say[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn losses_delay_but_lose_nothing(
        a in 0usize..400_000, b in 0usize..400_000, loss in 5u64..60, seed: u64,
    ) {
        let say = [bytes(a, 1), bytes(b, 2)];
        let mut pair = Pair::new(say.clone(), loss, seed);
        pair.run(Duration::from_secs(600));
        prop_assert!(pair.heard[1] == say[0], "{} of {a}", pair.heard[1].len());
        prop_assert!(pair.heard[0] == say[1], "{} of {b}", pair.heard[0].len());
    }

    #[test]
    fn any_segment_is_survived(
        segments in prop::collection::vec(
            (any::<[u32; 2]>(), any::<u8>(), any::<u16>(), any::<Option<u16>>(), any::<bool>(), 0usize..2000),
            0..40,
        ),
        active: bool,
    ) {
        let now = Instant::now();
        let syn = Header { syn: true, mss: Some(0), scale: Some(14), ..Header::default() };
        let mut end = if active {
            Connection::asking(Seq(7), LIMIT, now)
        } else {
            Connection::asked(&syn, Seq(7), LIMIT, now)
        };
        end.accept(now);
        end.supply(&bytes(100_000, 1));
        for ([seq, ack], flags, window, mss, near, length) in segments {
            let near = |n: u32, base: u32| if near { base.wrapping_add(n % 3000) } else { n };
            let header = Header {
                seq: Seq(near(seq, 0)),
                ack: (flags & 1 == 0).then(|| Seq(near(ack, 8))),
                syn: flags & 14 == 2,
                fin: flags & 48 == 16,
                rst: flags & 240 == 240,
                psh: false,
                window,
                mss,
                scale: None,
            };
            end.handle(&header, &vec![0; length], now);
            for _ in 0..2000 {
                if end.pop(Some(0), now).is_none() { break }
            }
            prop_assert!(end.pop(Some(0), now).is_none());
            prop_assert!(end.readable().len() <= LIMIT);
        }
    }
}

#[test]
fn a_reader_that_pauses_stops_the_sender_and_wakes_it() {
    let say = [bytes(1_000_000, 1), vec![]];
    let mut pair = Pair::new(say.clone(), 0, 1);
    pair.reading[1] = false;
    pair.run(Duration::from_secs(30));
    assert!(pair.ends[1].readable().len() <= LIMIT);
    assert!(
        pair.segments < 300,
        "{} segments for one full window",
        pair.segments
    );
    pair.reading[1] = true;
    // The update may be lost: the probe must find the open window.
    pair.application(1);
    let update = pair.send(1);
    assert!(!update.is_empty());
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.heard[1], say[0]);
}

/// What ends the handshake of a guest and us that both begin with 0.
fn first_ack() -> Header {
    Header {
        seq: Seq(1),
        ack: Some(Seq(1)),
        window: 60_000,
        ..Header::default()
    }
}

#[test]
fn a_lost_segment_is_repeated_long_before_the_timer() {
    let now = Instant::now();
    // Small segments, so that there are several.
    let syn = Header {
        syn: true,
        mss: Some(1000),
        ..Header::default()
    };
    let mut sender = Connection::asked(&syn, Seq(0), LIMIT, now);
    sender.accept(now);
    sender.pop(Some(0), now).unwrap();
    let ack = first_ack();
    sender.handle(&ack, &[], now);
    sender.supply(&bytes(5000, 1));
    while sender.pop(Some(0), now).is_some() {}
    sender.handle(&ack, &[], now);
    assert!(sender.pop(Some(0), now).is_none());
    sender.handle(&ack, &[], now);
    let (header, piece) = sender.pop(Some(0), now).unwrap();
    assert_eq!((header.seq, piece.len()), (Seq(1), 1000));
    assert!(sender.pop(Some(0), now).is_none());
}

#[test]
fn a_silent_guest_is_asked_for_some_seconds_and_then_given_up() {
    let start = Instant::now();
    let mut end = Connection::asking(Seq(0), LIMIT, start);
    let mut asked = usize::from(end.pop(Some(0), start).unwrap().0.syn);
    while let Some(deadline) = end.deadline() {
        end.timeout(deadline);
        while let Some((header, _)) = end.pop(Some(0), deadline) {
            asked += usize::from(header.syn);
        }
        assert!(deadline < start + Duration::from_secs(15));
    }
    assert_eq!(end.closed(), Some(Close::TimedOut));
    assert!((5..20).contains(&asked), "{asked}");
}

#[test]
fn silence_counts_from_what_is_not_answered() {
    let start = Instant::now();
    let mut end = Connection::asked(
        &Header {
            syn: true,
            ..Header::default()
        },
        Seq(0),
        LIMIT,
        start,
    );
    end.accept(start);
    end.pop(Some(0), start).unwrap();
    let ack = first_ack();
    end.handle(&ack, &[], start);
    // Both are silent for longer than an answer may take.
    let late = start + Duration::from_secs(1200);
    end.supply(b"x");
    end.pop(Some(0), late).unwrap();
    let lost = end.deadline().unwrap();
    end.timeout(lost);
    assert_eq!(end.closed(), None);
    assert!(end.pop(Some(0), lost).is_some(), "it is sent again");
    while let Some(deadline) = end.deadline() {
        end.timeout(deadline);
        while end.pop(Some(0), deadline).is_some() {}
        let waited = deadline - late;
        assert_eq!(
            end.closed().is_some(),
            waited >= Duration::from_secs(900),
            "{waited:?}"
        );
    }
    assert_eq!(end.closed(), Some(Close::TimedOut));
}

#[test]
fn refusals_answer_what_was_asked() {
    let syn = Header {
        seq: Seq(9),
        syn: true,
        ..Header::default()
    };
    let refusal = syn.refusal(0).unwrap();
    assert_eq!((refusal.ack, refusal.rst), (Some(Seq(10)), true));
    assert_eq!(refusal.refusal(0), None);
    let now = Instant::now();
    let mut end = Connection::asked(&syn, Seq(0), LIMIT, now);
    end.abort(now);
    assert_eq!(end.pop(Some(0), now).unwrap().0.ack, Some(Seq(10)));
    assert_eq!(end.closed(), Some(Close::Aborted));
}

#[test]
fn a_guest_that_refuses_closes_at_once() {
    let now = Instant::now();
    let mut end = Connection::asking(Seq(5), LIMIT, now);
    let syn = end.pop(Some(0), now).unwrap().0;
    end.handle(
        &Header {
            rst: true,
            ack: Some(Seq(99)),
            ..Header::default()
        },
        &[],
        now,
    );
    assert_eq!(end.closed(), None, "a reset that answers something else");
    end.handle(&syn.refusal(0).unwrap(), &[], now);
    assert_eq!(end.closed(), Some(Close::Reset));
}

#[test]
fn an_old_connection_of_the_guest_gives_way_to_a_new_one() {
    let now = Instant::now();
    let mut end = Connection::asking(Seq(5), LIMIT, now);
    end.pop(Some(0), now).unwrap();
    let old = Header {
        seq: Seq(70),
        ack: Some(Seq(9000)),
        ..Header::default()
    };
    end.handle(&old, &[], now);
    let (reset, _) = end.pop(Some(0), now).unwrap();
    assert_eq!((reset.rst, reset.seq), (true, Seq(9000)));
    let soon = end.deadline().unwrap();
    end.timeout(soon);
    assert!(end.pop(Some(0), soon).unwrap().0.syn);
    assert_eq!(end.closed(), None);
}
