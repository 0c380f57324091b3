//! Plain HTTP on loopback: the simulator's control API and our own admin listener.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// One server, by its base address.
#[derive(Debug)]
pub(crate) struct Http {
    base: String,
    agent: Agent,
    /// What is sent as `Authorization`.
    authorization: Option<String>,
    /// What is sent as `Accept`.
    accept: Option<String>,
}

impl Http {
    pub(crate) fn new(base: impl Into<String>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self {
            base: base.into(),
            agent: config.into(),
            authorization: None,
            accept: None,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        let address = self.base.trim_start_matches("http://");
        address.parse().unwrap()
    }

    /// The same server, asked with a token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            authorization: Some(format!("Bearer {token}")),
            ..Self::new(self.base.clone())
        }
    }

    /// The same server, asked for another form of its answers.
    pub(crate) fn accepting(&self, form: &str) -> Self {
        Self {
            authorization: self.authorization.clone(),
            accept: Some(form.to_owned()),
            ..Self::new(self.base.clone())
        }
    }

    fn with<T>(&self, request: ureq::RequestBuilder<T>) -> ureq::RequestBuilder<T> {
        let request = match &self.accept {
            Some(form) => request.header("Accept", form),
            None => request,
        };
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// Status and body; `None` when nobody answers.
    pub(crate) fn text(&self, path: &str) -> Option<(u16, String)> {
        let request = self.with(self.agent.get(self.url(path)));
        let mut response = request.call().ok()?;
        Some((
            response.status().as_u16(),
            response.body_mut().read_to_string().ok()?,
        ))
    }

    /// The JSON of a GET that must succeed.
    pub(crate) fn get(&self, path: &str) -> Value {
        checked(path, self.with(self.agent.get(self.url(path))).call())
    }

    /// The status of a DELETE.
    pub(crate) fn delete(&self, path: &str) -> u16 {
        let answer = self.with(self.agent.delete(self.url(path))).call();
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        answer.status().as_u16()
    }

    /// The JSON of a POST that must succeed.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        checked(path, self.agent.post(self.url(path)).send_json(body))
    }

    /// Status and JSON of any request; null where nothing is said.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(self.url(path));
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.header("Content-Type", "application/json");
        let answer = self.agent.run(request.body(text).unwrap());
        let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = answer.body_mut().read_to_string().unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        (answer.status().as_u16(), json)
    }

    /// The JSON of a PATCH that must succeed.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Value {
        checked(path, self.agent.patch(self.url(path)).send_json(body))
    }

    /// The status of a PUT of what was seen at a generation.
    pub(crate) fn try_put(&self, path: &str, generation: &str, body: &Value) -> u16 {
        let request = self.with(self.agent.put(self.url(path)));
        let answer = request.header("If-Match", generation).send_json(body);
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        answer.status().as_u16()
    }

    /// Status and JSON of a POST, with these headers.
    pub(crate) fn try_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, Value) {
        let mut request = self.with(self.agent.post(self.url(path)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send_json(body);
        let mut response = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = response.body_mut().read_to_string().unwrap_or_default();
        (
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or_default(),
        )
    }

    /// Reads what comes for as long as it comes, in a thread of its own.
    pub(crate) fn listen(&self, path: &str) -> Listener {
        self.listen_with(path, &[])
    }

    /// The same with further headers.
    pub(crate) fn listen_with(&self, path: &str, headers: &[(&str, &str)]) -> Listener {
        let mut request = self.with(self.agent.get(self.url(path)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.call();
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.status(), 200, "{path}");
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(answer.into_body().into_reader()).lines();
            for line in lines.map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Listener(lines)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// What comes, line by line.
#[derive(Debug)]
pub(crate) struct Listener(mpsc::Receiver<String>);

impl Listener {
    /// The next line.
    pub(crate) fn next_line(&self, limit: Duration) -> String {
        self.0.recv_timeout(limit).expect("a line")
    }

    /// The data of the next event.
    pub(crate) fn next_event(&self, limit: Duration) -> Value {
        loop {
            let line = self.next_line(limit);
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap_or_else(|_| panic!("{data}"));
            }
        }
    }
}

fn checked(path: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let mut response = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    let body = response.body_mut().read_to_string().unwrap();
    assert!(
        response.status().is_success(),
        "{path}: {} {body}",
        response.status()
    );
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}
