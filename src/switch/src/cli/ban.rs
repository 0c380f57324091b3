//! `strowger ban`: at the switch that runs, else in its store.

use std::time::Duration;

use clap::Subcommand;
use model::{BanRecord, IpPrefix};
use store::Store;

use super::book::Book;
use super::{Operator, unix};
use crate::api::{Ban as BanView, LONGEST_BAN, WantedBan};
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
                if seconds > LONGEST_BAN {
                    return Err(Failure::Usage("a ban is for a year at most"));
                }
                match operator.book()? {
                    Book::Switch(operator) => {
                        let wanted = WantedBan {
                            prefix: prefix.to_string(),
                            seconds: Some(seconds),
                        };
                        let () = operator.api("PUT", "/bans", Some(&wanted))?;
                    }
                    Book::Store(store) => change(&*store, |bans| {
                        bans.retain(|ban| ban.prefix != prefix);
                        let until = unix() + seconds;
                        bans.push(BanRecord {
                            prefix,
                            until,
                            times: 0,
                        });
                    })?,
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
                match operator.book()? {
                    Book::Switch(operator) => {
                        let path = format!("/bans?prefix={prefix}");
                        let () = operator.api("DELETE", &path, None::<&()>)?;
                    }
                    Book::Store(store) => {
                        let mut is_there = false;
                        change(&*store, |bans| {
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
    let mut bans: Vec<BanView> = match operator.book()? {
        Book::Switch(operator) => operator.list("/bans")?,
        Book::Store(store) => {
            let bans = store::read_bans(&*store)?;
            bans.iter().map(BanView::from).collect()
        }
    };
    let now = unix();
    bans.retain(|ban| ban.until > now);
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
            ban.prefix.clone(),
            humantime::format_duration(left).to_string(),
            times,
        ]);
    }
    table.print(operator.output, "nobody is banned");
    Ok(())
}

fn change(store: &dyn Store, how: impl FnOnce(&mut Vec<BanRecord>)) -> Result<(), Failure> {
    let mut bans = store::read_bans(store)?;
    how(&mut bans);
    let now = unix();
    bans.retain(|ban| ban.until > now);
    Ok(store::write_bans(store, &bans)?)
}
