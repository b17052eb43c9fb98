//! The package covalent-https: who gets in from a second machine, and who does not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::packages::{
    DIST, Family, PYTHON, UPGRADE, builder, installed, journal, open_sockets, wait_for_answer,
};
use machine::{ADDRESS, Machine, browser, run, wait_until};

const NAME: &str = "server.example.org";

/// The address by that name.
const PLACE: &str = "https://server.example.org:48443";

/// How long the proxy may take to do what it was told, on two busy cores.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than the minute for which wrong passwords count.
const PARDON_LIMIT: Duration = Duration::from_secs(150);

/// What stands in for the server where it is to be seen which headers reach it.
const ECHO: &str = r#"
import http.server, json, os, socketserver

class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

path = "/run/covalent-https/socket"
if os.path.exists(path):
    os.unlink(path)
server = socketserver.ThreadingUnixStreamServer(path, Echo)
os.chmod(path, 0o660)
server.serve_forever()
"#;

/// What a client claims to be, in every way of writing that some server reads.
const CLAIMS: [&str; 17] = [
    "X-Forwarded-User: root",
    "x_forwarded_user: root",
    "X-Forwarded_User: root",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: evil.example.net",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1;proto=http",
    "Remote-User: root",
    "REMOTE_USER: root",
    "X-Remote-User: root",
    "X-Auth-Request-User: root",
    "X-Authenticated-User: root",
    "X-User: root",
    "Proxy-Authorization: Basic cm9vdDpyb290",
    "Proxy: http://evil.example.net",
    "Connection: X-Forwarded-User, X-Forwarded-For",
];

