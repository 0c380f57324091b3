//! A login token as a QR code, drawn in half blocks.

use std::io::IsTerminal;

use qrcode::render::unicode::Dense1x2;

use super::conversation::LoginFailure;
use crate::login_view;
use crate::print;

/// Black on white, whatever the theme: many readers take no negative.
const BLACK_ON_WHITE: &str = "\x1b[30;107m";
const PLAIN: &str = "\x1b[0m";

/// What is on the screen.
#[derive(Default)]
pub(super) struct Picture {
    lines: usize,
}

impl Picture {
    /// Draws the link, over the one before if that is on a terminal, with the link itself.
    pub(super) fn show(&mut self, link: &str) -> Result<(), LoginFailure> {
        let drawing = draw(link).map_err(LoginFailure::Qr)?;
        let terminal = std::io::stderr().is_terminal();
        if self.lines == 0 {
            print::note(
                "Scan this with the Telegram app of the account: Settings, Devices, Link Desktop Device. It is renewed by itself; Ctrl-C stops.",
            );
        } else if terminal {
            print::prompt(format_args!("\x1b[{}A", self.lines));
        }
        for line in drawing.lines() {
            if terminal {
                print::note(format_args!("{BLACK_ON_WHITE}{line}{PLAIN}"));
            } else {
                print::note(line);
            }
        }
        print::note(link);
        self.lines = drawing.lines().count() + 1;
        Ok(())
    }
}

/// Two rows of modules a line, with the quiet zone around.
fn draw(link: &str) -> Result<String, qrcode::types::QrError> {
    Ok(login_view::code(link)?.render::<Dense1x2>().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dark or not, as a camera would see it: each module is as many pixels wide.
    const PIXELS: usize = 4;

    fn photograph(drawing: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawing.lines() {
            let (mut upper, mut lower) = (Vec::new(), Vec::new());
            for character in line.chars() {
                let (above, below) = match character {
                    '█' => (true, true),
                    '▀' => (true, false),
                    '▄' => (false, true),
                    ' ' => (false, false),
                    other => panic!("{other:?}"),
                };
                upper.extend([above; PIXELS]);
                lower.extend([below; PIXELS]);
            }
            for row in [upper, lower] {
                rows.extend(std::iter::repeat_n(row, PIXELS));
            }
        }
        rows
    }

    #[test]
    fn what_is_drawn_is_read_as_the_link() {
        let link = login_view::link(&[0xfb; 32]);
        assert_eq!(
            link,
            "tg://login?token=-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"
        );
        let drawing = draw(&link).unwrap();
        let picture = photograph(&drawing);
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(picture[0].len(), picture.len(), |x, y| {
                if picture[y][x] { 0 } else { 255 }
            });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "{drawing}");
        assert_eq!(grids[0].decode().unwrap().1, link);
        // It fits a terminal of 80 columns and 24 lines, with the link below.
        assert!(drawing.lines().count() <= 22, "{drawing}");
        assert!(drawing.lines().all(|line| line.chars().count() <= 80));
    }
}
