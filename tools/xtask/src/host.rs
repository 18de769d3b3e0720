//! The runner's end of the channel from the stand: what a `host N VERB ARGUMENT` line asks for is done, and answered on
//! the guest's first serial port with `N ok RESULT` or `N error TEXT`.
//!
//! | verb | argument | result |
//! | --- | --- | --- |
//! | `qmp` | one QMP command as JSON | its `return` value as JSON |
//! | `event` | name of a QMP event | its `data`; waits 10 s at most for one that was not asked for before |
//!
//! QEMU connects to two sockets of ours when it starts: they are there before it, so nobody has to look for them. All of
//! the work is done on a thread, so that the stand's output goes on being read meanwhile.

use crate::qmp::{Log, Qmp};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for QEMU's connections, and for the serial port to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for an event.
const EVENT: Duration = Duration::from_secs(10);

/// What the stand asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number that the answer carries.
    number: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Qmp(Value),
    Event(String),
    /// Something else, and why it cannot be done.
    Wrong(String),
}

impl Request {
    /// Reads what follows `host ` in a line. `None` when there is not even a number to answer to.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = number.parse().ok()?;
        let (verb, argument) = rest.split_once(' ').unwrap_or((rest, ""));
        let what = match verb {
            "qmp" => match serde_json::from_str(argument) {
                Ok(command @ Value::Object(_)) => What::Qmp(command),
                Ok(_) => What::Wrong("qmp: not a JSON object".to_owned()),
                Err(error) => What::Wrong(format!("qmp: {error}")),
            },
            "event" if !argument.is_empty() && !argument.contains(' ') => What::Event(argument.to_owned()),
            "event" => What::Wrong("event: not one name".to_owned()),
            _ => What::Wrong(format!("there is no verb '{verb}'")),
        };
        Some(Self { number, what })
    }

    fn answer(&self, qmp: Result<&mut Qmp, &anyhow::Error>) -> String {
        let result = match (&self.what, qmp) {
            (What::Wrong(why), _) => Err(anyhow::anyhow!("{why}")),
            (_, Err(error)) => Err(anyhow::anyhow!("{error:#}")),
            (What::Qmp(command), Ok(qmp)) => qmp.execute(command),
            (What::Event(name), Ok(qmp)) => qmp.event(name, EVENT),
        };
        match result {
            Ok(value) => format!("{} ok {value}\n", self.number),
            // One line, whatever the words are.
            Err(error) => format!("{} error {}\n", self.number, format!("{error:#}").replace('\n', " ")),
        }
    }
}

/// The channel of one boot.
#[derive(Debug)]
pub struct Host {
    folder: tempfile::TempDir,
    lines: Option<Sender<String>>,
    over: Arc<AtomicBool>,
    worker: Option<JoinHandle<Result<()>>>,
}

impl Host {
    /// Makes the sockets and begins to wait for QEMU. What goes over its monitor is logged in `log`.
    ///
    /// # Errors
    /// When sockets or log cannot be made.
    pub fn start(log: &Path) -> Result<Self> {
        // Not in the target folder: the path of a socket has 107 bytes at most.
        let folder = tempfile::Builder::new().prefix("stand-").tempdir().context("no temporary folder")?;
        let listen = |name: &str| -> Result<UnixListener> {
            let listener = UnixListener::bind(folder.path().join(name)).context("no socket for QEMU")?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let (qmp, serial) = (listen("qmp")?, listen("serial")?);
        let log = Log::create(log)?;
        let (lines, inbox) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let worker = std::thread::spawn(move || serve(&qmp, &serial, &inbox, &log, &flag));
        Ok(Self { folder, lines: Some(lines), over, worker: Some(worker) })
    }

    /// QEMU's arguments.
    pub fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string().replace(',', ",,");
        [
            "-chardev".to_owned(),
            format!("socket,id=host,path={}", path("serial")),
            "-device".to_owned(),
            "isa-serial,chardev=host,iobase=0x3f8".to_owned(),
            "-chardev".to_owned(),
            format!("socket,id=monitor,path={}", path("qmp")),
            "-mon".to_owned(),
            "chardev=monitor,mode=control".to_owned(),
        ]
        .to_vec()
    }

    /// A folder with a short path, which lives as long as this.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Hands on what follows `host ` in a line of the stand.
    pub fn line(&self, text: &str) {
        if let Some(lines) = &self.lines {
            // A worker that has ended has said why in its log.
            let _ = lines.send(text.to_owned());
        }
    }
}

