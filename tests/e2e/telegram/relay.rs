//! What carries a call when its ends may not meet: coturn, and a model of Telegram's reflectors.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::ports;
use crate::process::{PEERS, PYTHON, Process};
use crate::telegram::Server;

/// The other end of the veth pair (tests/netns.sh): neither the switch's address nor loopback, which coturn does not relay to.
const ADDRESS: &str = "10.77.0.2";
const USERNAME: &str = "caller";
const PASSWORD: &str = "relay-secret-5";
/// Ports of allocations; two for each call.
const RELAY_PORTS: u16 = 60;

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    process: Process,
    connection: Value,
}

impl Relay {
    /// Starts coturn with these further options.
    pub(crate) fn turn(dir: &Path, more: &[&str]) -> Self {
        let (port, relayed) = (ports::one(), ports::block(RELAY_PORTS));
        let mut command = Command::new("turnserver");
        command.current_dir(dir).args([
            // No configuration of the machine, no other listener than this one.
            "-n",
            "--no-tcp",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--no-multicast-peers",
            "--lt-cred-mech",
            "--realm=strowger.test",
            "--log-file=stdout",
            "--simple-log",
            "--verbose",
        ]);
        command.args([
            format!("--listening-ip={ADDRESS}"),
            format!("--relay-ip={ADDRESS}"),
            format!("--listening-port={port}"),
            format!("--min-port={relayed}"),
            format!("--max-port={}", relayed + RELAY_PORTS - 1),
            format!("--user={USERNAME}:{PASSWORD}"),
            format!("--pidfile={}", dir.join("turnserver.pid").display()),
            format!("--userdb={}", dir.join("turndb").display()),
        ]);
        command.args(more);
        let process = Process::start("turnserver", dir, &mut command, false);
        let connection = json!({"type": "webrtc", "ip": ADDRESS, "port": port, "turn": true, "stun": true,
            "username": USERNAME, "password": PASSWORD});
        Self::ready(process, port, connection)
    }

    /// Starts a reflector.
    pub(crate) fn reflector(dir: &Path) -> Self {
        Self::reflector_with(dir, &[])
    }

    /// Starts one with these further options.
    pub(crate) fn reflector_with(dir: &Path, more: &[&str]) -> Self {
        let port = ports::one();
        let mut command = Command::new(PYTHON);
        command.current_dir(PEERS).args([
            "-u",
            "reflector.py",
            "--listen",
            &format!("{ADDRESS}:{port}"),
        ]);
        command.args(more);
        let process = Process::start("reflector", dir, &mut command, false);
        let connection = json!({"type": "reflector", "ip": ADDRESS, "port": port});
        Self::ready(process, port, connection)
    }

    /// Starts a reflector that is reached by TCP.
    pub(crate) fn tcp_reflector(dir: &Path) -> Self {
        let port = ports::one();
        let mut command = Command::new(PYTHON);
        let listen = format!("{ADDRESS}:{port}");
        command
            .current_dir(PEERS)
            .args(["-u", "reflector.py", "--tcp", "--listen", &listen]);
        let process = Process::start("reflector-tcp", dir, &mut command, false);
        let connection = json!({"type": "reflector", "ip": ADDRESS, "port": port, "tcp": true});
        until("the reflector to listen", s(10), || {
            process.log().contains("ready").then_some(())
        });
        Self {
            process,
            connection,
        }
    }

    fn ready(mut process: Process, port: u16, connection: Value) -> Self {
        until("the relay to listen", s(10), || {
            assert!(process.is_running(), "{}", process.log());
            UdpSocket::bind((ADDRESS, port)).is_err().then_some(())
        });
        Self {
            process,
            connection,
        }
    }

    /// Lets Telegram offer it for the calls to come.
    pub(crate) fn offered_by(&self, telegram: &Server) {
        telegram.set(json!({"connections": [self.connection]}));
    }

    /// What Telegram says of it.
    pub(crate) fn connection(&self) -> Value {
        self.connection.clone()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Lets a reflector that is reached by TCP close the connection from this address.
    pub(crate) fn drop_connection(&self, from: SocketAddr) {
        let port = u16::try_from(self.connection["port"].as_u64().unwrap()).unwrap();
        let mut control = TcpStream::connect((ADDRESS, port)).unwrap();
        control
            .write_all(format!("drop{from}\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        control.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "done", "nobody is connected from {from}");
    }

    /// Lets everything that it should carry get lost, until [`Relay::resume`].
    pub(crate) fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Goes on; what has waited in its socket arrives late.
    pub(crate) fn resume(&self) {
        self.process.signal("CONT");
    }
}