/// A server that other machines know by a name, with the package.
fn server(suite: &str) -> Result<Machine> {
    let server = installed(suite)?;
    let sockets = open_sockets(&server)?;
    let said = server.ok(&format!(
        "echo '{ADDRESS} {NAME} server' >>/etc/hosts
         hostname server
         apt-get install --yes /srv/packages/haproxy/*.deb /dist/covalent-https_*.deb 2>&1"
    ))?;
    ensure!(
        said.contains(PLACE) && said.contains("No user yet: sudo covalentctl user add NAME"),
        "{said}"
    );
    wait_for_answer(&server, 48008)?;
    let opened: Vec<String> = open_sockets(&server)?
        .into_iter()
        .filter(|place| !sockets.contains(place) && !place.ends_with(":48443"))
        .collect();
    ensure!(opened.is_empty(), "the installation opens {opened:?}");
    Ok(server)
}

/// A second machine, whose user alice has what a client needs.
fn client(server: &Machine) -> Result<Machine> {
    let client = builder("bookworm")
        .installed()
        .neighbour_of(server)?
        .boot()?;
    client.ok(&format!(
        "systemctl disable --now covalent; echo '{ADDRESS} {NAME} server' >>/etc/hosts"
    ))?;
    let added = server.ok("covalentctl user add alice")?;
    let line = added
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("machine "))
        .with_context(|| added.clone())?;
    // Whoever may use the machine may print it.
    let authority = server.as_user("alice", "covalentctl https ca")?;
    client.write_file("/home/alice/ca.pem", &authority.stdout, 0o644)?;
    client.write_file("/home/alice/.netrc", format!("{line}\n"), 0o600)?;
    client.ok("chown alice:alice /home/alice/.netrc")?;
    Ok(client)
}

/// `tests/workflows/https.py` as alice on the second machine.
fn attempts(client: &Machine, what: &str) -> Result<String> {
    let output = client
        .script(&format!(
            "python3 /workflows/https.py {what} --host {NAME} --ca ca.pem --netrc .netrc"
        ))
        .user("alice")
        .limit(Duration::from_secs(300))
        .run()?;
    ensure!(output.success(), "{output}");
    Ok(output.stdout)
}

/// The status that alice's login gets.
fn status(machine: &Machine) -> Result<String> {
    machine.ok(&format!(
        "curl --silent --cacert /home/alice/ca.pem --netrc-file /home/alice/.netrc --output /dev/null \
             --max-time 30 --write-out '%{{http_code}}' {PLACE}/api/v2/dispatches || true"
    ))
}

/// Nobody gets in without a login, or gets past what the login is for.
fn nobody_gets_in(suite: &str) -> Result<()> {
    let server = server(suite)?;
    let client = client(&server)?;
    let passed = attempts(&client, "refusals")?;
    ensure!(passed.matches("PASS ").count() >= 9, "{passed}");
    ensure!(status(&client)? == "200");
    what_the_log_says(&server, &client)?;
    local_users_do_not_reach_the_socket(&server)?;
    the_unit_is_confined(&server)?;
    the_eleventh_wrong_password(&server, &client)?;
    what_clients_claim_does_not_arrive(&server, &client)
}

/// What HAProxy has logged, once all of this is in it: it logs a request when that has ended, and a client that
/// has its answer does not wait for it.
fn logged(server: &Machine, parts: &[&str]) -> Result<String> {
    wait_until("what HAProxy logs", LIMIT, || {
        let log = journal(server, "--unit covalent-https")?;
        for part in parts {
            ensure!(log.contains(part), "{part:?} is missing: {log}");
        }
        anyhow::Ok(log)
    })
}

/// Who did what, and no secret.
fn what_the_log_says(server: &Machine, client: &Machine) -> Result<()> {
    let log = logged(
        server,
        &[" alice GET /api/v2/dispatches 200 ", " - GET / 401 "],
    )?;
    let password = client.ok("sed 's/.* //' /home/alice/.netrc")?;
    for secret in [password.trim(), "Basic", "uthorization", "count=1"] {
        ensure!(!log.contains(secret), "{secret:?} is in the log: {log}");
    }
    let journal = server.ok("journalctl --no-pager; ps -eo args")?;
    ensure!(
        !journal.contains(password.trim()),
        "the password is in the journal or in the list of processes"
    );
    Ok(())
}

/// Users of the machine, and the proxy's own secrets.
fn local_users_do_not_reach_the_socket(server: &Machine) -> Result<()> {
    server.ok("useradd --create-home bob")?;
    let ask = "curl --silent --show-error --unix-socket /run/covalent-https/socket http://x/ 2>&1";
    let refused = server.as_user("bob", ask)?;
    ensure!(refused.code() == Some(7), "{refused}");
    let reached = server.ok(&format!(
        "runuser -u covalent-https -- sh -c '{}'",
        ask.replace("http://x/", &format!("http://{NAME}/"))
    ))?;
    ensure!(
        reached.contains("<html"),
        "not even the proxy does: {reached}"
    );
    for path in ["users.cfg", "server.pem", "ca.key"] {
        for user in ["bob", "covalent"] {
            let read = server.sh(&format!(
                "runuser -u {user} -- cat /etc/covalent/https/{path}"
            ))?;
            ensure!(!read.success(), "{user} reads {path}: {read}");
        }
    }
    let read = server.sh("runuser -u covalent-https -- cat /etc/covalent/https/ca.key")?;
    ensure!(
        !read.success(),
        "the proxy reads the authority's key: {read}"
    );
    Ok(())
}

/// The proxy's own unit and account, and nothing of the distribution's haproxy.service.
fn the_unit_is_confined(server: &Machine) -> Result<()> {
    let exposure = server.ok("systemd-analyze security --no-pager covalent-https.service")?;
    let line = exposure
        .lines()
        .find(|line| line.contains("Overall exposure"))
        .with_context(|| exposure.clone())?;
    let number = line
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok())
        .with_context(|| line.to_string())?;
    ensure!(number <= 1.5, "{line}");
    let owner = server.ok("ps -o user:20= -C haproxy | sort | uniq -c")?;
    ensure!(owner.contains("covalent-https"), "{owner}");
    let changed = server.ok("dpkg --verify haproxy")?;
    ensure!(changed.trim().is_empty(), "{changed}");
    let told = server.sh("covalentctl doctor")?;
    for name in ["https.env", "https", "certificate"] {
        ensure!(told.text().contains(&format!("good  {name}: ")), "{told}");
    }
    Ok(())
}

/// It makes its address wait, nobody else's, and for a minute.
fn the_eleventh_wrong_password(server: &Machine, client: &Machine) -> Result<()> {
    // The attempts before had some, which another start forgets.
    server.ok("systemctl restart covalent-https")?;
    wait_until("the proxy", LIMIT, || {
        ensure!(status(client)? == "200");
        anyhow::Ok(())
    })?;
    let passed = attempts(client, "limit")?;
    ensure!(passed.contains("PASS eleventh"), "{passed}");
    server.ok("install -m 0644 /etc/covalent/https/ca.pem /home/alice/ca.pem")?;
    let netrc = client.read_file("/home/alice/.netrc")?;
    server.write_file("/home/alice/.netrc", netrc, 0o600)?;
    ensure!(status(server)? == "200", "another address waits as well");
    ensure!(status(client)? == "429", "the address does not wait");
    wait_until("the end of the minute", PARDON_LIMIT, || {
        ensure!(status(client)? == "200");
        anyhow::Ok(())
    })
}

/// A stand-in for the server shows which headers reach it.
fn what_clients_claim_does_not_arrive(server: &Machine, client: &Machine) -> Result<()> {
    server
        .script(
            "systemctl stop covalent
             systemd-run --quiet --collect --unit echo -p User=covalent python3 -c \"$1\"",
        )
        .arguments([ECHO])
        .ok()?;
    wait_until("the stand-in", LIMIT, || {
        ensure!(status(client)? == "200");
        anyhow::Ok(())
    })?;
    let claims = CLAIMS.map(|claim| format!("--header '{claim}'")).join(" ");
    let answer = client.ok(&format!(
        "curl --silent --fail --cacert /home/alice/ca.pem --netrc-file /home/alice/.netrc {claims} \
             --header 'Cookie: a=b' {PLACE}/"
    ))?;
    let headers: Vec<(String, String)> = serde_json::from_str(&answer)?;
    let mut found = headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.as_str()))
        .filter(|(name, _)| {
            !["host", "user-agent", "accept", "connection"].contains(&name.as_str())
        })
        .collect::<Vec<_>>();
    found.sort_unstable();
    let expected = [
        ("x-forwarded-for", machine::NEIGHBOUR),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-user", "alice"),
    ];
    let expected = expected.map(|(name, value)| (name.to_string(), value));
    ensure!(found == expected, "{found:?}");
    let host = headers
        .iter()
        .find(|(name, _)| name.to_lowercase() == "host");
    let place = PLACE.trim_start_matches("https://");
    ensure!(host.is_some_and(|(_, value)| value == place), "{host:?}");
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nobody_gets_in_without_a_login_on_bookworm() -> Result<()> {
    nobody_gets_in("bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nobody_gets_in_without_a_login_on_trixie() -> Result<()> {
    nobody_gets_in("trixie")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn nobody_gets_in_without_a_login_on_sid() -> Result<()> {
    nobody_gets_in("sid")
}

/// Everything but what Covalent's client can't do over https.
const WORKFLOWS: &str =
    "tasks,local,executors,sublattice,failing,work,pip,bash,redispatch,transfer,cancel";

#[test]
#[ignore = "boots machines: scripts/test"]
fn workflows_run_from_a_second_machine_and_outlast_restarts_of_the_server() -> Result<()> {
    let server = server("bookworm")?;
    let client = client(&server)?;
    let sample = format!(
        "NETRC=$HOME/.netrc REQUESTS_CA_BUNDLE=$HOME/ca.pem \
         {PYTHON} /workflows/sample.py --address https://{NAME} --port 48443 --only {WORKFLOWS}"
    );
    let output = client
        .script(&sample)
        .user("alice")
        .limit(Duration::from_secs(900))
        .run()?;
    let kinds = WORKFLOWS.split(',').count();
    ensure!(
        output.success() && output.stdout.matches("PASS ").count() == kinds,
        "{output}"
    );
    clients_wait_while_the_server_restarts(&server, &client)?;
    a_removed_user_is_out(&server, &client)?;
    it_can_be_upgraded_and_removed(&server)
}

/// What a client saw meanwhile: how often each answer came.
fn meanwhile(
    client: &Machine,
    seconds: u32,
    act: impl FnOnce() -> Result<()>,
) -> Result<serde_json::Value> {
    client.ok(&format!(
        "rm -f /tmp/steady
         systemd-run --quiet --collect --unit steady -p StandardOutput=file:/tmp/steady \\
             python3 /workflows/https.py steady {seconds} --host {NAME} --ca /home/alice/ca.pem \\
             --netrc /home/alice/.netrc"
    ))?;
    act()?;
    let text = wait_until("what the client saw", LIMIT * 2, || {
        let text = client.ok("cat /tmp/steady")?;
        ensure!(text.ends_with('\n'), "{text}");
        anyhow::Ok(text)
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// Only 200: the socket is kept while the server restarts, and a reload takes nothing away.
fn clients_wait_while_the_server_restarts(server: &Machine, client: &Machine) -> Result<()> {
    let seen = meanwhile(client, 25, || {
        server.ok("systemctl restart covalent")?;
        for _ in 0..5 {
            server.ok("systemctl reload covalent-https; sleep 1")?;
        }
        Ok(())
    })?;
    let answers = seen["answers"].as_object().context("no answers")?;
    ensure!(answers.len() == 1 && answers.contains_key("200"), "{seen}");
    // The proxy itself comes back from whatever ends it.
    server.ok("systemctl kill --signal KILL --kill-who main covalent-https")?;
    wait_until("the proxy", LIMIT, || {
        ensure!(status(client)? == "200");
        anyhow::Ok(())
    })?;
    // Of a server that is stopped, the proxy says so at once.
    server.ok("systemctl stop covalent")?;
    ensure!(status(client)? == "503");
    server.ok("systemctl start covalent")?;
    ensure!(status(client)? == "200");
    Ok(())
}

/// Opens the page's websocket and says when it is open, and when it is closed.
const WEBSOCKET: &str = r#"
import sys
sys.path.insert(0, "/workflows")
import https, netrc
host = sys.argv[1]
name, _, password = netrc.netrc("/home/alice/.netrc").authenticators(host)
server = https.Server(host, 48443, "/home/alice/ca.pem", (name, password))
lines = [
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", f"Host: {server.place}",
    f"Origin: https://{server.place}", "Connection: Upgrade", "Upgrade: websocket",
    "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    https.authorization(name, password),
]
with server.connect() as connection:
    connection.settimeout(120)
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    print("open", https.status(connection.recv(65536)), flush=True)
    while connection.recv(65536):
        pass
print("closed", flush=True)
"#;

fn a_removed_user_is_out(server: &Machine, client: &Machine) -> Result<()> {
    client
        .script(
            "systemd-run --quiet --collect --unit websocket -p StandardOutput=file:/tmp/websocket \
                 python3 -B -c \"$1\" \"$2\"",
        )
        .arguments([WEBSOCKET, NAME])
        .ok()?;
    let seen = |expected: &str| {
        let text = client.ok("cat /tmp/websocket")?;
        ensure!(text == expected, "{text:?}");
        anyhow::Ok(())
    };
    wait_until("the websocket", LIMIT, || seen("open 101\n"))?;
    // Somebody else stays.
    server.ok("covalentctl user add bob; covalentctl user remove alice")?;
    wait_until("the end of her login", LIMIT, || {
        ensure!(status(client)? == "401");
        anyhow::Ok(())
    })?;
    wait_until("the end of her websocket", LIMIT, || {
        seen("open 101\nclosed\n")
    })?;
    ensure!(server.ok("covalentctl user list")? == "bob\n");
    Ok(())
}

fn it_can_be_upgraded_and_removed(server: &Machine) -> Result<()> {
    let before = server.ok("cat /etc/covalent/https/*")?;
    let names = [
        "covalent-common",
        "covalent",
        "covalent-wheels",
        "covalent-https",
    ];
    Family::Deb.install_these(server, UPGRADE, &names)?;
    wait_for_answer(server, 48008)?;
    ensure!(
        server.ok("cat /etc/covalent/https/*")? == before,
        "an upgrade makes them anew"
    );
    ensure!(
        server.ok("systemctl is-active covalent-https covalent-https-renew.timer")?
            == "active\nactive\n"
    );
    server.ok("apt-get remove --yes covalent-https")?;
    ensure!(server.exists("/etc/covalent/https/users.cfg")?);
    ensure!(!server.exists("/run/covalent-https")?);
    server.ok("systemctl restart covalent")?;
    wait_for_answer(server, 48008)?;
    server.ok("apt-get purge --yes covalent-https")?;
    let left = server.ok(
        "find /etc /usr /run /var -xdev -name '*covalent-https*' -o -path '/etc/covalent/https*' |
             grep -v '^/var/\\(lib/dpkg\\|log\\|cache\\)/' || true",
    )?;
    ensure!(left.trim().is_empty(), "a purge leaves {left}");
    Ok(())
}

/// What each page of the UI has.
const PAGE: &str = "<div id=\"root\">";

/// A page as a browser on another machine shows it, which trusts the authority and has the login.
fn page(server: &Machine, folder: &std::path::Path, address: &str) -> Result<String> {
    let mut chromium = server.neighbour_command("chromium")?;
    chromium
        .arg(format!("--host-resolver-rules=MAP {NAME} {ADDRESS}"))
        .env("HOME", folder);
    browser::show(chromium, &folder.join("profile"), address)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_browser_that_has_imported_the_authority_shows_the_pages_and_opens_their_websocket()
-> Result<()> {
    let server = server("bookworm")?;
    let added = server.ok("covalentctl user add alice")?;
    let password = added
        .split_whitespace()
        .next_back()
        .context("no password")?;
    let folder = tempfile::tempdir()?;
    let with_login = format!("https://alice:{password}@{NAME}:48443/");
    // Without the authority there is nothing but a warning, which a browser without a window does not draw.
    let shown = page(&server, folder.path(), &with_login)?;
    ensure!(!shown.contains(PAGE), "{shown}");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, server.ok("covalentctl https ca")?)?;
    let database = folder.path().join(".pki/nssdb");
    std::fs::create_dir_all(&database)?;
    let mut certutil = std::process::Command::new("certutil");
    certutil
        .args(["-A", "-n", "covalent", "-t", "C,,", "-i"])
        .arg(&authority)
        .arg("-d")
        .arg(format!("sql:{}", database.display()))
        .args(["-f", "/dev/null"]);
    let output = run(&mut certutil, LIMIT).context("scripts/test installs certutil")?;
    ensure!(output.success(), "{output}");

    let shown = page(&server, folder.path(), &format!("{PLACE}/"))?;
    ensure!(!shown.contains(PAGE), "without a login: {shown}");
    for path in ["", "settings", "logs"] {
        wait_until("the page", LIMIT, || {
            let shown = page(&server, folder.path(), &format!("{with_login}{path}"))?;
            ensure!(shown.contains(PAGE), "{shown}");
            anyhow::Ok(())
        })?;
    }
    let log = logged(&server, &[" alice GET /socket.io/ 101 "])?;
    // An address, a login, a method, a path, a status: any of the figures after these may be 403.
    let refused: Vec<&str> = log
        .lines()
        .filter(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words.get(1) == Some(&"alice") && words.get(4) == Some(&"403")
        })
        .collect();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}

/// An ACME server of Let's Encrypt's own for tests, and certbot, as docs/access.md says.
const ACME: &str = r#"
apt-get install --yes /srv/packages/pebble/*.deb /srv/packages/certbot/*.deb >/dev/null 2>&1
openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/acme.key -out /root/acme.pem -days 2 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cat >/root/pebble.json <<'JSON'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": "/root/acme.pem", "privateKey": "/root/acme.key", "httpPort": 80, "tlsPort": 443}}
JSON
systemd-run --quiet --unit pebble -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=0 \
    pebble -config /root/pebble.json
"#;

const CERTBOT: &str = r#"
export REQUESTS_CA_BUNDLE=/root/acme.pem
certbot certonly --standalone --domain server.example.org --server https://localhost:14000/dir \
    --agree-tos --register-unsafely-without-email --non-interactive --deploy-hook \
    'covalentctl https certificate "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem"' 2>&1
"#;

/// The fingerprint of the certificate that clients are shown.
fn fingerprint(server: &Machine) -> Result<String> {
    server.ok(&format!(
        "openssl s_client -connect {NAME}:48443 </dev/null 2>/dev/null |
             openssl x509 -noout -fingerprint -sha256"
    ))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn certbot_puts_certificates_in_force_and_clients_notice_nothing() -> Result<()> {
    let server = server("bookworm")?;
    let client = client(&server)?;
    let own = fingerprint(&server)?;
    server.ok(ACME)?;
    wait_until("Pebble", LIMIT, || {
        server.ok("curl --silent --fail --cacert /root/acme.pem https://localhost:14000/dir")
    })?;
    let said = server.script(CERTBOT).limit(LIMIT * 3).ok()?;
    let first = fingerprint(&server)?;
    ensure!(first != own, "the certificate is the same: {said}");
    let shown = server.ok("covalentctl https")?;
    ensure!(shown.contains("your own, valid until"), "{shown}");
    // Its authority is Pebble's.
    let authority = server
        .ok("curl --silent --fail --cacert /root/acme.pem https://localhost:15000/roots/0")?;
    client.write_file("/home/alice/ca.pem", authority, 0o644)?;
    ensure!(status(&client)? == "200");
    let seen = meanwhile(&client, 25, || {
        server
            .script("REQUESTS_CA_BUNDLE=/root/acme.pem certbot renew --force-renewal --no-random-sleep-on-renew 2>&1")
            .limit(LIMIT * 3)
            .ok()
            .map(drop)
    })?;
    let renewed = fingerprint(&server)?;
    ensure!(renewed != first, "nothing was renewed");
    let answers = seen["answers"].as_object().context("no answers")?;
    ensure!(answers.len() == 1 && answers.contains_key("200"), "{seen}");
    // One that cannot be used changes nothing, whether HAProxy runs or starts.
    let refused = server.sh("covalentctl https certificate /root/acme.pem /root/acme.key")?;
    ensure!(refused.code() == Some(3), "{refused}");
    ensure!(
        refused.text().contains("COVALENT_HTTPS_NAMES=NAME"),
        "{refused}"
    );
    ensure!(fingerprint(&server)? == renewed);
    server.ok("systemctl restart covalent-https")?;
    wait_until("the proxy", LIMIT, || {
        ensure!(fingerprint(&server)? == renewed);
        anyhow::Ok(())
    })
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn with_dnf() -> Result<()> {
    let server = machine::packages::boot("rpm")?;
    server.ok(&format!(
        "echo '{ADDRESS} {NAME} server' >>/etc/hosts; hostname server"
    ))?;
    let names = [
        "covalent-common",
        "covalent",
        "covalent-wheels",
        "covalent-https",
    ];
    Family::Rpm.install_these(&server, DIST, &names)?;
    server.ok("systemctl enable --now covalent covalent-https covalent-https-renew.timer")?;
    wait_for_answer(&server, 48008)?;
    let added = server.ok("covalentctl user add alice; covalentctl https ca >/root/ca.pem")?;
    let password = added
        .split_whitespace()
        .next_back()
        .context("no password")?;
    let ask = format!(
        "curl --silent --fail --cacert /root/ca.pem --user alice:{password} {PLACE}/api/v2/dispatches"
    );
    wait_until("an answer", LIMIT, || server.ok(&ask))?;
    server.ok("dnf remove --assumeyes covalent-https 2>&1")?;
    ensure!(server.exists("/etc/covalent/https/users.cfg")?);
    ensure!(!server.exists("/usr/lib/systemd/system/covalent.service.d")?);
    wait_for_answer(&server, 48008)
}
