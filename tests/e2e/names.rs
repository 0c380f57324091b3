//! A provider that is known by name (RFC 3263), with dnsmasq as the name server.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::deadline::{s, until};
use crate::house::{House, PASSWORD, SESSION, TRUNK};
use crate::pbx::Sipp;
use crate::ports;
use crate::process::Process;
use crate::telegram::Behaviour;

/// A running dnsmasq, whose whole zone is what its options say.
struct NameServer {
    port: u16,
    _process: Process,
}

impl NameServer {
    fn start(dir: &Path, zone: &[String]) -> Self {
        let port = ports::one();
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--pid-file=",
            ])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--user="])
            .args([
                "--listen-address=127.0.0.1",
                "--local=/test/",
                "--log-queries",
            ])
            .args(["--log-facility=-", &format!("--port={port}")])
            .args(zone);
        let process = Process::start("dnsmasq", dir, &mut command, false);
        Self {
            port,
            _process: process,
        }
    }

    /// Tells a house that does not run yet whom to ask.
    fn serve(&self, house: &House) {
        let line = format!("sip.name_servers = \"127.0.0.1:{}\"\n", self.port);
        let file = house.dir().join("strowger.toml");
        let settings = fs::read_to_string(&file).unwrap();
        fs::write(&file, settings + &line).unwrap();
    }
}

/// A trunk at `pbx.test`, whose NAPTR record leads to two servers: this one, and then that one.
fn at_two(first: u16, second: u16) -> (House, NameServer) {
    let house = House::new().account_at("pbx.test", &["alaw"]).build();
    let name_server = NameServer::start(
        house.dir(),
        &[
            "--naptr-record=pbx.test,10,10,s,SIP+D2U,,_sip._udp.somewhere.test".to_owned(),
            format!("--srv-host=_sip._udp.somewhere.test,one.pbx.test,{first},10,0"),
            format!("--srv-host=_sip._udp.somewhere.test,two.pbx.test,{second},20,0"),
            "--host-record=one.pbx.test,127.0.0.1".to_owned(),
            "--host-record=two.pbx.test,127.0.0.1".to_owned(),
        ],
    );
    name_server.serve(&house);
    (house, name_server)
}

#[test]
fn a_provider_is_found_by_its_name_and_where_one_server_is_down_the_next_one_serves() {
    let (first, second) = (ports::one(), ports::one());
    // A server that takes everything and says nothing.
    let silent = UdpSocket::bind(("127.0.0.1", first)).unwrap();
    let (mut house, _name_server) = at_two(first, second);
    let registrar = Sipp::on(house.dir(), "registrar", second)
        .login("1001", PASSWORD)
        .start("registrar");
    let begun = Instant::now();
    house.start();
    let labels = [("trunk", TRUNK), ("state", "registered")];
    house.wait_metric("strowger_registration_state", &labels, 1.0);
    assert!(begun.elapsed() > s(4), "{:?}", begun.elapsed());
    registrar.wait(s(10)).expect_ok();
    assert!(silent.recv(&mut [0; 2000]).is_ok());
    drop(silent);

    // Now the second one is gone; the first one is back and takes the call.
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = Sipp::on(house.dir(), "pbx", first).pause(s(0)).start("uas");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "established", s(10));
    until("the other server to be asked", s(5), || {
        pbx.messages()
            .iter()
            .any(|message| message.start().starts_with("INVITE"))
            .then_some(())
    });
    house.telegram.discard("bobby", &call, "hangup");
    pbx.wait(s(10)).expect_ok();
    house.wait_no_calls();
    house.assert_clean(&["nobody there"]);
}

#[test]
fn a_provider_whose_name_nobody_knows_is_looked_up_again_and_said() {
    let mut house = House::new().account_at("nobody.test", &["alaw"]).build();
    let name_server = NameServer::start(house.dir(), &[]);
    name_server.serve(&house);
    house.start();
    let labels = [("trunk", TRUNK), ("result", "network")];
    house.wait_metric("strowger_registration_attempts_total", &labels, 1.0);
    let says = "no address is known for the name nobody.test";
    assert!(house.log().contains(says));
    house.assert_clean(&["the registrar is not found"]);
    house.stop();
    let (_, tested) = house.command(&["trunk", "test", TRUNK], "");
    assert!(tested.contains(says), "{tested}");
}

#[test]
fn the_doctor_says_where_a_name_leads_and_warns_where_no_way_does() {
    let house = House::new().account_at("pbx.test", &["alaw"]).build();
    let record = "--host-record=pbx.test,127.0.0.1,2001:db8::1".to_owned();
    let name_server = NameServer::start(house.dir(), &[record]);
    name_server.serve(&house);
    let (_, said) = house.command(&["doctor"], "");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" dns ")).collect();
    let has = |verdict: &str, what: &str| {
        let is_it = |line: &&str| line.starts_with(verdict) && line.contains(what);
        assert!(lines.iter().any(is_it), "{verdict} {what}: {said}");
    };
    has("ok", "127.0.0.1:5060");
    has("warn", "2001:db8::1 too, to which this host has no route");
}
