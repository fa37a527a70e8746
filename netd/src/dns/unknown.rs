//! Questions of a type or class that the parser does not know: there are more
//! of them each year (IANA, "Domain Name System (DNS) Parameters"), and to us
//! all are the same.

use simple_dns::{CLASS, QCLASS, QTYPE, TYPE};

use super::question_end;

/// A query whose question has been made one that can be parsed, and that no
/// record answers.
pub(super) struct Unknown {
    /// It, with that question.
    pub(super) readable: Vec<u8>,
    at: usize,
    asked: [u8; 4],
}

impl Unknown {
    /// `None` if the question can be parsed as it is, or not at all.
    pub(super) fn in_question(query: &[u8]) -> Option<Unknown> {
        let at = question_end(query)? - 4;
        let asked: [u8; 4] = query.get(at..at + 4)?.try_into().ok()?;
        let [kind, class] = [[asked[0], asked[1]], [asked[2], asked[3]]].map(u16::from_be_bytes);
        let kind_is_known = QTYPE::try_from(kind).is_ok();
        let class_is_known = QCLASS::try_from(class).is_ok();
        if kind_is_known && class_is_known {
            return None;
        }
        let mut readable = query.to_vec();
        if !kind_is_known {
            readable[at..at + 2].copy_from_slice(&u16::from(TYPE::NULL).to_be_bytes());
        }
        if !class_is_known {
            readable[at + 2..at + 4].copy_from_slice(&(CLASS::NONE as u16).to_be_bytes());
        }
        Some(Unknown {
            readable,
            at,
            asked,
        })
    }

    /// Says in a reply to it what was asked.
    pub(super) fn restore(&self, reply: &mut [u8]) {
        if let Some(question) = reply.get_mut(self.at..self.at + 4) {
            question.copy_from_slice(&self.asked);
        }
    }
}
