//! RTCP (RFC 3550 section 6): sender and receiver reports with a CNAME out, the same in, everything else skipped.
//!
//! Every length is checked before a field is read, and a compound packet is walked a bounded number of steps.

use crate::sequence::Reception;

/// More packets than this in one datagram are not looked at.
const MAX_COMPOUND: usize = 32;
/// The longest datagram built here.
pub(crate) const MAX_REPORT: usize = 128;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;

/// What a sender says about itself (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// Seconds and fraction since 1900 or any other start.
    pub(crate) ntp: u64,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// One reception report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    pub(crate) fraction_lost: u8,
    pub(crate) lost: u32,
    pub(crate) highest: u32,
    /// Ticks.
    pub(crate) jitter: u32,
    /// The middle of the NTP time of the last sender report, 0 if none.
    pub(crate) last_report: u32,
    /// 1/65536 s since then.
    pub(crate) delay: u32,
}

impl Block {
    /// Builds a block of what was received.
    pub(crate) fn new(reception: Reception, jitter: u32, last_report: u32, delay: u32) -> Self {
        let Reception {
            ssrc,
            fraction_lost,
            lost,
            highest,
        } = reception;
        Self {
            ssrc,
            fraction_lost,
            lost,
            highest,
            jitter,
            last_report,
            delay,
        }
    }

    /// The fraction lost, rounded up.
    pub(crate) fn lost_percent(&self) -> u8 {
        let percent = (u32::from(self.fraction_lost) * 100).div_ceil(256);
        u8::try_from(percent).unwrap_or(100)
    }
}

/// One thing found in a compound packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// A sender's own account.
    Sender { ssrc: u32, info: SenderInfo },
    /// What it hears of somebody.
    Reception(Block),
    /// A source leaves.
    Goodbye { ssrc: u32 },
}

/// Writes a sender report (with `info`) or a receiver report, and the CNAME.
pub(crate) fn write_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    info: Option<SenderInfo>,
    block: Option<Block>,
    cname: &str,
) {
    let count = u8::from(block.is_some());
    let words = 1 + if info.is_some() { 5 } else { 0 } + u16::from(count) * 6;
    let kind = if info.is_some() {
        SENDER_REPORT
    } else {
        RECEIVER_REPORT
    };
    write_header(out, count, kind, words);
    out.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(info) = info {
        out.extend_from_slice(&info.ntp.to_be_bytes());
        for word in [info.timestamp, info.packets, info.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    if let Some(block) = block {
        let lost = u32::from(block.fraction_lost) << 24 | block.lost & 0xff_ffff;
        for word in [
            block.ssrc,
            lost,
            block.highest,
            block.jitter,
            block.last_report,
            block.delay,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    write_cname(out, ssrc, cname);
}

/// Writes a BYE behind an empty receiver report (RFC 3550 section 6.6).
pub(crate) fn write_goodbye(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    write_report(out, ssrc, None, None, cname);
    write_header(out, 1, GOODBYE, 1);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

fn write_header(out: &mut Vec<u8>, count: u8, kind: u8, words: u16) {
    let [high, low] = words.to_be_bytes();
    out.extend_from_slice(&[0x80 | count & 0x1f, kind, high, low]);
}

fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let name = cname
        .as_bytes()
        .get(..cname.len().min(32))
        .unwrap_or_default();
    // SSRC, item type, length, text, at least one terminating zero, to a full word (RFC 3550 s.6.5).
    let words = 1 + (2 + name.len() + 1).div_ceil(4);
    write_header(
        out,
        1,
        SOURCE_DESCRIPTION,
        u16::try_from(words).unwrap_or(0),
    );
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, u8::try_from(name.len()).unwrap_or(0)]);
    out.extend_from_slice(name);
    let filled = 2 + name.len();
    out.resize(out.len() + (words - 1) * 4 - filled, 0);
}

/// Returns how much of our stream `ssrc` a compound packet says was lost, percent, rounded up; nothing when it says nothing of it.
pub fn lost_percent(data: &[u8], ssrc: u32) -> Option<u8> {
    reports(data)
        .filter_map(|report| match report {
            Report::Reception(block) if block.ssrc == ssrc => Some(block.lost_percent()),
            Report::Reception(_) | Report::Sender { .. } | Report::Goodbye { .. } => None,
        })
        .max()
}

/// Walks a compound packet; stops at the first length that lies.
pub(crate) fn reports(data: &[u8]) -> impl Iterator<Item = Report> + '_ {
    packets(data)
        .take(MAX_COMPOUND)
        .flat_map(|packet| Contents { packet, at: 0 })
}

#[derive(Debug, Clone, Copy)]
struct Packet<'a> {
    count: u8,
    kind: u8,
    body: &'a [u8],
}

