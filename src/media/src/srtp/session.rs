//! The session keys of one direction, and what they do to one packet of a known index.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use model::{SrtpKey, SrtpSuite};
use zeroize::Zeroizing;

/// The part of an RTCP packet that is never encrypted: its first header and its sender (RFC 3711 section 3.4).
pub(super) const RTCP_HEADER: usize = 8;
/// The word behind an RTCP packet: E flag and index.
pub(super) const INDEX: usize = 4;
/// The E flag: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;
/// The tag of HMAC-SHA1, octets: behind RTCP always, behind RTP by suite.
const TAG_80: usize = 10;
const TAG_32: usize = 4;
/// The tag of GCM, octets.
const TAG_GCM: usize = 16;

/// Which packets a session is for: the labels of the key derivation (RFC 3711 section 4.3.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Rtp,
    Rtcp,
}

/// The keys of the RTP or the RTCP of one direction.
#[allow(
    clippy::large_enum_variant,
    reason = "there are four for an encrypted leg, boxed together"
)]
pub(super) enum Session {
    /// AES-CM and HMAC-SHA1.
    Counter {
        cipher: EncryptingKey,
        auth: hmac::Key,
        /// The session salt and two zeros: the place of the block counter.
        salt: Zeroizing<[u8; 16]>,
        tag: usize,
    },
    /// AES-GCM.
    Gcm {
        cipher: LessSafeKey,
        salt: Zeroizing<[u8; 12]>,
    },
}

