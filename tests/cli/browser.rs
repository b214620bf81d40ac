//! Chromium with a made-up authenticator, driven over WebDriver.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    peers::{self, Peer, is_there},
    sidecar::path,
};

const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";

pub struct Browser {
    _driver: Peer,
    _profile: tempfile::TempDir,
    address: String,
    session: String,
}

impl Browser {
    /// A window of this width that prefers this language; none when there is no browser here.
    pub fn start(language: &str, width: u32) -> Option<Browser> {
        if !is_there("Chromium", Path::new(CHROMIUM)) || !is_there("its driver", Path::new(DRIVER)) {
            return None;
        }
        let mut command = Command::new(DRIVER);
        let (driver, url) = peers::start(|port| command.arg(format!("--port={port}")));
        let address = url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned();
        let profile = tempfile::tempdir().unwrap();
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--lang={language}"),
            &format!("--accept-lang={language}"),
            &format!("--window-size={width},1100"),
            &format!("--user-data-dir={}", path(profile.path())),
        ];
        let chrome = json!({ "binary": CHROMIUM, "args": args, "prefs": { "intl.accept_languages": language } });
        let asked = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": chrome, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Browser { _driver: driver, _profile: profile, address, session: String::new() };
        browser.session = browser.command("POST", "/session", &asked)["sessionId"].as_str().unwrap().to_owned();
        let phone = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": { "width": width, "height": 1100, "deviceScaleFactor": 1, "mobile": width < 600 } });
        browser.ask("POST", "goog/cdp/execute", &phone);
        Some(browser)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method, path, body).unwrap();
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer["value"].clone()
    }

    /// The driver keeps its connections open: the answer ends where it says.
    fn send(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json", self.address);
        stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        let mut reader = BufReader::new(stream);
        let (mut status, mut length) = (0, 0);
        for line in reader.by_ref().lines() {
            let line = line?;
            if let Some((_, rest)) = line.split_once("HTTP/1.1 ") {
                status = rest.split(' ').next().unwrap().parse().unwrap();
            }
            if let Some((name, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().unwrap_or_else(|_| panic!("{name}"));
            }
            if line.is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    fn ask(&self, method: &str, what: &str, body: &Value) -> Value {
        self.command(method, &format!("/session/{}/{what}", self.session), body)
    }

    /// Plugs an authenticator in whose owner is there and known to it.
    pub fn authenticator(&self) -> String {
        let made = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserConsenting": true, "isUserVerified": true,
        });
        self.ask("POST", "webauthn/authenticator", &made).as_str().unwrap().to_owned()
    }

    /// Whether the authenticator knows its owner from now on.
    pub fn verified(&self, authenticator: &str, known: bool) {
        let uv = json!({ "isUserVerified": known });
        self.ask("POST", &format!("webauthn/authenticator/{authenticator}/uv"), &uv);
    }

    pub fn open(&self, url: &str) {
        self.ask("POST", "url", &json!({ "url": url }));
    }

    pub fn script(&self, script: &str) -> Value {
        self.ask("POST", "execute/sync", &json!({ "script": script, "args": [] }))
    }

    pub fn text(&self) -> String {
        self.script("return document.body ? document.body.innerText : ''").as_str().unwrap_or_default().to_owned()
    }

    pub fn click(&self, selector: &str) {
        let found = self.ask("POST", "element", &json!({ "using": "css selector", "value": selector }));
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.ask("POST", &format!("element/{element}/click"), &json!({}));
    }

    /// Waits until the page says something.
    pub fn wait(&self, wanted: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if text.contains(wanted) {
                return text;
            }
            let log = || self.log();
            assert!(begun.elapsed() < Duration::from_secs(60), "`{wanted}` is not said:\n{text}\n{:?}", log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What went wrong in the browser since the last time; mere advice is left out.
    pub fn log(&self) -> Vec<String> {
        let log = self.ask("POST", "se/log", &json!({ "type": "browser" }));
        let severe = log.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Keeps a picture of the whole page, when somebody wants to look (`COUNTERSIGN_SCREENSHOTS`).
    pub fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("COUNTERSIGN_SCREENSHOTS") else { return };
        let shot = json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        let png = self.ask("POST", "goog/cdp/execute", &shot)["data"].as_str().unwrap().to_owned();
        let png = data_encoding::BASE64.decode(png.as_bytes()).unwrap();
        fs::write(Path::new(&dir).join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            drop(self.send("DELETE", &format!("/session/{}", self.session), &Value::Null));
        }
    }
}