fn packets(mut rest: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let (&[b0, kind, high, low], after) = rest.split_first_chunk::<4>()?;
        let body = after
            .get(..usize::from(u16::from_be_bytes([high, low])) * 4)
            .filter(|_| b0 >> 6 == 2)?;
        rest = after.get(body.len()..)?;
        Some(Packet {
            count: b0 & 0x1f,
            kind,
            body,
        })
    })
}

/// The reports inside one packet, found without collecting them.
struct Contents<'a> {
    packet: Packet<'a>,
    at: u8,
}

impl Iterator for Contents<'_> {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        let Packet { count, kind, body } = self.packet;
        let at = self.at;
        self.at = at.checked_add(1)?;
        // What names more sources than it holds is damaged as a whole.
        let (fixed, each) = match kind {
            SENDER_REPORT => (24, 24),
            RECEIVER_REPORT => (4, 24),
            _ => (0, 4),
        };
        if kind != SOURCE_DESCRIPTION && body.len() < fixed + each * usize::from(count) {
            return None;
        }
        match kind {
            SENDER_REPORT if at == 0 => sender(body),
            SENDER_REPORT if at <= count => block(body, 6, at - 1),
            RECEIVER_REPORT if at < count => block(body, 1, at),
            GOODBYE if at < count => Some(Report::Goodbye {
                ssrc: word(body, usize::from(at))?,
            }),
            _ => None,
        }
    }
}

fn sender(body: &[u8]) -> Option<Report> {
    let ntp = u64::from(word(body, 1)?) << 32 | u64::from(word(body, 2)?);
    let info = SenderInfo {
        ntp,
        timestamp: word(body, 3)?,
        packets: word(body, 4)?,
        octets: word(body, 5)?,
    };
    Some(Report::Sender {
        ssrc: word(body, 0)?,
        info,
    })
}

fn block(body: &[u8], start: usize, index: u8) -> Option<Report> {
    let at = start + usize::from(index) * 6;
    let lost = word(body, at + 1)?;
    Some(Report::Reception(Block {
        ssrc: word(body, at)?,
        fraction_lost: (lost >> 24) as u8,
        lost: lost & 0xff_ffff,
        highest: word(body, at + 2)?,
        jitter: word(body, at + 3)?,
        last_report: word(body, at + 4)?,
        delay: word(body, at + 5)?,
    }))
}

fn word(body: &[u8], index: usize) -> Option<u32> {
    body.get(index * 4..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Block = Block {
        ssrc: 2,
        fraction_lost: 3,
        lost: 400,
        highest: 70_000,
        jitter: 12,
        last_report: 0xaabb_ccdd,
        delay: 65_536,
    };

    #[test]
    fn a_sender_report_is_read_back_as_written() {
        let info = SenderInfo {
            ntp: 1 << 33 | 5,
            timestamp: 9,
            packets: 10,
            octets: 1600,
        };
        let mut out = Vec::new();
        write_report(&mut out, 1, Some(info), Some(BLOCK), "strowger");
        assert!(out.len() <= MAX_REPORT && out.len() % 4 == 0);
        let found: Vec<Report> = reports(&out).collect();
        assert_eq!(
            found,
            [Report::Sender { ssrc: 1, info }, Report::Reception(BLOCK)]
        );
    }

    #[test]
    fn a_receiver_report_and_a_goodbye_are_read_back() {
        let mut out = Vec::new();
        write_report(&mut out, 1, None, Some(BLOCK), "x");
        write_goodbye(&mut out, 1, "x");
        let found: Vec<Report> = reports(&out).collect();
        assert_eq!(
            found,
            [Report::Reception(BLOCK), Report::Goodbye { ssrc: 1 }]
        );
    }

    #[test]
    fn lying_lengths_end_the_walk() {
        for bytes in [
            &[0x9f, 203, 0, 1, 0, 0, 0x12, 0x34][..],
            &[0x81, 202, 0, 2, 0, 0, 0x12, 0x34, 1, 0xff, 0x41, 0x41],
            &[0x81, 200, 0, 0],
            &[0x81, 201, 0xff, 0xff, 0, 0, 0, 0],
            &[0x81],
            &[],
        ] {
            let found: Vec<Report> = reports(bytes).collect();
            assert!(
                found.len() <= 1 && !matches!(found.first(), Some(Report::Sender { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_thousand_empty_packets_are_walked_32_steps() {
        let data = [0x81, 203, 0, 1, 0, 0, 0, 7].repeat(1000);
        assert_eq!(reports(&data).count(), MAX_COMPOUND);
    }
}