impl Host {
    /// Waits for the thread, once QEMU has ended.
    ///
    /// # Errors
    /// When something was asked for and there was no connection to do it with: the stand takes that for a machine without
    /// a runner and tries nothing, which must not pass for a good run.
    pub fn end(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        // QEMU has ended: every wait of the worker ends at once, because the sockets are closed.
        self.over.store(true, Ordering::Relaxed);
        self.lines = None;
        match self.worker.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => bail!("the channel's thread panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // After an error elsewhere: that one is told.
        let _ = self.join();
    }
}

fn serve(
    qmp: &UnixListener,
    serial: &UnixListener,
    inbox: &Receiver<String>,
    log: &Log,
    over: &AtomicBool,
) -> Result<()> {
    let opened = accept(serial, over).and_then(|serial| {
        serial.set_write_timeout(Some(PATIENCE))?;
        Ok((serial, accept(qmp, over)?))
    });
    let (mut serial, mut qmp) = match opened {
        Ok((serial, stream)) => (serial, Qmp::new(stream, log.clone())),
        Err(error) => {
            let error = error.context("QEMU did not connect");
            log.line("#", &format!("{error:#}"));
            // Nothing was asked for: nobody has missed it.
            return if inbox.try_recv().is_ok() { Err(error) } else { Ok(()) };
        }
    };
    let mut asked = false;
    for text in inbox {
        asked = true;
        log.line("#", &format!("host {text}"));
        let Some(request) = Request::parse(&text) else {
            log.line("#", "that has no number to answer to");
            continue;
        };
        let answer = request.answer(qmp.as_mut().map_err(|error| &*error));
        log.line("#", answer.trim_end());
        if let Err(error) = serial.write_all(answer.as_bytes()) {
            // QEMU may have ended meanwhile, which shows elsewhere.
            log.line("#", &format!("the serial port takes no answer: {error}"));
            break;
        }
    }
    if let Err(error) = qmp {
        log.line("#", &format!("{error:#}"));
        return if asked { Err(error) } else { Ok(()) };
    }
    Ok(())
}

fn accept(listener: &UnixListener, over: &AtomicBool) -> Result<UnixStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                ensure!(!over.load(Ordering::Relaxed), "it ended before");
                if Instant::now() >= end {
                    bail!("not in {} s", PATIENCE.as_secs());
                }
                // Nothing in the standard library waits for a connection with a limit.
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{BufRead, BufReader};

    fn parsed(text: &str) -> What {
        Request::parse(text).unwrap().what
    }

    #[test]
    fn both_verbs_are_read() {
        let request = Request::parse(r#"12 qmp {"execute": "stop", "arguments": {"a": "b c"}}"#).unwrap();
        assert_eq!(request.number, 12);
        assert_eq!(request.what, What::Qmp(json!({ "execute": "stop", "arguments": { "a": "b c" } })));
        assert_eq!(parsed("1 event DEVICE_DELETED"), What::Event("DEVICE_DELETED".to_owned()));
    }

    #[test]
    fn what_cannot_be_done_is_answered_and_not_ignored() {
        for text in ["1", "1 dance", "1 qmp", "1 qmp {", "1 qmp [1]", "1 event", "1 event A B"] {
            assert!(matches!(parsed(text), What::Wrong(_)), "{text}");
        }
    }

    #[test]
    fn a_line_without_a_number_is_no_request() {
        for text in ["", "qmp {}", "-1 qmp {}", "x event A"] {
            assert_eq!(Request::parse(text), None, "{text}");
        }
    }

    #[test]
    fn requests_are_answered_on_the_serial_socket_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&folder.path().join("qmp.log")).unwrap();
        // QEMU's part.
        let serial = UnixStream::connect(host.folder.path().join("serial")).unwrap();
        crate::qmp::tests::fake(UnixStream::connect(host.folder.path().join("qmp")).unwrap(), |command| {
            let event = json!({ "event": "STOP", "data": { "why": "asked" } });
            if command["execute"] == "stop" {
                vec![json!({ "return": {} }), event]
            } else {
                vec![json!({ "return": {} })]
            }
        });

        host.line(r#"1 qmp {"execute":"stop"}"#);
        host.line("2 event STOP");
        host.line("3 dance");

        let answers: Vec<String> = BufReader::new(serial).lines().take(3).map(Result::unwrap).collect();
        assert_eq!(answers, ["1 ok {}", r#"2 ok {"why":"asked"}"#, "3 error there is no verb 'dance'"]);
    }

    #[test]
    fn a_request_that_nobody_could_serve_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&folder.path().join("qmp.log")).unwrap();

        host.line("1 event STOP");
        let error = format!("{:#}", host.end().unwrap_err());

        assert_eq!(error, "QEMU did not connect: it ended before");
    }

    #[test]
    fn a_monitor_that_hangs_up_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&folder.path().join("qmp.log")).unwrap();
        let serial = UnixStream::connect(host.folder.path().join("serial")).unwrap();
        drop(UnixStream::connect(host.folder.path().join("qmp")).unwrap());

        host.line("1 event STOP");
        let answer = BufReader::new(serial).lines().next().unwrap().unwrap();

        assert_eq!(answer, "1 error QEMU's monitor is closed");
        assert!(host.end().is_err());
    }

    #[test]
    fn a_qemu_that_never_comes_is_not_waited_for_once_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("qmp.log");
        let started = Instant::now();

        Host::start(&log).unwrap().end().unwrap();

        assert!(started.elapsed() < PATIENCE);
        assert!(std::fs::read_to_string(&log).unwrap().contains("QEMU did not connect: it ended before"));
    }
}
