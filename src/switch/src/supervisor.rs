//! What systemd is told (sd_notify(3), `Type=notify`): that the switch is ready, that it is alive, how many calls there are, and that it
//! stops. Without systemd nothing is told.

use std::sync::Arc;
use std::time::Duration;

use actors::House;
use sd_notify::NotifyState;

/// How often the state is told where there is no watchdog.
const TELL_EVERY: Duration = Duration::from_secs(10);

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told how the switch is");
    }
}

/// The listeners are bound and the store is open; sessions may still be connecting.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// New calls are refused from now on.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("calls end")]);
}

/// Tells again and again how it is, three times within the period of the watchdog, for as long as it is polled. A registry that does not
/// answer is not alive: then systemd starts the switch again.
pub(crate) async fn alive(house: Arc<House>) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(TELL_EVERY, |period| period / 3);
    loop {
        let report = house.report().await;
        let is_silent = report.missing.iter().any(|what| what == actors::SILENT);
        let status = match report.missing.first() {
            None => format!("{} calls", report.calls),
            Some(first) => format!("{} calls; {first}", report.calls),
        };
        tell(&[NotifyState::Status(&status)]);
        if watchdog.is_some() && !is_silent {
            tell(&[NotifyState::Watchdog]);
        }
        tokio::time::sleep(every).await;
    }
}
