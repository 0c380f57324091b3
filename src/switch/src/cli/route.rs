//! `strowger route`.

use clap::{Args, Subcommand};
use model::{DialRules, QuotaName, RouteSpec, RouteTerms, SessionName, TransitSpec, TrunkName};
use routing::DialPlan;
use serde::Serialize;
use store::Change;

use super::{Operator, trunk};
use crate::api::{Tried, WantedCall};
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::records::PRIORITY;

#[derive(Debug, Subcommand)]
pub(super) enum Route {
    /// Pair a trunk with a session: calls of one go to the other, both ways; or let a trunk's calls leave by another trunk
    #[command(
        after_help = "strowger route add office gateway       calls of office go to session gateway, and back\nstrowger route add office --to branch   calls of office leave by branch; nothing comes back\nstrowger route add office --to branch --match ^00 --rules ^00=+   only those that begin with 00, with a + instead"
    )]
    Add {
        /// The trunk
        trunk: TrunkName,
        #[command(flatten)]
        way: Way,
        /// Order in which the trunks are tried, lower first; sessions of the same priority share the calls of a trunk
        #[arg(long, default_value_t = PRIORITY)]
        priority: u32,
        #[command(flatten)]
        terms: Box<Terms>,
    },
    /// List all routes
    List,
    /// Say what would become of a call, step by step, asking the switch that runs; no call is made
    #[command(after_help = "Example: strowger route test --from 101 --to +15550001 --via office")]
    Test {
        /// Who calls: a number of the PBX; of a Telegram user his id, @username or +phone
        #[arg(long, default_value = "", allow_hyphen_values = true)]
        from: String,
        /// Who is called, as the PBX dials; a Telegram user calls the account
        #[arg(long, default_value = "", allow_hyphen_values = true)]
        to: String,
        /// The trunk or the session that the call comes over; without, the only trunk there is
        #[arg(long)]
        via: Option<String>,
    },
    /// End a pairing, or close the way between two trunks
    Remove {
        /// The trunk
        trunk: TrunkName,
        #[command(flatten)]
        way: Way,
    },
}

/// Which calls go by a route, and how.
#[derive(Debug, Args)]
pub(super) struct Terms {
    /// Conditions on the number as it is dialled, such as `^00`; what does not match goes by another route
    #[arg(long = "match", value_name = "RULES", allow_hyphen_values = true)]
    matches: Option<DialRules>,
    /// What becomes of the number, after the rules of the trunk, such as `^0=+49`
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    rules: Option<DialRules>,
    /// How a Telegram user is numbered in the PBX, instead of as the trunk says; once for each rule
    #[arg(long, value_name = "RULE")]
    caller_id: Option<Vec<String>>,
    /// How he is named, likewise
    #[arg(long, value_name = "RULE")]
    caller_name: Option<Vec<String>>,
    /// What becomes of the caller's number on the way to another trunk
    #[arg(long, value_name = "RULES", allow_hyphen_values = true)]
    caller_rules: Option<DialRules>,
    /// What all its calls may use over time: the name of a quota
    #[arg(long)]
    quota: Option<QuotaName>,
}

impl Terms {
    fn read(self) -> Result<RouteTerms, Failure> {
        let terms = RouteTerms {
            matches: self.matches.unwrap_or_default(),
            rules: self.rules.unwrap_or_default(),
            caller_id: trunk::rules("--caller-id", self.caller_id)?,
            caller_name: trunk::rules("--caller-name", self.caller_name)?,
            caller_rules: self.caller_rules.unwrap_or_default(),
            quota: self.quota,
        };
        for (key, rules) in terms.dial_rules() {
            DialPlan::new(rules).map_err(|error| Failure::DialRules(key, error))?;
        }
        Ok(terms)
    }
}

/// Where a route leads: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Way {
    /// The session
    session: Option<SessionName>,
    /// The trunk that calls leave by
    #[arg(long, value_name = "TRUNK")]
    to: Option<TrunkName>,
}

