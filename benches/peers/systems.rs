//! The systems that are compared: what each is made of, its configuration, how it starts and ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};

const COUNTERSIGN: &str = env!("CARGO_BIN_EXE_countersign");

/// In the order of the table.
pub const NAMES: [&str; 5] = ["nginx", "nginx auth_request", "envoy ext_authz", "envoy ext_authz sync", "countersign"];

/// How many instructions the calls are spread over.
const INSTRUCTIONS: usize = 64;

const CATALOGUE: &str = r#"
upstream = "api"
[[action]]
name = "balance.read"
method = "GET"
path = "/balance"
effect = "read"
[action.response.first_party]
"/balance" = "money"
"#;

/// Where everything is kept: on the disk that the ledger would be on.
pub struct World(tempfile::TempDir);

impl World {
    pub fn new() -> anyhow::Result<World> {
        let parent = std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let dir = tempfile::Builder::new().prefix("peers").tempdir_in(parent)?;
        // nginx gives up root's rights, if it has them.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(World(dir))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // With SIGTERM first: a killed nginx leaves its workers behind.
        if !matches!(self.0.try_wait(), Ok(Some(_))) && self.terminate().is_err() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Process(
            command.stdin(Stdio::null()).spawn().with_context(|| format!("{name}: benches/peers/setup installs it"))?,
        ))
    }

    fn terminate(&self) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "kill failed");
        Ok(())
    }

    /// With SIGTERM, and waited for.
    fn end(mut self) -> anyhow::Result<()> {
        self.terminate()?;
        self.0.wait()?;
        Ok(())
    }
}