impl Session {
    /// Derives the keys (RFC 3711 section 4.3.1, key derivation rate 0; RFC 7714 section 11).
    pub(super) fn new(master: &SrtpKey, stream: Stream) -> Option<Self> {
        let first = match stream {
            Stream::Rtp => 0,
            Stream::Rtcp => 3,
        };
        let key: Zeroizing<[u8; 16]> = derive(master, first)?;
        let tag = match (master.suite(), stream) {
            (SrtpSuite::AeadAes128Gcm, _) => {
                let key = aead::UnboundKey::new(&aead::AES_128_GCM, &*key).ok()?;
                return Some(Self::Gcm {
                    cipher: LessSafeKey::new(key),
                    salt: derive(master, first + 2)?,
                });
            }
            (SrtpSuite::AesCm128HmacSha1_32, Stream::Rtp) => TAG_32,
            (SrtpSuite::AesCm128HmacSha1_32, Stream::Rtcp)
            | (SrtpSuite::AesCm128HmacSha1_80, _) => TAG_80,
        };
        let auth: Zeroizing<[u8; 20]> = derive(master, first + 1)?;
        let mut salt: Zeroizing<[u8; 16]> = derive(master, first + 2)?;
        // RFC 3711 s.4.1.1: the salt has 14 octets, behind it counts the cipher.
        let [.., high, low] = &mut *salt;
        (*high, *low) = (0, 0);
        Some(Self::Counter {
            cipher: counter_mode(&*key)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*auth),
            salt,
            tag,
        })
    }

    /// The octets a packet grows by, without MKI and without the index of RTCP.
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Counter { tag, .. } => *tag,
            Self::Gcm { .. } => TAG_GCM,
        }
    }

    /// Encrypts an RTP packet behind its header and appends the tag.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<()> {
        match self {
            Self::Counter { tag, .. } => {
                self.apply(packet.get_mut(header..)?, ssrc, index)?;
                let made = self.tag(packet, &roc(index))?;
                packet.extend_from_slice(made.as_ref().get(..*tag)?);
            }
            Self::Gcm { cipher, salt } => {
                let (clear, secret) = packet.split_at_mut_checked(header)?;
                let nonce = nonce(salt, ssrc, index);
                let made = cipher.seal_in_place_separate_tag(nonce, Aad::from(&*clear), secret);
                packet.extend_from_slice(made.ok()?.as_ref());
            }
        }
        Some(())
    }

    /// Verifies and decrypts an RTP packet without its MKI, and removes the tag. A packet that is refused is left in pieces.
    pub(super) fn open_rtp(
        &self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<()> {
        let end = packet.len().checked_sub(self.tag_len())?;
        match self {
            Self::Counter { .. } => {
                let (body, tag) = packet.split_at_mut_checked(end)?;
                self.verify(body, &roc(index), tag)?;
                self.apply(body.get_mut(header..)?, ssrc, index)?;
            }
            Self::Gcm { cipher, salt } => {
                let (clear, secret) = packet.split_at_mut_checked(header)?;
                let nonce = nonce(salt, ssrc, index);
                let opened = cipher.open_in_place(nonce, Aad::from(&*clear), secret);
                opened.ok()?;
            }
        }
        packet.truncate(end);
        Some(())
    }

    /// Encrypts a compound RTCP packet and appends index and tag.
    pub(super) fn seal_rtcp(&self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Option<()> {
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::Counter { tag, .. } => {
                self.apply(packet.get_mut(RTCP_HEADER..)?, ssrc, index.into())?;
                packet.extend_from_slice(&word);
                let made = self.tag(packet, &[])?;
                packet.extend_from_slice(made.as_ref().get(..*tag)?);
            }
            Self::Gcm { cipher, salt } => {
                let (clear, secret) = packet.split_at_mut_checked(RTCP_HEADER)?;
                let nonce = nonce(salt, ssrc, index.into());
                let aad = Aad::from(rtcp_aad(clear, word)?);
                let made = cipher.seal_in_place_separate_tag(nonce, aad, secret);
                packet.extend_from_slice(made.ok()?.as_ref());
                packet.extend_from_slice(&word);
            }
        }
        Some(())
    }

    /// Where the word with the index of an RTCP packet stands that has lost its MKI.
    pub(super) fn index_at(&self, length: usize) -> Option<usize> {
        match self {
            Self::Counter { tag, .. } => length.checked_sub(tag + INDEX),
            Self::Gcm { .. } => length.checked_sub(INDEX),
        }
    }

    /// Verifies and decrypts a compound RTCP packet without its MKI, and removes index and tag.
    pub(super) fn open_rtcp(&self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Option<()> {
        let word = (ENCRYPTED | index).to_be_bytes();
        let end = packet.len().checked_sub(self.tag_len() + INDEX)?;
        match self {
            Self::Counter { .. } => {
                let (body, tag) = packet.split_at_mut_checked(end + INDEX)?;
                self.verify(body, &[], tag)?;
                self.apply(body.get_mut(RTCP_HEADER..end)?, ssrc, index.into())?;
            }
            Self::Gcm { cipher, salt } => {
                packet.truncate(end + TAG_GCM);
                let (clear, secret) = packet.split_at_mut_checked(RTCP_HEADER)?;
                let nonce = nonce(salt, ssrc, index.into());
                let aad = Aad::from(rtcp_aad(clear, word)?);
                cipher.open_in_place(nonce, aad, secret).ok()?;
            }
        }
        packet.truncate(end);
        Some(())
    }

    /// The keystream of counter mode over a part of a packet (RFC 3711 section 4.1.1).
    fn apply(&self, part: &mut [u8], ssrc: u32, index: u64) -> Option<()> {
        let Self::Counter { cipher, salt, .. } = self else {
            return None;
        };
        let mut iv = **salt;
        mix(iv.get_mut(4..14)?, ssrc, index);
        keystream(cipher, iv, part)
    }

    fn tag(&self, body: &[u8], behind: &[u8]) -> Option<hmac::Tag> {
        let Self::Counter { auth, .. } = self else {
            return None;
        };
        let mut context = hmac::Context::with_key(auth);
        context.update(body);
        context.update(behind);
        Some(context.sign())
    }

    fn verify(&self, body: &[u8], behind: &[u8], tag: &[u8]) -> Option<()> {
        let made = self.tag(body, behind)?;
        verify_slices_are_equal(made.as_ref().get(..tag.len())?, tag).ok()
    }
}

/// The upper 32 bits of an index: what the tag of RTP covers beside the packet.
fn roc(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

/// SSRC and index of 48 bits, into the ten octets where they belong.
fn mix(place: &mut [u8], ssrc: u32, index: u64) {
    let [_, _, index @ ..] = index.to_be_bytes();
    let octets = ssrc.to_be_bytes().into_iter().chain(index);
    place
        .iter_mut()
        .zip(octets)
        .for_each(|(at, octet)| *at ^= octet);
}

/// RFC 7714 sections 8.1 and 9.1.
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = *salt;
    mix(iv.get_mut(2..).unwrap_or_default(), ssrc, index);
    Nonce::assume_unique_for_key(iv)
}

/// RFC 7714 section 9.3: the header and the word behind the packet.
fn rtcp_aad(header: &[u8], word: [u8; INDEX]) -> Option<[u8; RTCP_HEADER + INDEX]> {
    let mut aad = [0; RTCP_HEADER + INDEX];
    let (first, second) = aad.split_at_mut_checked(RTCP_HEADER)?;
    first.copy_from_slice(header);
    second.copy_from_slice(&word);
    Some(aad)
}

fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, key).ok()?).ok()
}

