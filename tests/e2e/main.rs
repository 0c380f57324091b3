//! The real binary against real peers: `make e2e`, `make interop`.
//!
//! `house` starts the switch, `telegram` and `pbx` start the two worlds it stands between, and each of the other modules
//! is a subject. Tests run side by side: every one has its own ports, its own folder in `target/e2e` and its own Telegram.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test panics, so that the line is seen"
)]

mod deadline;
mod house;
mod http;
mod metrics;
mod pbx;
mod ports;
mod process;
mod talk;
mod telegram;
mod tone;

mod accounts;
mod afar;
mod alerts;
mod api;
mod backups;
mod bridge;
mod cdr_files;
mod clocks;
mod configs;
mod connections;
mod crash;
mod demo;
mod dial;
mod digits;
mod disk;
mod doctor;
mod endings;
mod events;
mod exchange;
mod failures;
mod features;
mod flood;
mod gateway;
mod hunt;
mod interop;
mod ipv6;
mod limits;
mod link;
mod login;
mod manners;
mod matrix;
mod names;
mod neighbours;
mod operator;
mod overload;
mod peers;
mod people;
mod pool;
mod quality;
mod quotas;
mod records;
mod refusals;
mod registration;
mod relays;
mod reload;
mod restart;
mod roles;
mod rough;
mod rows;
mod secrets;
mod shutdown;
mod soak;
mod srtp;
#[path = "../bench/storm.rs"]
#[allow(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "shared with the benchmark"
)]
mod storm;
mod supervision;
mod survival;
mod texts;
mod transit;
mod trunks;
mod web;
mod webhooks;
