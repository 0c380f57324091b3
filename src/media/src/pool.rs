//! Payload bytes without an allocation per packet: slices of one buffer that is used again once they are gone.

use bytes::{Bytes, BytesMut};

/// Room taken at a time; a dozen G.711 frames.
const CHUNK: usize = 4096;

/// Makes [`Bytes`] from slices.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    buffer: BytesMut,
}

impl Pool {
    /// Returns a copy of the parts, one after the other.
    pub(crate) fn join(&mut self, parts: [&[u8]; 2]) -> Bytes {
        let [first, second] = parts;
        let needed = first.len() + second.len();
        if self.buffer.capacity() < needed {
            // Takes the old chunk back when nobody holds a slice of it any more.
            self.buffer.reserve(needed.max(CHUNK));
        }
        self.buffer.extend_from_slice(first);
        self.buffer.extend_from_slice(second);
        self.buffer.split().freeze()
    }

    /// Returns a copy.
    pub(crate) fn copy(&mut self, data: &[u8]) -> Bytes {
        self.join([data, &[]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_used_again_once_its_slices_are_gone() {
        let mut pool = Pool::default();
        let first = pool.copy(&[1; 160]).as_ptr();
        let mut pointers = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let bytes = pool.copy(&[7; 160]);
            assert_eq!(bytes.len(), 160);
            pointers.insert(bytes.as_ptr() as usize);
        }
        assert!(pointers.contains(&(first as usize)));
        assert!(pointers.len() <= CHUNK / 160 + 1, "{}", pointers.len());
    }

    #[test]
    fn held_slices_keep_their_content() {
        let mut pool = Pool::default();
        let held: Vec<Bytes> = (0..200).map(|n| pool.join([&[n], &[n; 99]])).collect();
        assert!(
            held.iter()
                .zip(0..)
                .all(|(bytes, n): (&Bytes, u8)| bytes.iter().all(|&b| b == n))
        );
    }
}