fn keystream(cipher: &EncryptingKey, iv: [u8; 16], part: &mut [u8]) -> Option<()> {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    cipher.less_safe_encrypt(part, context).ok().map(drop)
}

/// RFC 3711 section 4.3.3: the keystream of the master key, with the label in octet 7 of the salt.
fn derive<const N: usize>(master: &SrtpKey, label: u8) -> Option<Zeroizing<[u8; N]>> {
    let mut iv = [0; 16];
    // A salt of GCM is shorter; zeros stand behind it (RFC 7714 section 11).
    iv.iter_mut()
        .zip(master.salt())
        .for_each(|(at, octet)| *at = *octet);
    if let Some(at) = iv.get_mut(7) {
        *at ^= label;
    }
    let mut key = Zeroizing::new([0; N]);
    keystream(&counter_mode(master.key())?, iv, &mut *key)?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{hex, testdata};

    #[test]
    fn the_keystream_is_that_of_rfc_3711_b_2() {
        let vector = &testdata("srtp-vectors.json")["aes_cm_rfc3711_b2"];
        let text = |name: &str| hex(vector[name].as_str().unwrap());
        let cipher = counter_mode(&text("key")).unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        let iv = text("iv").try_into().unwrap();
        keystream(&cipher, iv, &mut stream).unwrap();
        for (block, expected) in vector["keystream"].as_object().unwrap() {
            let at = usize::from_str_radix(block, 16).unwrap() * 16;
            assert_eq!(
                stream[at..at + 16],
                hex(expected.as_str().unwrap()),
                "{block}"
            );
        }
    }

    #[test]
    fn the_session_keys_are_those_of_rfc_3711_b_3() {
        let vector = &testdata("srtp-vectors.json")["kdf_rfc3711_b3"];
        let text = |name: &str| hex(vector[name].as_str().unwrap());
        let octets = [text("master_key"), text("master_salt")].concat();
        let master = SrtpKey::new(SrtpSuite::AesCm128HmacSha1_80, &octets).unwrap();
        let cipher: Zeroizing<[u8; 16]> = derive(&master, 0).unwrap();
        let auth: Zeroizing<[u8; 94]> = derive(&master, 1).unwrap();
        let salt: Zeroizing<[u8; 14]> = derive(&master, 2).unwrap();
        assert_eq!(cipher[..], text("cipher_key"));
        assert_eq!(auth[..], text("auth_key_94"));
        assert_eq!(salt[..], text("cipher_salt"));
        let text = |name: &str| hex(vector["srtcp"][name].as_str().unwrap());
        let cipher: Zeroizing<[u8; 16]> = derive(&master, 3).unwrap();
        let auth: Zeroizing<[u8; 20]> = derive(&master, 4).unwrap();
        let salt: Zeroizing<[u8; 14]> = derive(&master, 5).unwrap();
        assert_eq!(cipher[..], text("cipher_key"));
        assert_eq!(auth[..], text("auth_key_20"));
        assert_eq!(salt[..], text("cipher_salt"));
    }

    /// The session keys of RFC 7714 section 16.1, which are given there as they are.
    fn gcm() -> Session {
        let key: Vec<u8> = (0..16).collect();
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap();
        Session::Gcm {
            cipher: LessSafeKey::new(key),
            salt: Zeroizing::new(*b"Quid pro quo"),
        }
    }

    #[test]
    fn a_packet_of_gcm_is_that_of_rfc_7714_16_1_1() {
        let mut packet = hex("8040f17b8041f8d35501a0b2");
        packet.extend_from_slice(b"Gallia est omnis divisa in partes tres");
        let clear = packet.clone();
        let (ssrc, index) = (0x5501_a0b2, 0xf17b);
        gcm().seal_rtp(&mut packet, 12, ssrc, index).unwrap();
        let sealed = "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                      899d7f27beb16a9152cf765ee4390cce";
        assert_eq!(packet, hex(&sealed.replace(' ', "")));
        gcm().open_rtp(&mut packet, 12, ssrc, index).unwrap();
        assert_eq!(packet, clear);
    }
}
