//! What somebody sends that is no text, as a line of text: its kind, and its size (product 7).
//!
//! Nothing is fetched: all of it is in the message object. Names that a stranger has given are shortened, and lose what is no
//! letter, figure or sign.

use grammers_tl_types as tl;
use tl::enums::{Document, DocumentAttribute, GeoPoint, MessageMedia, Photo, PhotoSize};

/// Characters of a name that somebody gave: of a file, a place, a person.
const NAME: usize = 64;

/// Characters of a line with what was written under it; no client lets anybody write more than 4096.
const TEXT: usize = 4096;

/// Returns what a message carries as a line such as `[photo, 120 kB]`, with the `caption` that somebody wrote under it behind; nothing
/// where it is only what a client shows of a link in the text. Of 4096 characters at most.
pub fn describe(media: &MessageMedia, caption: &str) -> Option<String> {
    let line = line(media)?;
    let whole = format!("{line} {}", caption.trim());
    Some(whole.trim_end().chars().take(TEXT).collect())
}

fn line(media: &MessageMedia) -> Option<String> {
    let words = match media {
        MessageMedia::Empty | MessageMedia::WebPage(_) => return None,
        MessageMedia::Photo(photo) => sized("photo", photo.photo.as_ref().and_then(photo_size)),
        MessageMedia::Document(media) => {
            let video = if media.round {
                "video message"
            } else {
                "video"
            };
            document(media.document.as_ref(), video, media.voice)
        }
        MessageMedia::Geo(media) => place("location", &media.geo),
        MessageMedia::GeoLive(media) => place("live location", &media.geo),
        MessageMedia::Venue(media) => {
            let what = named("place", &media.title);
            place(&what, &media.geo)
        }
        MessageMedia::Contact(media) => {
            let name = format!("{} {}", media.first_name, media.last_name);
            let number = shown(&media.phone_number);
            let plus = if number.starts_with('+') { "" } else { "+" };
            format!("{}, {plus}{number}", named("contact", &name))
        }
        MessageMedia::Poll(_) => "poll".to_owned(),
        MessageMedia::Dice(media) => format!("dice, {}", media.value),
        MessageMedia::Game(_) => "game".to_owned(),
        MessageMedia::Invoice(_) => "invoice".to_owned(),
        MessageMedia::Story(_) => "story".to_owned(),
        MessageMedia::ToDo(_) => "list".to_owned(),
        MessageMedia::PaidMedia(_) => "paid media".to_owned(),
        MessageMedia::VideoStream(_) => "video stream".to_owned(),
        MessageMedia::Giveaway(_) | MessageMedia::GiveawayResults(_) => "giveaway".to_owned(),
        MessageMedia::Unsupported => "message of a newer version".to_owned(),
    };
    Some(format!("[{words}]"))
}

/// The kind of a file is in its attributes, and of several in the one that says most: an animation is a video too.
fn document(document: Option<&Document>, video: &str, is_voice: bool) -> String {
    let Some(Document::Document(document)) = document else {
        return if is_voice { "voice" } else { "file" }.to_owned();
    };
    let size = u64::try_from(document.size).ok();
    let mut kind = "file".to_owned();
    let mut rank = 0;
    for attribute in &document.attributes {
        let (its_rank, its_kind) = match attribute {
            DocumentAttribute::Filename(file) => (1, named("file", &file.file_name)),
            DocumentAttribute::Audio(audio) => {
                let kind = if audio.voice || is_voice {
                    "voice"
                } else {
                    "audio"
                };
                (2, lasting(kind, f64::from(audio.duration)))
            }
            DocumentAttribute::Video(film) => {
                let kind = if film.round_message {
                    "video message"
                } else {
                    video
                };
                (2, lasting(kind, film.duration))
            }
            DocumentAttribute::Animated => (3, "animation".to_owned()),
            DocumentAttribute::Sticker(sticker) => (4, named("sticker", &sticker.alt)),
            DocumentAttribute::CustomEmoji(emoji) => (4, named("sticker", &emoji.alt)),
            DocumentAttribute::ImageSize(_) | DocumentAttribute::HasStickers => continue,
        };
        if its_rank > rank {
            (rank, kind) = (its_rank, its_kind);
        }
    }
    sized(&kind, size)
}

