//! A server and machines that compute for it, booted on one switch, which the test cuts and mends.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use machine::{ADDRESS, Machine, wait_until};

use machine::packages::{
    DIST, Family, PYTHON, UPGRADE, WORKER, builder, installed, open_sockets, wait_for_answer,
};

/// The server's name, which all machines know.
const NAME: &str = "server.example.org";

/// What a task of these tests takes, in seconds: long enough for something to happen meanwhile.
const TASK: u32 = 5;

/// What one takes that is not waited for.
const ENDLESS: u32 = 3600;

/// Where tasks of `spread.py` note that they begin.
const BEGUN: &str = "/var/lib/covalent/run/begun";

/// A worker tries again every 15 seconds at the latest, on two busy cores.
const COMEBACK: Duration = Duration::from_secs(90);

/// A connection that nobody ends is noticed after 30 seconds of silence.
const NOTICED: Duration = Duration::from_secs(90);

/// How long a link is cut: longer than that takes.
const CUT: Duration = Duration::from_secs(60);

/// A server without workers of its own, and two machines that have joined it.
struct Fleet {
    server: Machine,
    workers: Vec<Worker>,
}

struct Worker {
    name: &'static str,
    /// The last number of its address, and of its wire.
    number: u8,
    machine: Machine,
}

impl Worker {
    fn address(&self) -> String {
        format!("192.0.2.{}", self.number)
    }

    /// Changes what the machine is connected with: `down`, `up`.
    fn link(&self, server: &Machine, state: &str) -> Result<()> {
        let wire = format!("wire{}", self.number);
        outside(server, "ip", &["link", "set", &wire, state])
    }

    /// What the unit says of itself.
    fn says(&self) -> Result<String> {
        let show = "systemctl show --property StatusText --value covalent-worker";
        Ok(self.machine.ok(show)?.trim().into())
    }

    fn wait_until_it_says(&self, part: &str) -> Result<()> {
        wait_until(&format!("{} to say {part:?}", self.name), COMEBACK, || {
            let said = self.says()?;
            ensure!(said.contains(part), "it says {said:?}");
            Ok(())
        })
        .with_context(|| {
            let journal = "journalctl --no-pager --unit covalent-worker --lines 40";
            self.machine.ok(journal).unwrap_or_default()
        })
    }
}

/// Runs a program of the host where the switch is.
fn outside(server: &Machine, program: &str, arguments: &[&str]) -> Result<()> {
    let status = server
        .neighbour_command(program)?
        .args(arguments)
        .status()
        .with_context(|| format!("running {program}"))?;
    ensure!(status.success(), "{program} {arguments:?}: {status}");
    Ok(())
}

/// The server, which knows itself by its name and leaves all tasks to others.
fn server() -> Result<Machine> {
    let server = installed("bookworm")?;
    let sockets = open_sockets(&server)?;
    ensure!(
        sockets.is_empty(),
        "open before the first worker: {sockets:?}"
    );
    server.ok(&format!(
        "hostname server
         echo '{ADDRESS} {NAME} server' >>/etc/hosts
         echo COVALENT_LOCAL_WORKERS=0 >>/etc/covalent/covalent.env
         echo COVALENT_FLEET_WAIT=15s >>/etc/covalent/covalent.env
         systemctl restart covalent"
    ))?;
    wait_for_answer(&server, 48008)?;
    Ok(server)
}

/// A machine of a suite with the package, that has joined no server yet.
fn machine(server: &Machine, suite: &str, name: &'static str, number: u8) -> Result<Worker> {
    let address = format!("192.0.2.{number}");
    // What a server was has the environment already.
    let builder = builder(suite).installed();
    let machine = builder.in_network_of(server, &address)?.boot()?;
    machine.ok(&format!(
        "hostname {name}; echo '{ADDRESS} {NAME}' >>/etc/hosts"
    ))?;
    Family::Deb.install_these(&machine, DIST, &WORKER)?;
    ensure!(machine.sh("systemctl is-failed covalent-worker")?.code() != Some(0));
    machine.ok("echo COVALENT_WORKER_PROCESSES=2 >>/etc/covalent/worker.env")?;
    Ok(Worker {
        name,
        number,
        machine,
    })
}

