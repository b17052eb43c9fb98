//! What tasks, which run in the server's own account, do not learn.

use anyhow::{Result, ensure};

use machine::packages::{DIST, Family, PYTHON, boot, wait_for_answer};

/// Looks for the word in its own variables, and in what every process of the account was started
/// with. Prints how many of those could be read, and who knows the word.
const SPY: &str = "\
import covalent as ct

@ct.electron
def spy(word):
    import glob, os
    read, known = 0, []
    for file in glob.glob('/proc/[0-9]*/environ'):
        try:
            text = open(file, 'rb').read()
        except OSError:
            continue
        read += 1
        if word.encode() in text:
            known.append(file)
    if any(word in value for value in os.environ.values()):
        known.append('os.environ')
    return read, known

@ct.lattice
def workflow(word):
    return spy(word)

read, known = ct.get_result(ct.dispatch(workflow)('s3cr' + 'et'), wait=True).result
print(read > 3, known)
";

#[test]
#[ignore = "boots machines: scripts/test"]
fn the_address_of_the_database_reaches_no_task() -> Result<()> {
    let machine = boot("bookworm")?;
    Family::Deb.install(&machine, DIST)?;
    machine.write_file("/home/alice/spy.py", SPY, 0o644)?;
    machine.write_file(
        "/etc/covalent/covalent.env",
        "COVALENT_DATABASE_URL=sqlite+pysqlite:////var/lib/covalent/s3cret.sqlite\n",
        0o640,
    )?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(&machine, 48008)?;
    machine.ok("test -s /var/lib/covalent/s3cret.sqlite")?;
    let told = machine
        .script(&format!("{PYTHON} /home/alice/spy.py"))
        .user("alice")
        .ok()?;
    ensure!(told.trim() == "True []", "{told}");
    Ok(())
}
