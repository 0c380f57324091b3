//! `strowger session harden`: the account's settings at Telegram that suit a switch.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use model::SessionName;
use net::telegram::Storage;
use store::Store;

use super::Operator;
use super::conversation::LoginFailure;
use super::session::{find, must_be_ours};
use crate::api::WantedHardening;
use crate::boot;
use crate::failure::Failure;
use crate::hardening::{self, Row, Setting};
use crate::keys::Keys;
use crate::print::{self, Output, Table};
use crate::records::Current;

#[derive(Debug, Args)]
pub(super) struct Harden {
    /// Its name
    name: SessionName,
    /// Only these; without, all four
    #[arg(value_enum)]
    only: Vec<Setting>,
    /// The second try comes so many seconds later instead of a day; only with telegram.test_dc
    #[arg(long, value_name = "SECONDS", hide = true)]
    test_retry: Option<u64>,
}

impl Harden {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let params = boot::telegram_params(&operator.settings()?);
        if !operator.is_afar() && self.test_retry.is_some() && params.test_dc.is_none() {
            return Err(Failure::Usage("--test-retry is for telegram.test_dc alone"));
        }
        let failed = |failure| Failure::Login(self.name.clone(), failure);
        let wanted = WantedHardening {
            settings: self.only.clone(),
            test_retry: self.test_retry,
        };
        let path = format!("/sessions/{}/harden", self.name);
        let rows = match operator.api_of_session("POST", &path, Some(&wanted), &self.name)? {
            Some(rows) => rows,
            None => self.without_switch(operator, &params)?,
        };
        let is_failed = rows.iter().any(Row::is_failed);
        show(operator.output, rows);
        if is_failed {
            return Err(failed(LoginFailure::NotAllSet));
        }
        Ok(())
    }

    /// Over a connection for this alone.
    fn without_switch(
        &self,
        operator: &Operator,
        params: &net::telegram::Params,
    ) -> Result<Vec<Row>, Failure> {
        let store: Arc<dyn Store> = Arc::new(operator.store()?);
        find(&Current::read(&*store)?, &self.name)?;
        must_be_ours(&*store, &self.name)?;
        let storage: Arc<dyn Storage> = Arc::new(Keys::new(Arc::clone(&store), self.name.clone()));
        let actions = Setting::actions(&self.only);
        let failed = |failure| Failure::Login(self.name.clone(), failure);
        let retry = self.test_retry.map(Duration::from_secs);
        let done = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| failed(LoginFailure::Runtime(source)))?
            .block_on(net::telegram::harden(params, storage, &actions, retry))
            .map_err(|error| failed(error.into()))?;
        Ok(hardening::rows(&done))
    }
}

fn show(output: Output, rows: Vec<Row>) {
    if output == Output::Json {
        return print::json(&rows);
    }
    let mut table = Table::new(["setting", "result", ""]);
    for row in rows {
        table.row([row.setting, row.result, row.detail]);
    }
    table.print(output, "nothing was to be set");
}