/// The line that makes a machine a worker.
fn token(server: &Machine, name: &str) -> Result<String> {
    server.ok(&format!("covalentctl worker add {name}"))
}

fn join(server: &Machine, worker: &Worker) -> Result<()> {
    let said = worker
        .machine
        .script("covalentctl join")
        .input(token(server, worker.name)?)
        .ok()?;
    ensure!(
        said == format!("2 tasks at a time for {NAME}:48009\n"),
        "join said {said:?}"
    );
    Ok(())
}

impl Fleet {
    fn new() -> Result<Fleet> {
        let server = server()?;
        let workers = [("gpu1", 11), ("w2", 12)];
        let workers = workers.map(|(name, number)| machine(&server, "bookworm", name, number));
        let workers = workers.into_iter().collect::<Result<Vec<_>>>()?;
        workers[0]
            .machine
            .ok("echo COVALENT_WORKER_RESOURCES=GPU=1 >>/etc/covalent/worker.env")?;
        for worker in &workers {
            join(&server, worker)?;
        }
        Ok(Fleet { server, workers })
    }

    fn list(&self) -> Result<String> {
        self.server.ok("covalentctl worker list")
    }

    fn wait_until_listed(&self, worker: &Worker, part: &str) -> Result<()> {
        wait_until(&format!("{}: {part}", worker.name), NOTICED, || {
            let list = self.list()?;
            let line = list.lines().find(|line| line.starts_with(worker.name));
            ensure!(line.is_some_and(|line| line.contains(part)), "{list}");
            Ok(())
        })
    }

    /// Waits until every worker computes.
    fn wait_until_whole(&self) -> Result<()> {
        let mut workers = self.workers.iter();
        workers.try_for_each(|worker| self.wait_until_listed(worker, "running"))
    }

    /// Runs a workflow of tasks of so many seconds; as soon as each worker has one, `meanwhile`. Returns
    /// the last line.
    fn spread(
        &self,
        (count, seconds): (u32, u32),
        meanwhile: impl FnOnce(&str) -> Result<()>,
    ) -> Result<String> {
        let file = "/tmp/spread";
        for worker in &self.workers {
            worker.machine.ok(&format!("rm -f {BEGUN}"))?;
        }
        self.server.ok(&format!(
            "rm -f {file}; cd /; setsid runuser -u alice -- {PYTHON} /workflows/spread.py {count} {seconds} \
             >{file} 2>&1 </dev/null &"
        ))?;
        wait_until("tasks on both workers", COMEBACK, || {
            let list = self.list()?;
            ensure!(
                list.matches(" of 2 busy").count() == 2 && !list.contains(" 0 of 2 busy"),
                "{list}{}",
                self.server.ok(&format!("cat {file}"))?
            );
            Ok(())
        })?;
        let id = self.server.ok(&format!("sed -n 's/^ID //p' {file}"))?;
        meanwhile(id.trim())?;
        let mut last = String::new();
        wait_until("the workflow's end", Duration::from_secs(240), || {
            let said = self.server.ok(&format!("cat {file}"))?;
            last = said.lines().last().unwrap_or_default().to_string();
            ensure!(!last.is_empty() && !last.starts_with("ID"), "{said}");
            Ok(())
        })
        .with_context(|| self.list().unwrap_or_default())?;
        Ok(last)
    }

