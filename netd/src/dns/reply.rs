//! Replies of our own.

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Packet, PacketFlag, Question, RCODE, ResourceRecord};

/// Seconds that an answer may be kept: addresses change when a container is
/// created again.
const TTL: u32 = 2;

/// Largest answer by UDP, whatever the client says.
const MAX_UDP: usize = 4096;

/// The reply to `query`, whose question is `question`: the records that were
/// found, or why there are none; cut to what the client takes by UDP.
pub(super) fn reply(
    query: &Packet<'_>,
    question: &Question<'_>,
    found: Result<Vec<RData<'static>>, RCODE>,
    udp: bool,
) -> Option<Vec<u8>> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.push(question.clone());
    let mut limit = usize::from(u16::MAX);
    if udp {
        limit = query
            .opt()
            .map_or(512, |opt| usize::from(opt.udp_packet_size))
            .clamp(512, MAX_UDP);
    }
    if query.opt().is_some() {
        let size = MAX_UDP as u16;
        *reply.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size: size,
            version: 0,
        });
    }
    match found {
        Ok(records) => {
            for record in records {
                let name = question.qname.clone();
                reply
                    .answers
                    .push(ResourceRecord::new(name, CLASS::IN, TTL, record));
            }
        }
        Err(code) => *reply.rcode_mut() = code,
    }
    let whole = reply.build_bytes_vec_compressed().ok()?;
    if whole.len() <= limit {
        return Some(whole);
    }
    reply.set_flags(PacketFlag::TRUNCATION);
    let mut over = whole.len() - limit;
    while over > 0
        && let Some(record) = reply.answers.pop()
    {
        over = over.saturating_sub(size(&record.rdata));
    }
    let part = reply.build_bytes_vec_compressed().ok()?;
    if part.len() <= limit {
        return Some(part);
    }
    reply.answers.clear();
    reply.build_bytes_vec_compressed().ok()
}

/// Bytes that a record takes at least, its name being compressed to two.
fn size(record: &RData<'_>) -> usize {
    12 + match record {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        _ => 2,
    }
}
