//! A device in a process of its own beside QEMU: other implementations of virtio's devices, and a SCSI target.

use crate::iscsi;
use crate::machine::{Daemon, Places, Program};
use crate::vhost_device_scsi;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for its socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// It ends when this is dropped, and also when this program is killed: a shell ends it once nobody holds the pipe.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Starts it and waits until its socket is there.
///
/// # Errors
/// When it is not installed, ends at once, or never makes its socket.
pub fn start(workspace: &Workspace, daemon: &Daemon, places: Places<'_>) -> Result<Running> {
    match daemon.program {
        Program::Storage => start_program(Path::new("qemu-storage-daemon"), daemon, places),
        Program::VhostDeviceScsi => start_program(&vhost_device_scsi::program(workspace), daemon, places),
        Program::ScsiTarget => start_program(&iscsi::target(workspace), daemon, places),
    }
}

fn start_program(program: &Path, daemon: &Daemon, places: Places<'_>) -> Result<Running> {
    let arguments = daemon.arguments.iter().map(|word| places.fill(word));
    let log = places.folder.join("daemon.log");
    let script = r#"
        exec 3<&0 # in the background a shell has no standard input
        "$@" </dev/null 3<&- & pid=$!
        (read -r _ <&3; kill -9 $pid) 2>/dev/null & reader=$!
        wait $pid
        status=$?
        kill -9 $reader 2>/dev/null
        exit $status"#;
    let file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(program).args(arguments);
    shell.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
    let mut running = Running(shell.spawn().context("sh could not be started")?);

    let socket = places.fill(&daemon.socket);
    let end = Instant::now() + PATIENCE;
    while !Path::new(&socket).exists() {
        let said = || std::fs::read_to_string(&log).unwrap_or_default().trim().replace('\n', "; ");
        if let Some(status) = running.0.try_wait()? {
            let from =
                if daemon.program == Program::Storage { "; on Debian it comes with qemu-utils" } else { "" };
            bail!("{} ended at once ({status}): {}{from}", program.display(), said());
        }
        if Instant::now() >= end {
            bail!("{} has no socket after {} s: {}", program.display(), PATIENCE.as_secs(), said());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(folder: &Path, script: &str) -> Result<Running> {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let daemon = Daemon { program: Program::Storage, arguments, socket: "{temp}/socket".to_owned() };
        start_program(Path::new("sh"), &daemon, Places { folder, temp: folder, port: 0 })
    }

    #[test]
    fn it_is_there_once_its_socket_is_and_gone_when_dropped() {
        let folder = tempfile::tempdir().unwrap();

        let running =
            fake(folder.path(), "echo $$ > {folder}/pid; : > {temp}/socket; exec sleep 100").unwrap();
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        drop(running);

        assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
    }

    #[test]
    fn one_that_ends_at_once_says_what_it_said() {
        let folder = tempfile::tempdir().unwrap();

        let error = fake(folder.path(), "echo no such driver >&2; exit 3").unwrap_err().to_string();

        assert!(error.contains("ended at once") && error.contains("no such driver"), "{error}");
    }
}
