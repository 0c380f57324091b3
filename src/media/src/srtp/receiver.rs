//! What the peer sends: verified before anything else is believed, each packet once.
//!
//! ```text
//!   length -> which index can it be? -> heard before? -> tag -> decrypt -> only now the stream is known or moves on
//! ```

use std::fmt;

use model::SrtpKey;

use super::session::{ENCRYPTED, INDEX, RTCP_HEADER, Session, Stream};
use crate::rtp::header_len;

/// Packets behind the newest one that may still come (SEC-M4): as many as the mask has bits.
const WINDOW: u64 = 128;
/// Streams that are remembered in each direction. A peer has one, and begins another when it is bridged elsewhere; of more than
/// these the one that was silent longest is forgotten.
const MAX_STREAMS: usize = 8;

/// Why a packet is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its tag is wrong, or it is too short to have one: nobody with the key made it.
    Unauthentic,
    /// It was here before, or is so old that nobody remembers.
    Replayed,
}

/// The incoming direction.
#[derive(Debug)]
pub(crate) struct Receiver {
    present: Keyed,
    /// The key before the present one, for what is still on its way; forgotten with the first packet of the present one.
    former: Option<Keyed>,
}

/// A key and what came with it.
struct Keyed {
    key: SrtpKey,
    mki_len: usize,
    rtp: Session,
    rtcp: Session,
    streams: Streams,
    reports: Streams,
}

impl Receiver {
    pub(super) fn new(key: &SrtpKey, mki_len: u8) -> Option<Self> {
        let present = Keyed::new(key, mki_len)?;
        let former = None;
        Some(Self { present, former })
    }

    /// Takes the key of a new offer and answer; nothing changes if it is the one before.
    pub(super) fn change(&mut self, key: &SrtpKey, mki_len: u8) -> Option<()> {
        if self.present.key == *key {
            self.present.mki_len = mki_len.into();
            return Some(());
        }
        let next = Keyed::new(key, mki_len)?;
        self.former = Some(std::mem::replace(&mut self.present, next));
        Some(())
    }

    /// Opens an RTP packet into `into`.
    pub(crate) fn open(&mut self, data: &[u8], into: &mut Vec<u8>) -> Result<(), Refused> {
        let Some(former) = &mut self.former else {
            return self.present.open(data, into, 0);
        };
        // RFC 3711 s.3.3.1 lets the ROC of a stream go on under a new key; many peers begin at 0.
        let roc = ssrc_at(data, 8).map_or(0, |ssrc| former.streams.roc(ssrc));
        match self.present.open(data, into, roc) {
            Ok(()) => {
                self.former = None;
                Ok(())
            }
            Err(Refused::Unauthentic) => former.open(data, into, 0),
            Err(Refused::Replayed) => Err(Refused::Replayed),
        }
    }

    /// Opens a compound RTCP packet into `into`.
    pub(crate) fn open_rtcp(&mut self, data: &[u8], into: &mut Vec<u8>) -> Result<(), Refused> {
        match (self.present.open_rtcp(data, into), &mut self.former) {
            (Err(Refused::Unauthentic), Some(former)) => former.open_rtcp(data, into),
            (result, _) => result,
        }
    }

    /// As if the stream had been heard up to this index.
    #[cfg(test)]
    pub(super) fn heard(&mut self, ssrc: u32, index: u64) {
        self.present.streams.accept(ssrc, index);
    }

    /// Streams known by now.
    #[cfg(test)]
    pub(super) fn streams(&self) -> usize {
        self.present.streams.list.len() + self.present.reports.list.len()
    }
}

impl Keyed {
    fn new(key: &SrtpKey, mki_len: u8) -> Option<Self> {
        Some(Self {
            key: key.clone(),
            mki_len: mki_len.into(),
            rtp: Session::new(key, Stream::Rtp)?,
            rtcp: Session::new(key, Stream::Rtcp)?,
            streams: Streams::default(),
            reports: Streams::default(),
        })
    }

    /// `roc` is where an unknown stream stood under the key before.
    fn open(&mut self, data: &[u8], into: &mut Vec<u8>, roc: u32) -> Result<(), Refused> {
        let header = header_len(data).ok_or(Refused::Unauthentic)?;
        let tail = self.rtp.tag_len() + self.mki_len;
        if data.len() < header + tail {
            return Err(Refused::Unauthentic);
        }
        let (Some(ssrc), Some(sequence)) = (ssrc_at(data, 8), sequence(data)) else {
            return Err(Refused::Unauthentic);
        };
        let candidates = match self.streams.find(ssrc) {
            Some(stream) => [stream.index_of(sequence), None, None],
            None => beginnings(roc).map(|roc| Some(u64::from(roc?) << 16 | u64::from(sequence))),
        };
        let is_counter = matches!(self.rtp, Session::Counter { .. });
        for index in candidates.into_iter().flatten() {
            self.streams.check(ssrc, index)?;
            copy(data, self.mki_len, self.rtp.tag_len(), is_counter, into);
            if self.rtp.open_rtp(into, header, ssrc, index).is_some() {
                self.streams.accept(ssrc, index);
                return Ok(());
            }
        }
        Err(Refused::Unauthentic)
    }