fn free() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn reachable(address: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// nginx that answers each request with 50 bytes of JSON.
pub struct Upstream {
    address: String,
    _process: Process,
}

impl Upstream {
    pub fn start(world: &World) -> anyhow::Result<Upstream> {
        let address = free()?;
        let body = r#"{"balance":"1810.00","currency":"EUR","owner":"e"}"#;
        let server = format!(
            "server {{ listen {address}; keepalive_requests 1000000; default_type application/json; location / {{ return 200 '{body}'; }} }}"
        );
        let process = nginx(&world.path().join("upstream"), &server)?;
        reachable(&address)?;
        Ok(Upstream { address, _process: process })
    }
}

fn nginx(dir: &Path, server: &str) -> anyhow::Result<Process> {
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    let at = dir.display();
    let config = format!(
        "worker_processes 2; daemon off; pid {at}/pid; error_log {at}/error.log error;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {at}/1; proxy_temp_path {at}/2; fastcgi_temp_path {at}/3; uwsgi_temp_path {at}/4; scgi_temp_path {at}/5;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\";\n{server}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), config)?;
    Process::start(
        Command::new("nginx")
            .arg("-c")
            .arg(dir.join("nginx.conf"))
            .arg("-p")
            .arg(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}

/// One of [`NAMES`], running.
pub struct System {
    pub address: String,
    /// From the start of the process to the line that says it is ready; only ours says so.
    pub started: Duration,
    dir: PathBuf,
    processes: Vec<Process>,
}

impl System {
    pub fn start(world: &World, upstream: &Upstream, name: &str) -> anyhow::Result<System> {
        let dir = world.path().join(name.replace(' ', "-"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        if name == "countersign" {
            configure(&dir, upstream)?;
            return System::countersign(dir);
        }
        let address = free()?;
        let mut processes = Vec::new();
        let mut authorizer = |file: Option<PathBuf>| -> anyhow::Result<String> {
            let listen = free()?;
            processes
                .push(Process::start(Command::new(std::env::current_exe()?).args(["authorizer", &listen]).args(file))?);
            reachable(&listen)?;
            Ok(listen)
        };
        let to = format!("upstream api {{ server {}; keepalive 64; keepalive_requests 1000000; }}", upstream.address);
        let listen = format!("listen {address}; keepalive_requests 1000000;");
        let log = dir.join("access.log");
        let system = match name {
            "nginx" => nginx(&dir, &format!("{to}\nserver {{ {listen} location / {{ proxy_pass http://api; }} }}"))?,
            "nginx auth_request" => {
                let authorizer = authorizer(None)?;
                nginx(
                    &dir,
                    &format!(
                        "{to}\nupstream auth {{ server {authorizer}; keepalive 64; keepalive_requests 1000000; }}\nserver {{ {listen} access_log {} combined;\n\
                         location / {{ auth_request /auth; proxy_pass http://api; }}\n\
                         location = /auth {{ internal; proxy_pass http://auth; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }} }}",
                        log.display()
                    ),
                )?
            }
            "envoy ext_authz" => envoy(&dir, &address, &upstream.address, &authorizer(None)?)?,
            "envoy ext_authz sync" => {
                let decisions = dir.join("decisions.jsonl");
                envoy(&dir, &address, &upstream.address, &authorizer(Some(decisions))?)?
            }
            other => anyhow::bail!("no system is called {other}"),
        };
        processes.push(system);
        reachable(&address)?;
        fs::write(dir.join("tokens"), "none\n".repeat(INSTRUCTIONS))?;
        Ok(System { address, started: Duration::ZERO, dir, processes })
    }

    /// On the directory that [`configure`] made.
    pub fn countersign(dir: PathBuf) -> anyhow::Result<System> {
        let begun = Instant::now();
        let mut process = Command::new(COUNTERSIGN)
            .args(["serve", "--config"])
            .arg(dir.join("countersign.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map(Process)?;
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().context("no output")?).read_line(&mut line)?;
        let started = begun.elapsed();
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("countersign said: {line}"))?;
        let at = |name: &str| ready[name].as_str().map(str::to_owned).context("countersign names no address");
        let (address, api) = (at("gateway")?, at("api")?);
        let secret = fs::read_to_string(dir.join("host.secret"))?;
        let tokens = (0..INSTRUCTIONS).map(|_| instruct(&api, &secret)).collect::<anyhow::Result<Vec<_>>>()?;
        fs::write(dir.join("tokens"), tokens.join("\n") + "\n")?;
        Ok(System { address, started, dir, processes: vec![process] })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file with a token in each line.
    pub fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    /// Those of the system and what they started; not the upstream's.
    pub fn processes(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.processes.iter().map(|process| process.0.id()).collect();
        for id in all.clone() {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        all
    }

    /// Ends it in order, so that what it has to write is written.
    pub fn stop(self) -> anyhow::Result<()> {
        self.processes.into_iter().rev().try_for_each(Process::end)
    }
}

/// A configuration, as `keys new` and an editor would make it.
pub fn configure(dir: &Path, upstream: &Upstream) -> anyhow::Result<()> {
    let made =
        Command::new(COUNTERSIGN).args(["keys", "new", "host", "--party", "host", "--secret", "--json"]).output()?;
    let made: Value = serde_json::from_slice(&made.stdout)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("keys new gave no text");
    let private = |name: &str, content: &str| -> anyhow::Result<()> {
        fs::write(dir.join(name), content)?;
        Ok(fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600))?)
    };
    private("host.secret", &text(&made["secret"])?)?;
    private("api.key", "a-secret-of-the-api-0123456789")?;
    fs::write(dir.join("api.toml"), CATALOGUE)?;
    let config = format!(
        "origin = \"api.example/agents\"\n[ledger]\ndirectory = \"ledger\"\nkeys = \"keys\"\nreserve_mib = 64\n[gateway]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"api\"\nurl = \"http://{}\"\ncatalogue = \"api.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"api.key\" }}\n\
         [[credential]]\nrole = \"host\"\nparty = \"host\"\nsha256 = \"{}\"\n",
        upstream.address,
        text(&made["credential"]["sha256"])?
    );
    Ok(fs::write(dir.join("countersign.toml"), config)?)
}

/// Registers an instruction; gives the agent's token.
fn instruct(api: &str, secret: &str) -> anyhow::Result<String> {
    let body = json!({ "words": "what is my balance?", "principal": "ann", "agent": "agent", "scope": { "actions": ["balance.read"] } }).to_string();
    let mut stream = TcpStream::connect(api)?;
    write!(
        stream,
        "POST /v1/instructions HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        secret.trim(),
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let json =
        answer.split_once("\r\n\r\n").map(|(_, body)| body).and_then(|body| serde_json::from_str::<Value>(body).ok());
    json.and_then(|json| json["token"].as_str().map(str::to_owned)).with_context(|| format!("no token: {answer}"))
}

/// With two threads; its access log is a file.
fn envoy(dir: &Path, address: &str, upstream: &str, authorizer: &str) -> anyhow::Result<Process> {
    let socket = |address: &str| {
        let (host, port) = address.split_once(':').unwrap_or_default();
        json!({ "socket_address": { "address": host, "port_value": port.parse::<u16>().unwrap_or_default() } })
    };
    let cluster = |name: &str, address: &str| {
        json!({ "name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }] } })
    };
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let config = json!({ "static_resources": {
        "listeners": [{ "name": "agents", "address": socket(address), "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "agents",
                "access_log": [{ "name": "file", "typed_config": { "@type": kind("access_loggers.file.v3.FileAccessLog"), "path": dir.join("access.log") } }],
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "api" } }] }] },
                "http_filters": [
                    { "name": "envoy.filters.http.ext_authz", "typed_config": {
                        "@type": kind("filters.http.ext_authz.v3.ExtAuthz"),
                        "http_service": { "server_uri": { "uri": format!("http://{authorizer}"), "cluster": "authorizer", "timeout": "5s" } } } },
                    { "name": "envoy.filters.http.router", "typed_config": { "@type": kind("filters.http.router.v3.Router") } }
                ]
            }
        }] }] }],
        "clusters": [cluster("api", upstream), cluster("authorizer", authorizer)]
    } });
    let file = dir.join("envoy.json");
    fs::write(&file, config.to_string())?;
    let program = std::env::var_os("ENVOY").unwrap_or_else(|| "target/peers/envoy".into());
    Process::start(
        Command::new(program)
            .args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "error", "-c"])
            .arg(file)
            .stdout(Stdio::null()),
    )
}
