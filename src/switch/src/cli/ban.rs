//! `strowger ban`: at the switch that runs, else in its store.

use std::time::Duration;

use clap::Subcommand;
use model::{BanRecord, IpPrefix};

use super::{Operator, unix};
use crate::control;
use crate::failure::Failure;
use crate::print::{self, Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum Ban {
    /// List who is banned
    List,
    /// Listen no more to an address or network; peers and registered PBXs are heard all the same
    Add {
        /// Such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64
        prefix: IpPrefix,
        /// For how long, such as 30m, 12h or 7d
        #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = humantime::parse_duration)]
        length: Duration,
    },
    /// Lift a ban, and forget what led to it
    Remove {
        /// As `strowger ban list` shows it
        prefix: IpPrefix,
    },
}

impl Ban {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Ban::List => list(operator),
            Ban::Add { prefix, length } => {
                let seconds = length.as_secs();
                let target = format!("/v1/bans?prefix={prefix}&seconds={seconds}");
                if operator.ask("PUT", &target)?.is_none() {
                    change(operator, |bans| {
                        bans.retain(|ban| ban.prefix != prefix);
                        let until = unix() + seconds;
                        bans.push(BanRecord {
                            prefix,
                            until,
                            times: 0,
                        });
                    })?;
                }
                let length = humantime::format_duration(Duration::from_secs(seconds));
                print::line(format_args!("{prefix} is banned for {length}"));
                Ok(())
            }
            Ban::Remove { prefix } => {
                let missing = || Failure::NotFound {
                    kind: "ban",
                    name: prefix.to_string(),
                };
                match operator.ask("DELETE", &format!("/v1/bans?prefix={prefix}"))? {
                    Some((404, _)) => return Err(missing()),
                    Some(_) => {}
                    None => {
                        let mut is_there = false;
                        change(operator, |bans| {
                            is_there = bans.iter().any(|ban| ban.prefix == prefix);
                            bans.retain(|ban| ban.prefix != prefix);
                        })?;
                        if !is_there {
                            return Err(missing());
                        }
                    }
                }
                print::line(format_args!("{prefix} is heard again"));
                Ok(())
            }
        }
    }
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let bans = match operator.ask("GET", "/v1/bans")? {
        Some((_, body)) => serde_json::from_str(&body).map_err(|error| Failure::File {
            path: control::SOCKET.into(),
            source: error.into(),
        })?,
        None => store::read_bans(&operator.store()?)?,
    };
    let now = unix();
    let bans: Vec<BanRecord> = bans
        .into_iter()
        .filter(|ban: &BanRecord| ban.until > now)
        .collect();
    if operator.output == Output::Json {
        print::json(&bans);
        return Ok(());
    }
    let mut table = Table::new(["address", "for", "times"]);
    for ban in &bans {
        let left = Duration::from_secs(ban.until.saturating_sub(now));
        let times = match ban.times {
            0 => "by hand".to_owned(),
            times => times.to_string(),
        };
        table.row([
            ban.prefix.to_string(),
            humantime::format_duration(left).to_string(),
            times,
        ]);
    }
    table.print("nobody is banned");
    Ok(())
}

fn change(operator: &Operator, how: impl FnOnce(&mut Vec<BanRecord>)) -> Result<(), Failure> {
    let store = operator.store()?;
    let mut bans = store::read_bans(&store)?;
    how(&mut bans);
    let now = unix();
    bans.retain(|ban| ban.until > now);
    Ok(store::write_bans(&store, &bans)?)
}