    fn open_rtcp(&mut self, data: &[u8], into: &mut Vec<u8>) -> Result<(), Refused> {
        let tail = self.rtcp.tag_len() + INDEX + self.mki_len;
        if data.len() < RTCP_HEADER + tail {
            return Err(Refused::Unauthentic);
        }
        let is_counter = matches!(self.rtcp, Session::Counter { .. });
        copy(data, self.mki_len, self.rtcp.tag_len(), is_counter, into);
        let at = self.rtcp.index_at(into.len());
        let word = at.and_then(|at| into.get(at..)?.first_chunk::<INDEX>());
        let (Some(ssrc), Some(word)) = (ssrc_at(data, 4), word) else {
            return Err(Refused::Unauthentic);
        };
        let word = u32::from_be_bytes(*word);
        // Nobody agreed to reports that everybody can read.
        if word & ENCRYPTED == 0 {
            return Err(Refused::Unauthentic);
        }
        let index = word & !ENCRYPTED;
        self.reports.check(ssrc, index.into())?;
        let opened = self.rtcp.open_rtcp(into, ssrc, index);
        opened.ok_or(Refused::Unauthentic)?;
        self.reports.accept(ssrc, index.into());
        Ok(())
    }
}

/// Where a stream may stand of which nothing was heard yet: at 0; where it stood under the key before; past its first wrap, which
/// it had when nobody listened, as before the answer of a PBX that plays music meanwhile.
fn beginnings(former: u32) -> [Option<u32>; 3] {
    let former = Some(former).filter(|roc| *roc > 1);
    [Some(0), Some(1), former]
}

/// Copies a packet without its MKI, which stands before the tag of HMAC-SHA1 and behind that of GCM.
fn copy(data: &[u8], mki_len: usize, tag_len: usize, is_counter: bool, into: &mut Vec<u8>) {
    into.clear();
    let behind = if is_counter { tag_len } else { 0 };
    let kept = data.len().saturating_sub(behind + mki_len);
    into.extend_from_slice(data.get(..kept).unwrap_or_default());
    let tag = data.get(data.len().saturating_sub(behind)..);
    into.extend_from_slice(tag.unwrap_or_default());
}

fn ssrc_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

fn sequence(data: &[u8]) -> Option<u16> {
    data.get(2..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

/// The streams of one direction.
#[derive(Debug, Default)]
struct Streams {
    list: Vec<Heard>,
    /// Counts accepted packets, to know who was silent longest.
    clock: u64,
}

/// What came of one SSRC.
#[derive(Debug, Clone, Copy)]
struct Heard {
    ssrc: u32,
    /// The highest index.
    highest: u64,
    /// Bit n: the packet n before the highest one was here.
    window: u128,
    last: u64,
}

impl Streams {
    fn find(&self, ssrc: u32) -> Option<&Heard> {
        self.list.iter().find(|heard| heard.ssrc == ssrc)
    }

    fn roc(&self, ssrc: u32) -> u32 {
        let highest = self.find(ssrc).map_or(0, |heard| heard.highest);
        u32::try_from(highest >> 16).unwrap_or(0)
    }

    /// RFC 3711 section 3.3.2.
    fn check(&self, ssrc: u32, index: u64) -> Result<(), Refused> {
        let behind = self.find(ssrc).and_then(|heard| {
            let behind = heard.highest.checked_sub(index)?;
            Some((behind, heard.window))
        });
        match behind {
            Some((behind, window)) if behind >= WINDOW || window >> behind & 1 == 1 => {
                Err(Refused::Replayed)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes an authentic packet.
    fn accept(&mut self, ssrc: u32, index: u64) {
        self.clock += 1;
        let last = self.clock;
        if let Some(heard) = self.list.iter_mut().find(|heard| heard.ssrc == ssrc) {
            heard.accept(index);
            heard.last = last;
            return;
        }
        if self.list.len() >= MAX_STREAMS
            && let Some(oldest) = self.list.iter().map(|heard| heard.last).min()
        {
            self.list.retain(|heard| heard.last != oldest);
        }
        self.list.push(Heard {
            ssrc,
            highest: index,
            window: 1,
            last,
        });
    }
}

impl Heard {
    /// The index that a sequence number most likely means (RFC 3711 section 3.3.1, appendix A).
    fn index_of(&self, sequence: u16) -> Option<u64> {
        let roc = self.highest >> 16;
        let highest = u16::try_from(self.highest & 0xffff).unwrap_or(0);
        let half = 1 << 15;
        let roc = if highest < half && sequence.saturating_sub(highest) > half {
            roc.checked_sub(1)?
        } else if highest >= half && highest - half > sequence {
            roc + 1
        } else {
            roc
        };
        (roc <= u32::MAX.into()).then_some(roc << 16 | u64::from(sequence))
    }

    fn accept(&mut self, index: u64) {
        if let Some(ahead) = index.checked_sub(self.highest) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.window = self.window.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = index;
        } else {
            let behind = u32::try_from(self.highest - index).unwrap_or(u32::MAX);
            self.window |= 1_u128.checked_shl(behind).unwrap_or(0);
        }
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.streams.list.len();
        write!(f, "Keyed({}, {streams} streams)", self.key.suite().name())
    }
}
