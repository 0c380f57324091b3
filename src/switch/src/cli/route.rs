//! `strowger route`.

use clap::Subcommand;
use model::{RouteSpec, SessionName, TrunkName};
use store::{Change, Store};

use super::Operator;
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::records::{Current, PRIORITY};

#[derive(Debug, Subcommand)]
pub(super) enum Route {
    /// Pair a trunk with a session: calls of one go to the other, both ways
    Add {
        /// The trunk
        trunk: TrunkName,
        /// The session
        session: SessionName,
        /// Order in which the trunks of one session are tried, lower first
        #[arg(long, default_value_t = PRIORITY)]
        priority: u32,
    },
    /// List all routes
    List,
    /// End a pairing
    Remove {
        /// The trunk
        trunk: TrunkName,
        /// The session
        session: SessionName,
    },
}

impl Route {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let store = operator.store()?;
        let current = Current::read(&store)?;
        match self {
            Route::Add {
                trunk,
                session,
                priority,
            } => {
                if current.trunk(&trunk).is_none() {
                    return Err(Failure::NotFound {
                        kind: "trunk",
                        name: trunk.to_string(),
                    });
                }
                if current.session(&session).is_none() {
                    return Err(Failure::NotFound {
                        kind: "session",
                        name: session.to_string(),
                    });
                }
                let said = format!("calls of trunk {trunk} go to session {session}, and back");
                store.commit(
                    Some(current.generation),
                    &[Change::PutRoute(RouteSpec {
                        trunk,
                        session,
                        priority,
                    })],
                )?;
                print::line(said);
            }
            Route::List if operator.output == Output::Json => print::json(&current.routes),
            Route::List => {
                let mut table = Table::new(["trunk", "session", "priority"]);
                for route in &current.routes {
                    table.row([
                        route.trunk.to_string(),
                        route.session.to_string(),
                        route.priority.to_string(),
                    ]);
                }
                table.print("no routes yet: make one with `strowger route add TRUNK SESSION`");
            }
            Route::Remove { trunk, session } => {
                let said = format!("trunk {trunk} and session {session} are no longer paired");
                let known = current
                    .routes
                    .iter()
                    .any(|route| route.trunk == trunk && route.session == session);
                if !known {
                    return Err(Failure::NotFound {
                        kind: "route",
                        name: format!("{trunk} {session}"),
                    });
                }
                store.commit(
                    Some(current.generation),
                    &[Change::RemoveRoute(trunk, session)],
                )?;
                print::line(said);
            }
        }
        Ok(())
    }
}