/// The largest of the pictures that the server keeps.
fn photo_size(photo: &Photo) -> Option<u64> {
    let Photo::Photo(photo) = photo else {
        return None;
    };
    let sizes = photo.sizes.iter().filter_map(|size| match size {
        PhotoSize::Size(size) => Some(size.size),
        PhotoSize::Progressive(size) => size.sizes.iter().max().copied(),
        PhotoSize::Empty(_)
        | PhotoSize::PhotoCachedSize(_)
        | PhotoSize::PhotoStrippedSize(_)
        | PhotoSize::PhotoPathSize(_) => None,
    });
    sizes.max().and_then(|size| u64::try_from(size).ok())
}

fn place(what: &str, point: &GeoPoint) -> String {
    match point {
        GeoPoint::Point(point) => format!("{what}, {:.5} {:.5}", point.lat, point.long),
        GeoPoint::Empty => what.to_owned(),
    }
}

/// With the minutes and seconds that it lasts; a number that is none says nothing.
fn lasting(kind: &str, seconds: f64) -> String {
    let length = std::time::Duration::try_from_secs_f64(seconds.round()).unwrap_or_default();
    let seconds = length.as_secs();
    format!("{kind}, {}:{:02}", seconds / 60, seconds % 60)
}

fn named(kind: &str, name: &str) -> String {
    let name = shown(name);
    if name.is_empty() {
        return kind.to_owned();
    }
    format!("{kind} {name}")
}

/// What somebody wrote, fit for a line; brackets would end ours.
fn shown(text: &str) -> String {
    let is_fit = |c: &char| !c.is_control() && !matches!(c, '[' | ']' | '\u{2028}' | '\u{2029}');
    let fit: String = text.chars().filter(is_fit).collect();
    fit.trim().chars().take(NAME).collect()
}