    /// How often a task of the last workflow has begun.
    fn begun(&self) -> Result<usize> {
        let mut all = 0;
        for worker in &self.workers {
            all += worker.machine.ok(&format!("cat {BEGUN}"))?.lines().count();
        }
        Ok(all)
    }
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn three_machines_compute_together_whatever_becomes_of_two() -> Result<()> {
    let fleet = Fleet::new()?;
    fleet.wait_until_whole()?;
    what_is_open(&fleet)?;
    every_kind_of_workflow(&fleet)?;
    a_worker_that_is_killed(&fleet)?;
    let cut = a_link_that_is_cut(&fleet)?;
    a_firewall(&fleet)?;
    a_link_that_is_mended(&fleet, cut)?;
    a_drain(&fleet)?;
    a_restart_of_the_server(&fleet)?;
    a_workflow_that_is_cancelled(&fleet)?;
    a_label_that_nobody_has(&fleet)?;
    one_identity_on_two_machines(&fleet)?;
    a_name_that_is_removed(&fleet)?;
    one_that_leaves(&fleet)
}

/// The server's port, the workers' own, and nothing else; the sandbox is as strict on both sides.
fn what_is_open(fleet: &Fleet) -> Result<()> {
    let sockets = open_sockets(&fleet.server)?;
    let is_fleets = |socket: &String| socket.ends_with(":48009");
    ensure!(
        !sockets.is_empty() && sockets.iter().all(is_fleets),
        "{sockets:?}"
    );
    for worker in &fleet.workers {
        let sockets = open_sockets(&worker.machine)?;
        let own = worker.address() + ":480";
        ensure!(
            !sockets.is_empty() && sockets.iter().all(|socket| socket.starts_with(&own)),
            "{}: {sockets:?}",
            worker.name
        );
        let exposure = "systemd-analyze security --no-pager covalent-worker | tail -n 1";
        let exposure = worker.machine.ok(exposure)?;
        let level = exposure
            .split_whitespace()
            .nth(6)
            .and_then(|word| word.parse().ok());
        ensure!(level.is_some_and(|level: f32| level <= 1.5), "{exposure}");
        // No secret where others look.
        let shown = worker.machine.ok("ps -eo args; journalctl --no-pager; \
             cat /proc/[0-9]*/environ | tr '\\0' '\\n'")?;
        ensure!(!shown.contains("covalent1,"));
        let status = worker.machine.as_user("alice", "covalentctl status")?;
        ensure!(status.stdout.contains("2 tasks at a time for"), "{status}");
        let doctor = worker.machine.sh("covalentctl doctor")?;
        ensure!(!doctor.stdout.contains("BAD "), "{doctor}");
    }
    let doctor = fleet.server.sh("covalentctl doctor")?;
    ensure!(!doctor.stdout.contains("BAD "), "{doctor}");
    ensure!(
        doctor.stdout.contains("certificates: 2 workers are let in"),
        "{doctor}"
    );
    let list = fleet.list()?;
    ensure!(
        list.contains("gpu1  running  0 of 2 busy  GPU=2\n"),
        "{list}"
    );
    ensure!(list.contains("w2    running  0 of 2 busy\n"), "{list}");
    Ok(())
}

fn every_kind_of_workflow(fleet: &Fleet) -> Result<()> {
    let names = "import fleet, sample; print(*sample.KINDS)";
    let names = format!("PYTHONPATH=/workflows {PYTHON} -B -c '{names}'");
    let names = fleet.server.ok(&names)?;
    let kinds: Vec<&str> = names.split_whitespace().collect();
    let output = fleet
        .server
        .script(&format!(
            "LARGE=20 {PYTHON} /workflows/fleet.py --only {}",
            kinds.join(",")
        ))
        .user("alice")
        .limit(Duration::from_secs(600))
        .run()?;
    ensure!(
        output.success() && output.stdout.contains("PASS machines"),
        "{output}"
    );
    Ok(())
}

/// Its processes, then all of it: what it ran begins again on the other one.
fn a_worker_that_is_killed(fleet: &Fleet) -> Result<()> {
    let [first, second] = &fleet.workers[..] else {
        unreachable!("there are two")
    };
    let kill = "systemctl kill --signal KILL covalent-worker";
    let process = "systemctl show --property MainPID --value covalent-worker";
    let last = fleet.spread((12, TASK), |_| {
        let before = first.machine.ok(process)?;
        first.machine.ok(kill)?;
        wait_until("another run of it", COMEBACK, || {
            let now = first.machine.ok(process)?;
            ensure!(now != "0\n" && now != before, "process {now}");
            Ok(())
        })?;
        first.wait_until_it_says("2 tasks at a time")?;
        second.link(&fleet.server, "down")?;
        second.machine.ok(kill).map(drop)
    })?;
    ensure!(
        last.starts_with("COMPLETED") && last.contains("gpu1"),
        "{last}"
    );
    let begun = fleet.begun()?;
    ensure!(begun > 12, "{begun} tasks: none was lost");
    second.link(&fleet.server, "up")?;
    fleet.wait_until_whole()
}

/// Both sides say so, and the tasks are done elsewhere. Returns since when it is cut.
fn a_link_that_is_cut(fleet: &Fleet) -> Result<Instant> {
    let worker = &fleet.workers[0];
    let cut = Instant::now();
    let last = fleet.spread((8, TASK), |_| {
        worker.link(&fleet.server, "down")?;
        fleet.wait_until_listed(worker, "gone since ")?;
        worker.wait_until_it_says(&format!("waiting for {NAME}:48009: "))
    })?;
    ensure!(
        last == "COMPLETED w2" || last == "COMPLETED gpu1 w2",
        "{last}"
    );
    let begun = fleet.begun()?;
    ensure!(begun > 8, "{begun} tasks: none was lost");
    Ok(cut)
}

/// After a minute at least, the worker comes back.
fn a_link_that_is_mended(fleet: &Fleet, cut: Instant) -> Result<()> {
    let worker = &fleet.workers[0];
    sleep(CUT.saturating_sub(cut.elapsed()));
    worker.link(&fleet.server, "up")?;
    worker.wait_until_it_says("2 tasks at a time")?;
    fleet.wait_until_whole()
}

/// The server can't connect to the worker, while the other one is cut off: both say so and what to open, and it
/// heals by itself.
fn a_firewall(fleet: &Fleet) -> Result<()> {
    let worker = &fleet.workers[1];
    // On the switch: what comes from the worker, and is answered, goes through.
    let wall = format!(
        "table bridge wall {{ chain forward {{ type filter hook forward priority 0; \
         oifname wire{} tcp dport 48010-48109 drop; }}; }}",
        worker.number
    );
    outside(&fleet.server, "nft", &[&wall])?;
    worker.machine.ok("systemctl restart covalent-worker")?;
    worker.wait_until_it_says("let ports 48010-48109 through the firewall")?;
    fleet.wait_until_listed(worker, "refused: the server cannot connect to 192.0.2.12")?;
    let doctor = worker.machine.sh("covalentctl doctor")?;
    ensure!(
        doctor.stdout.contains("BAD   fleet: waiting for"),
        "{doctor}"
    );
    ensure!(doctor.stdout.contains("ufw allow"), "{doctor}");
    outside(&fleet.server, "nft", &["delete table bridge wall"])?;
    worker.wait_until_it_says("2 tasks at a time")
}

/// From either side: what runs comes to its end, what waits is done elsewhere, and none is lost.
fn a_drain(fleet: &Fleet) -> Result<()> {
    let [first, second] = &fleet.workers[..] else {
        unreachable!("there are two")
    };
    let last = fleet.spread((8, TASK), |_| {
        first.machine.ok("covalentctl drain --timeout 120")?;
        fleet.wait_until_listed(first, "draining: 0 of 2 busy")?;
        first.machine.ok("covalentctl drain --resume")?;
        fleet.wait_until_listed(first, "running")?;
        fleet
            .server
            .ok("covalentctl worker drain w2 --timeout 120")?;
        fleet.wait_until_listed(second, "draining: 0 of 2 busy")?;
        second.wait_until_it_says("draining: 0 of 2 busy")
    })?;
    ensure!(last == "COMPLETED gpu1 w2", "{last}");
    let begun = fleet.begun()?;
    ensure!(begun == 8, "{begun} tasks: some began again");
    fleet.server.ok("covalentctl worker drain w2 --resume")?;
    fleet.wait_until_whole()
}

/// It cancels what runs; a busy worker is back soon.
fn a_restart_of_the_server(fleet: &Fleet) -> Result<()> {
    let last = fleet.spread((4, ENDLESS), |_| {
        fleet.server.ok("systemctl restart covalent")?;
        wait_for_answer(&fleet.server, 48008)?;
        fleet.wait_until_whole()
    })?;
    ensure!(last.starts_with("CANCELLED"), "{last}");
    fleet.wait_until_listed(&fleet.workers[0], "0 of 2 busy")
}

/// The functions end, and their processes take the next tasks.
fn a_workflow_that_is_cancelled(fleet: &Fleet) -> Result<()> {
    let cancel = "import sys, covalent as ct; ct.cancel(sys.argv[1])";
    let last = fleet.spread((100, ENDLESS), |id| {
        let script = fleet.server.script(&format!("{PYTHON} -c \"$1\" \"$2\""));
        script.user("alice").arguments([cancel, id]).ok().map(drop)
    })?;
    ensure!(last.starts_with("CANCELLED"), "{last}");
    for worker in &fleet.workers {
        fleet.wait_until_listed(worker, "0 of 2 busy")?;
    }
    let last = fleet.spread((8, TASK), |_| Ok(()))?;
    ensure!(last == "COMPLETED gpu1 w2", "{last}");
    Ok(())
}

/// A task that asks for it waits, visibly, and fails with its name.
fn a_label_that_nobody_has(fleet: &Fleet) -> Result<()> {
    let script = "\
import covalent as ct
tpu = ct.executor.DaskExecutor()
tpu.resources = {'TPU': 1}
task = ct.electron(lambda: 1, executor=tpu)
result = ct.get_result(ct.dispatch(ct.lattice(lambda: task()))(), wait=True)
print(result.status, result.get_node_result(0)['error'])
";
    fleet.server.write_file("/tmp/label.py", script, 0o644)?;
    fleet.server.ok(&format!(
        "cd /; setsid runuser -u alice -- {PYTHON} /tmp/label.py >/tmp/label 2>&1 </dev/null &"
    ))?;
    wait_until("the task to be named", COMEBACK, || {
        let list = fleet.list()?;
        ensure!(
            list.contains("1 task waits for TPU: no worker has it"),
            "{list}"
        );
        Ok(())
    })?;
    let status = fleet.server.ok("covalentctl status")?;
    ensure!(status.contains("1 task waits for TPU"), "{status}");
    wait_until("the task to fail", COMEBACK, || {
        let said = fleet.server.ok("cat /tmp/label")?;
        let reason = "FAILED there was no worker with TPU=1 for 15 s";
        ensure!(said.starts_with(reason), "{said}");
        Ok(())
    })
}

/// Two machines with the same line: the second one is told, and the first one goes on.
fn one_identity_on_two_machines(fleet: &Fleet) -> Result<()> {
    let [first, second] = &fleet.workers[..] else {
        unreachable!("there are two")
    };
    let line = token(&fleet.server, second.name)?;
    // The one that it had is not accepted any more.
    second.wait_until_it_says("waiting for")?;
    second
        .machine
        .script("covalentctl join")
        .input(&line)
        .ok()?;
    let output = first
        .machine
        .script("covalentctl join")
        .input(&line)
        .run()?;
    ensure!(output.code() == Some(15), "{output}");
    ensure!(
        output.stderr.contains("another machine has joined as w2"),
        "{output}"
    );
    fleet.wait_until_listed(second, "running")?;
    join(&fleet.server, first)?;
    fleet.wait_until_whole()
}

/// Its connections end at once, and it says why it is not let in any more.
fn a_name_that_is_removed(fleet: &Fleet) -> Result<()> {
    let worker = &fleet.workers[1];
    fleet.server.ok("covalentctl worker remove w2")?;
    let address = worker.address();
    wait_until("the connections to end", Duration::from_secs(20), || {
        let open = format!("ss --tcp --numeric --no-header state established dst {address}");
        let open = fleet.server.ok(&open)?;
        ensure!(open.is_empty(), "{open}");
        Ok(())
    })?;
    worker.wait_until_it_says("the server has taken this machine off its list")?;
    ensure!(!fleet.list()?.contains("w2"));
    let doctor = worker.machine.sh("covalentctl doctor")?;
    ensure!(doctor.stdout.contains("worker add NAME"), "{doctor}");
    // Not a line for each of its tries.
    let refused = "journalctl --no-pager --unit covalent | grep --count 'refused: '";
    let refused: u32 = fleet.server.sh(refused)?.stdout.trim().parse()?;
    ensure!(refused < 20, "the journal has {refused} refusals");
    Ok(())
}

fn one_that_leaves(fleet: &Fleet) -> Result<()> {
    let worker = &fleet.workers[0];
    let said = worker.machine.sh("covalentctl leave")?;
    ensure!(
        said.stderr.contains("covalentctl worker remove gpu1"),
        "{said}"
    );
    ensure!(!worker.machine.exists("/run/covalent-fleet")?);
    let status = worker.machine.sh("covalentctl status")?;
    ensure!(status.stdout.contains("joined to no server"), "{status}");
    // What is not joined is inactive, and nothing that has failed.
    worker.machine.ok("systemctl start covalent-worker")?;
    ensure!(
        worker
            .machine
            .sh("systemctl is-active covalent-worker")?
            .stdout
            == "inactive\n"
    );
    ensure!(worker.machine.ok("systemctl is-system-running")? == "running\n");
    fleet.wait_until_listed(worker, "gone since ")
}

/// Another minor version of Python is named on both sides, and what to type.
#[test]
#[ignore = "boots machines: scripts/test"]
fn a_machine_with_another_python_waits_and_says_so() -> Result<()> {
    let server = server()?;
    let worker = machine(&server, "trixie", "w3", 13)?;
    let line = token(&server, "w3")?;
    let output = worker
        .machine
        .script("covalentctl join")
        .input(line)
        .run()?;
    let said =
        "this machine's environment is not the server's: Python 3.13 here, 3.11 on the server";
    ensure!(
        output.code() == Some(15) && output.stderr.contains(said),
        "{output}"
    );
    let list = server.ok("covalentctl worker list")?;
    ensure!(list.contains(&format!("w3  refused: {said}")), "{list}");
    let doctor = worker.machine.sh("covalentctl doctor")?;
    ensure!(
        doctor.stdout.contains("upgrade the server first"),
        "{doctor}"
    );
    ensure!(worker.machine.ok("systemctl is-system-running")? == "running\n");
    Ok(())
}

/// Packages of the server's own reach its workers; an upgrade goes through the fleet, server first.
#[test]
#[ignore = "boots machines: scripts/test"]
fn a_worker_has_the_servers_packages_and_follows_its_upgrade() -> Result<()> {
    let server = server()?;
    let worker = machine(&server, "bookworm", "w2", 12)?;
    join(&server, &worker)?;
    for machine in [&server, &worker.machine] {
        machine.ok("python3 -B /packages/wheel.py /srv/wheels greeter 1.0")?;
        let settings = "network = \"never\"\n[index]\nwheels = [\"/srv/wheels\"]\n";
        machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    }
    server.ok("covalentctl add greeter")?;
    wait_for_answer(&server, 48008)?;
    let has_it = || {
        wait_until(
            "the package on the worker",
            Duration::from_secs(240),
            || {
                let said = worker.machine.ok("covalentctl run -- greeter")?;
                ensure!(said == "1.0\n", "{said}");
                ensure!(worker.says()?.contains("2 tasks at a time"));
                Ok(())
            },
        )
        .with_context(|| {
            let journal = "journalctl --no-pager --unit covalent-worker --lines 60";
            worker.machine.ok(journal).unwrap_or_default()
        })
    };
    has_it()?;
    let workflow = || {
        server
            .script(&format!("{PYTHON} /workflows/sample.py --only tasks"))
            .user("alice")
            .ok()
    };
    workflow()?;
    Family::Deb.install(&server, UPGRADE)?;
    wait_for_answer(&server, 48008)?;
    // What tasks are run by is the same in both revisions.
    has_it()?;
    workflow()?;
    let change = "echo '# changed' >>/usr/libexec/covalent/server/covalent_service/packages.py";
    server.ok(&format!("{change}; systemctl restart covalent"))?;
    wait_for_answer(&server, 48008)?;
    worker.wait_until_it_says("environment is not the server's: covalent-common 0.240.0-")?;
    Family::Deb.install_these(&worker.machine, UPGRADE, &WORKER)?;
    worker.machine.ok(change)?;
    has_it()?;
    workflow().map(drop)
}
