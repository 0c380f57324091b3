//! The bot that is asked what people write: which one, when the owner names another.

use std::time::{Duration, Instant};

use model::SessionSpec;
use net::fake::Simulation;
use store::Change;

use super::records::change;
use super::scene::{PATIENCE, Scene, play, session};

/// A session that has this bot asked.
fn asking(bot: &str) -> [Change; 1] {
    [Change::PutSession(SessionSpec {
        messages_processing: true,
        inline_bot: bot.parse().unwrap(),
        ..SessionSpec::new(session())
    })]
}

/// Which bot is asked, when alice writes something that is no number.
async fn asked(scene: &Scene, text: &str) -> Option<String> {
    scene.telegram.write("alice", text);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE / 4 {
        let questions = scene.telegram.questions();
        if let Some((bot, _)) = questions.into_iter().find(|(_, query)| query == text) {
            return Some(bot);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

#[test]
fn another_bot_is_asked_as_soon_as_the_owner_names_it() {
    play(async {
        let scene = Scene::with(Simulation::default(), &asking("first_bot")).await;
        assert_eq!(
            asked(&scene, "who are you").await.as_deref(),
            Some("first_bot")
        );
        change(&scene, &asking("other_bot")).await;
        assert_eq!(asked(&scene, "and you").await.as_deref(), Some("other_bot"));
    });
}

#[test]
fn a_bot_whose_name_was_corrected_is_looked_for_at_once() {
    play(async {
        let scene = Scene::with(Simulation::default(), &asking("frist_bot")).await;
        assert_eq!(asked(&scene, "who are you").await, None);
        change(&scene, &asking("first_bot")).await;
        assert_eq!(asked(&scene, "and now").await.as_deref(), Some("first_bot"));
    });
}
