//! `strowger demo`: the switch at work with a phone and Telegram users who live in this process.
//!
//! A house like any other, in a temporary folder, on loopback. Only the far ends are played (`net::fake`); each sends a
//! signal like speech and keeps what it hears, so what is printed is measured. The cast has a thread of its own, so that
//! it neither helps nor hinders the house.

mod checks;
mod scenes;
mod stage;

use std::process::ExitCode;
use std::time::Instant;

use net::fake::Pace;

use crate::print;
use checks::Checks;
use stage::{Stage, StageError};

/// The first and the last line.
const FRAME: &str = "The Telegram side is a simulator inside this process: no account, no network. \
                     SIP, RTP, codecs, encryption, routing, limits, records are the real code.";

/// What is said of figures that were spoiled.
const BUSY: &str =
    "this machine was busy with something else meanwhile: run the demo again when it is not";

/// Plays all scenes; the exit code says whether every check held.
pub(crate) fn run() -> ExitCode {
    print::line(FRAME);
    print::line("");
    let (pace, began) = (Pace::watch(), Instant::now());
    let played = actix::System::new().block_on(play());
    let kept_time = pace.kept(began, Instant::now());
    let good = match played {
        Ok(checks) => {
            print::line("");
            checks.print();
            if !kept_time && !checks.all_hold() && checks.all_but_figures_hold() {
                print::note(BUSY);
            }
            checks.all_hold()
        }
        Err(error) => {
            print::note(format!("the demo cannot begin: {error}"));
            false
        }
    };
    print::line("");
    print::line(FRAME);
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn play() -> Result<Checks, StageError> {
    let stage = Stage::set().await?;
    let mut checks = Checks::default();
    scenes::registration(&stage, &mut checks).await;
    scenes::phone_calls_user(&stage, &mut checks).await;
    scenes::user_calls_phone(&stage, &mut checks).await;
    scenes::texts(&stage, &mut checks).await;
    scenes::refusals(&stage, &mut checks).await;
    scenes::afterwards(&stage, &mut checks).await;
    stage.strike().await;
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_of_the_demo_holds() {
        for again in [true, true, false] {
            let (pace, began) = (Pace::watch(), Instant::now());
            let checks = actix::System::new().block_on(play()).unwrap();
            checks.print();
            if checks.all_hold() {
                return;
            }
            // Delays and likenesses are measured again when the system says that the house did not get to run.
            let kept_time = pace.kept(began, Instant::now());
            assert!(again && !kept_time && checks.all_but_figures_hold());
        }
    }
}