fn sized(kind: &str, size: Option<u64>) -> String {
    match size {
        None | Some(0) => kind.to_owned(),
        Some(size @ 1..1_000) => format!("{kind}, {size} B"),
        // Rounded up, so that nothing has a size of 1000 kB.
        Some(size @ 1_000..=999_000) => format!("{kind}, {} kB", size.div_ceil(1_000)),
        Some(size) => {
            let tenths = size.div_ceil(100_000);
            format!("{kind}, {}.{} MB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: i64, attributes: Vec<DocumentAttribute>) -> MessageMedia {
        let document = tl::types::Document {
            id: 1,
            access_hash: 2,
            file_reference: vec![],
            date: 3,
            mime_type: "application/octet-stream".to_owned(),
            size,
            thumbs: None,
            video_thumbs: None,
            dc_id: 2,
            attributes,
        };
        tl::types::MessageMediaDocument {
            nopremium: false,
            spoiler: false,
            video: false,
            round: false,
            voice: false,
            document: Some(document.into()),
            alt_documents: None,
            video_cover: None,
            video_timestamp: None,
            ttl_seconds: None,
        }
        .into()
    }

    fn filename(name: &str) -> DocumentAttribute {
        let file_name = name.to_owned();
        tl::types::DocumentAttributeFilename { file_name }.into()
    }

    fn film(duration: f64, round_message: bool) -> DocumentAttribute {
        tl::types::DocumentAttributeVideo {
            round_message,
            supports_streaming: false,
            nosound: false,
            duration,
            w: 640,
            h: 480,
            preload_prefix_size: None,
            video_start_ts: None,
            video_codec: None,
        }
        .into()
    }

    fn said(media: &MessageMedia) -> String {
        line(media).expect("a line")
    }

    #[test]
    fn a_file_is_named_with_its_size() {
        let sizes = [
            (0, "[file a.pdf]"),
            (-1, "[file a.pdf]"),
            (1, "[file a.pdf, 1 B]"),
            (999, "[file a.pdf, 999 B]"),
            (1_000, "[file a.pdf, 1 kB]"),
            (120_000, "[file a.pdf, 120 kB]"),
            (999_000, "[file a.pdf, 999 kB]"),
            (999_001, "[file a.pdf, 1.0 MB]"),
            (1_234_567, "[file a.pdf, 1.3 MB]"),
            (2_000_000_000, "[file a.pdf, 2000.0 MB]"),
        ];
        for (size, expected) in sizes {
            assert_eq!(said(&file(size, vec![filename("a.pdf")])), expected);
        }
    }

    #[test]
    fn what_a_file_is_matters_more_than_its_name() {
        let name = || filename("x");
        let animated = || DocumentAttribute::Animated;
        assert_eq!(
            said(&file(9, vec![film(65.4, false), name()])),
            "[video, 1:05, 9 B]"
        );
        assert_eq!(
            said(&file(9, vec![film(5.0, true)])),
            "[video message, 0:05, 9 B]"
        );
        assert_eq!(
            said(&file(9, vec![name(), animated(), film(5.0, false)])),
            "[animation, 9 B]"
        );
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(said(&file(9, vec![film(odd, false)])), "[video, 0:00, 9 B]");
        }
        assert_eq!(said(&file(9, vec![])), "[file, 9 B]");
    }

    #[test]
    fn a_name_cannot_break_the_line() {
        let name = filename("a]\r\nX: [b\u{2028}\u{7}.txt");
        assert_eq!(said(&file(9, vec![name])), "[file aX: b.txt, 9 B]");
        let long = said(&file(9, vec![filename(&"\u{416}".repeat(10_000))]));
        assert_eq!(long.chars().count(), "[file , 9 B]".len() + NAME);
        assert_eq!(said(&file(9, vec![filename(" \n ")])), "[file, 9 B]");
    }

    #[test]
    fn a_photo_is_as_large_as_its_largest_picture() {
        let size = |size| {
            let r#type = "x".to_owned();
            tl::types::PhotoSize {
                r#type,
                w: 1,
                h: 1,
                size,
            }
            .into()
        };
        let progressive = tl::types::PhotoSizeProgressive {
            r#type: "y".to_owned(),
            w: 1,
            h: 1,
            sizes: vec![3_000, 120_000, 50_000],
        };
        let photo = |sizes| {
            let photo = tl::types::Photo {
                has_stickers: false,
                id: 1,
                access_hash: 2,
                file_reference: vec![],
                date: 3,
                sizes,
                video_sizes: None,
                dc_id: 2,
            };
            MessageMedia::Photo(tl::types::MessageMediaPhoto {
                spoiler: false,
                live_photo: false,
                photo: Some(photo.into()),
                ttl_seconds: None,
                video: None,
            })
        };
        let both = photo(vec![size(2_000), progressive.into(), size(70_000)]);
        assert_eq!(said(&both), "[photo, 120 kB]");
        assert_eq!(said(&photo(vec![size(-5)])), "[photo]");
        assert_eq!(said(&photo(vec![])), "[photo]");
    }

    #[test]
    fn places_and_people_are_told() {
        let point = tl::types::GeoPoint {
            long: 13.4,
            lat: 52.52,
            access_hash: 0,
            accuracy_radius: None,
        };
        let geo = tl::types::MessageMediaGeo { geo: point.into() };
        assert_eq!(said(&geo.into()), "[location, 52.52000 13.40000]");
        let geo = tl::types::MessageMediaGeo {
            geo: GeoPoint::Empty,
        };
        assert_eq!(said(&geo.into()), "[location]");
        let contact = |number: &str| {
            said(&MessageMedia::Contact(tl::types::MessageMediaContact {
                phone_number: number.to_owned(),
                first_name: "Bob".to_owned(),
                last_name: "Smith".to_owned(),
                vcard: String::new(),
                user_id: 0,
            }))
        };
        assert_eq!(contact("15550002"), "[contact Bob Smith, +15550002]");
        assert_eq!(contact("+15550002"), "[contact Bob Smith, +15550002]");
    }

    #[test]
    fn what_is_written_under_it_comes_behind() {
        let describe = |caption: &str| describe(&file(9, vec![]), caption).unwrap();
        assert_eq!(describe(" the\nbill "), "[file, 9 B] the\nbill");
        assert_eq!(describe(" "), "[file, 9 B]");
        assert_eq!(describe(&"x".repeat(5000)).len(), TEXT);
    }

    #[test]
    fn a_link_that_a_client_shows_is_no_attachment() {
        assert_eq!(
            describe(&MessageMedia::Empty, "see https://example.org"),
            None
        );
        assert_eq!(
            line(&MessageMedia::Unsupported).as_deref(),
            Some("[message of a newer version]")
        );
    }
}