impl Route {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let book = operator.book()?;
        let current = book.current()?;
        match self {
            Route::Test { from, to, via } => {
                let via = match (via, current.trunks.as_slice()) {
                    (Some(via), _) => via,
                    (None, [only]) => only.name.to_string(),
                    (None, _) => {
                        return Err(Failure::Usage(
                            "say with --via which trunk or session the call comes over",
                        ));
                    }
                };
                test(operator, &WantedCall { from, to, via })?;
            }
            Route::Add {
                trunk,
                way,
                priority,
                terms,
            } => {
                let terms = terms.read()?;
                must_exist("trunk", &trunk, current.trunk(&trunk).is_some())?;
                let (said, change) = match (way.session, way.to) {
                    (Some(session), _) => {
                        must_exist("session", &session, current.session(&session).is_some())?;
                        let said =
                            format!("calls of trunk {trunk} go to session {session}, and back");
                        let spec = RouteSpec {
                            trunk,
                            session,
                            priority,
                            terms,
                        };
                        let checked = spec.terms.check_to_session();
                        checked.map_err(|error| Failure::Refused(error.to_string()))?;
                        (said, Change::PutRoute(spec))
                    }
                    (None, Some(to)) => {
                        must_exist("trunk", &to, current.trunk(&to).is_some())?;
                        if to == trunk {
                            return Err(Failure::Usage("a trunk has no way to itself"));
                        }
                        let said = format!(
                            "calls of trunk {trunk} leave by trunk {to}, nothing comes back"
                        );
                        let spec = TransitSpec {
                            trunk,
                            to,
                            priority,
                            terms,
                        };
                        let checked = spec.terms.check_to_trunk();
                        checked.map_err(|error| Failure::Refused(error.to_string()))?;
                        (said, Change::PutTransit(spec))
                    }
                    (None, None) => return Ok(()),
                };
                book.commit(&current, vec![change])?;
                print::line(said);
            }
            Route::List if operator.output == Output::Json => {
                print::json(
                    &(current.routes.iter().map(Listed::from))
                        .chain(current.transits.iter().map(Listed::from))
                        .collect::<Vec<_>>(),
                );
            }
            Route::List => {
                let mut table =
                    Table::new(["trunk", "session", "to", "priority", "match", "rules"]);
                let dash = || "-".to_owned();
                for route in &current.routes {
                    table.row([
                        route.trunk.to_string(),
                        route.session.to_string(),
                        dash(),
                        route.priority.to_string(),
                        shown(&route.terms.matches),
                        shown(&route.terms.rules),
                    ]);
                }
                for way in &current.transits {
                    table.row([
                        way.trunk.to_string(),
                        dash(),
                        way.to.to_string(),
                        way.priority.to_string(),
                        shown(&way.terms.matches),
                        shown(&way.terms.rules),
                    ]);
                }
                table.print(
                    operator.output,
                    "no routes yet: make one with `strowger route add TRUNK SESSION`",
                );
            }
            Route::Remove { trunk, way } => {
                let (said, known, name, change) = match (way.session, way.to) {
                    (Some(session), _) => (
                        format!("trunk {trunk} and session {session} are no longer paired"),
                        (current.routes.iter())
                            .any(|route| route.trunk == trunk && route.session == session),
                        format!("{trunk} {session}"),
                        Change::RemoveRoute(trunk, session),
                    ),
                    (None, Some(to)) => (
                        format!("calls of trunk {trunk} no longer leave by trunk {to}"),
                        (current.transits.iter()).any(|way| way.trunk == trunk && way.to == to),
                        format!("{trunk} --to {to}"),
                        Change::RemoveTransit(trunk, to),
                    ),
                    (None, None) => return Ok(()),
                };
                must_exist("route", &name, known)?;
                book.commit(&current, vec![change])?;
                print::line(said);
            }
        }
        Ok(())
    }
}

/// Prints every step, and what is decided.
fn test(operator: &Operator, wanted: &WantedCall) -> Result<(), Failure> {
    let tried: Tried = operator.api("POST", "/routes/test", Some(wanted))?;
    if operator.output == Output::Json {
        print::json(&tried);
        return Ok(());
    }
    for (at, step) in tried.steps.iter().enumerate() {
        let number = step.number.as_ref();
        let number = number.map_or_else(String::new, |number| format!(" -> {number}"));
        print::line(format_args!("{:>2}  {}{number}", at + 1, step.what));
    }
    print::line(format_args!("=>  {}", tried.decision));
    if let Some(refusal) = &tried.refusal {
        print::line(format_args!("    {}: {}", refusal.cause, refusal.hint));
    }
    Ok(())
}

/// Dial rules in a table.
fn shown(rules: &DialRules) -> String {
    if rules.is_empty() {
        return "-".to_owned();
    }
    rules.to_string()
}

/// A route as programs read it: the records as they are kept.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    Session(&'a RouteSpec),
    Trunk(&'a TransitSpec),
}

impl<'a> From<&'a RouteSpec> for Listed<'a> {
    fn from(route: &'a RouteSpec) -> Self {
        Self::Session(route)
    }
}

impl<'a> From<&'a TransitSpec> for Listed<'a> {
    fn from(way: &'a TransitSpec) -> Self {
        Self::Trunk(way)
    }
}

fn must_exist(
    kind: &'static str,
    name: &impl std::fmt::Display,
    exists: bool,
) -> Result<(), Failure> {
    if exists {
        return Ok(());
    }
    let name = name.to_string();
    Err(Failure::NotFound { kind, name })
}
