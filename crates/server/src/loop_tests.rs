//! Tests of the event loop with a simple line server, which executes one line in a turn.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

use russet_engine::clients::Outbox;
use russet_engine::config::Config;
use russet_engine::io::{
    AppendEvent, AppendStep, Endpoints, Handle, Host, Input, JobId, Now, Output, Request,
    RequestId, Rewrite, Service,
};
use russet_engine::shared::Meter;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::event_loop::EventLoop;
use crate::listen::{self, TcpOptions};
use crate::resources::Resources;
use crate::signals::Signals;

#[derive(Default)]
struct Line {
    query: Vec<u8>,
    outbox: Outbox,
    closing: bool,
}

/// Commands are lines: `big N` replies with N bytes, `later` replies at the next deadline, `bye` and
/// `quit` reply before the connection or the server is closed, `full` rejects further connections,
/// `connect PORT` opens a connection and sends `hello` there, `rewrite PATH` and `remove PATH` send a
/// request to the loop and reply with its answer, `run PATH ARGUMENTS` and `kill` reply what came of it, `hold` and
/// `release` begin and end the work for all other connections, `looks` replies with the largest number of questions after
/// it in a round; all other lines are echoed.
#[derive(Default)]
struct Lines {
    lines: BTreeMap<Handle, Line>,
    handles: u32,
    ready: VecDeque<Handle>,
    dirty: Vec<Handle>,
    outputs: VecDeque<Output>,
    alarm: Option<(u64, Handle)>,
    requests: BTreeMap<RequestId, Handle>,
    /// Who waits for each job, the first of which is 1.
    jobs: Vec<Handle>,
    full: bool,
    closed: usize,
    /// The only connection without work, if there is such work.
    held_by: Option<Handle>,
    /// Questions about work in this round, and their largest number in a round.
    looks: Cell<usize>,
    looks_max: usize,
}

impl Lines {
    fn reply(&mut self, handle: Handle, bytes: Vec<u8>) {
        if let Some(line) = self.lines.get_mut(&handle) {
            line.outbox.push_shared(Meter::default().share(bytes));
            self.dirty.push(handle);
        }
    }

    fn new_handle(&mut self) -> Handle {
        let handle = Handle { index: self.handles, generation: 1 };
        self.handles += 1;
        self.lines.insert(handle, Line::default());
        handle
    }

    fn new_job(&mut self, handle: Handle) -> JobId {
        self.jobs.push(handle);
        JobId(self.jobs.len() as u64)
    }

    fn job_ended(&mut self, job: JobId, text: &str) {
        self.reply(self.jobs[job.0 as usize - 1], format!("{text}\n").into_bytes());
    }

    fn request(&mut self, handle: Handle, request: Request) {
        let id = RequestId(self.requests.len() as u64);
        self.requests.insert(id, handle);
        self.outputs.push_back(Output::Request { id, request });
    }

    fn execute(&mut self, now: Now, handle: Handle, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "big" => self.reply(handle, vec![b'x'; rest.parse().unwrap()]),
            "later" => self.alarm = Some((now.mono_us + 2000, handle)),
            "full" => self.full = true,
            "connect" => {
                let link = self.new_handle();
                let (host, port) = ("127.0.0.1".to_string(), rest.parse().unwrap());
                self.outputs.push_back(Output::Connect { link, host, port });
            }
            "rewrite" => self.request(
                handle,
                Request::ReplaceFile {
                    path: rest.into(),
                    rewrite: Rewrite::new(|old, others| Config::default().rewrite(old, others)),
                },
            ),
            // Two steps that may still be queued when the process exits.
            "append" => {
                let (job, path) = (JobId(1), rest.to_owned());
                let write = AppendStep::Write(b"appended".to_vec());
                for step in [AppendStep::Open { path, len: 0, sure: 0 }, write] {
                    self.outputs.push_back(Output::Append { job, step });
                }
            }
            "run" => {
                let job = self.new_job(handle);
                let mut words = rest.split(' ').map(str::to_owned);
                let path = words.next().unwrap();
                let arguments = words.collect();
                self.outputs.push_back(Output::RunScript { job, path, arguments });
            }
            "kill" => {
                self.outputs.push_back(Output::KillScript { job: JobId(self.jobs.len() as u64) })
            }
            "remove" => self.request(handle, Request::RemoveFile(rest.into())),
            "closed" => self.reply(handle, format!("{}\n", self.closed).into_bytes()),
            "hold" => {
                self.held_by = Some(handle);
                self.reply(handle, b"held\n".to_vec());
            }
            "release" => self.held_by = None,
            "looks" => self.reply(handle, format!("{}\n", self.looks_max).into_bytes()),
            "quit" => self.outputs.push_back(Output::Exit(7)),
            _ => self.reply(handle, format!("{line}\n").into_bytes()),
        }
        if word == "bye" {
            self.lines.get_mut(&handle).unwrap().closing = true;
        }
    }
}

impl Engine for Lines {
    fn handle(&mut self, _: Now, input: Input) {
        match input {
            Input::Closed(handle) => {
                self.lines.remove(&handle);
                self.closed += 1;
            }
            Input::Connected { link, result: Ok(_) } => self.reply(link, b"hello\n".to_vec()),
            Input::Append { event, .. } => assert!(!matches!(event, AppendEvent::OpenFailed(_))),
            Input::Answer { id, answer } => {
                let text = answer.map_or_else(|why| why, |()| "done".into());
                self.reply(self.requests[&id], format!("{text}\n").into_bytes());
            }
            Input::ScriptStarted { pid, .. } => assert_ne!(pid, 0),
            Input::ScriptEnded { job, outcome } => self.job_ended(job, &format!("{outcome:?}")),
            other => panic!("{other:?}"),
        }
    }

    fn poll_output(&mut self, _: Now) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let work = !self.ready.is_empty();
        Output::Wait(if work { Some(0) } else { self.alarm.map(|(at, _)| at) })
    }

    fn accept(&mut self, _: Now, _: Service, _: Endpoints) -> Result<Handle, Vec<u8>> {
        if self.full { Err(b"full\n".to_vec()) } else { Ok(self.new_handle()) }
    }

    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        let line = self.lines.get_mut(&handle).filter(|line| !line.closing)?;
        line.query.reserve(64);
        Some(&mut line.query)
    }

    fn received(&mut self, _: Now, handle: Handle) {
        self.ready.push_back(handle);
    }

    fn turn(&mut self, now: Now, host: &mut dyn Host) {
        assert!(host.ticks_us() > 0);
        if let Some((at, handle)) = self.alarm
            && at <= now.mono_us
        {
            self.alarm = None;
            self.reply(handle, b"now\n".to_vec());
        }
        let Some(handle) = self.ready.pop_front() else { return };
        let Some(line) = self.lines.get_mut(&handle) else { return };
        let Some(end) = line.query.iter().position(|&b| b == b'\n') else { return };
        let text = String::from_utf8(line.query.drain(..=end).collect()).unwrap();
        self.ready.push_back(handle);
        self.execute(now, handle, text.trim_end());
    }

    fn count_round(&mut self, _: u64) {
        self.looks_max = self.looks_max.max(self.looks.take());
    }

    fn works_for(&self, handle: Handle) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.held_by.is_some_and(|by| by != handle)
    }

    fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        into.append(&mut self.dirty);
    }

    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        self.lines.get_mut(&handle).map(|line| &mut line.outbox)
    }

    fn written(&mut self, handle: Handle, bytes: usize) {
        let line = self.lines.get_mut(&handle).unwrap();
        line.outbox.consume(bytes);
        if line.closing && line.outbox.is_empty() {
            self.lines.remove(&handle);
            self.outputs.push_back(Output::Close(handle));
        }
    }
}

struct Server {
    at: SocketAddr,
    thread: JoinHandle<i32>,
}

impl Server {
    fn start() -> Server {
        let tcp = TcpOptions { backlog: 16, keepalive_secs: 0 };
        let listeners = listen::tcp(Service::Clients, &["127.0.0.1".to_string()], 0, tcp).unwrap();
        let at = SocketAddr::try_from(rustix::net::getsockname(&listeners[0].fd).unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            let mut resources = Resources::new(16).unwrap();
            resources.listeners.open(&resources.epoll, listeners).unwrap();
            let signals = Signals::none().unwrap();
            let mut clock = Clock::new();
            let now = clock.now();
            EventLoop::new(Lines::default(), (clock, now), resources, signals, None).unwrap().run()
        });
        Server { at, thread }
    }

    fn client(&self) -> TcpStream {
        TcpStream::connect(self.at).unwrap()
    }

    /// Shuts down the server and checks that the loop still worked.
    fn end(self) {
        self.client().write_all(b"quit\n").unwrap();
        assert_eq!(self.thread.join().unwrap(), 7);
    }
}

fn expect(stream: &mut TcpStream, text: &str) {
    let mut got = vec![0; text.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => got,
    }
}

#[test]
fn fragmented_lines_are_executed_in_order() {
    let server = Server::start();
    let mut client = server.client();
    client.set_nodelay(true).unwrap();
    for part in ["on", "e\ntwo\nth", "re", "e\n"] {
        client.write_all(part.as_bytes()).unwrap();
    }
    expect(&mut client, "one\ntwo\nthree\n");
    server.end();
}

#[test]
fn a_deadline_brings_a_turn() {
    let server = Server::start();
    let mut client = server.client();
    client.write_all(b"later\n").unwrap();
    expect(&mut client, "now\n");
    server.end();
}

#[test]
fn a_half_closed_client_gets_its_replies() {
    let server = Server::start();
    let mut client = server.client();
    let lines: String = (0..200).map(|i| format!("line {i}\n")).collect();
    client.write_all(lines.as_bytes()).unwrap();
    client.write_all(b"big 3000000\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let got = rest(&mut client);
    assert!(got.starts_with(lines.as_bytes()));
    assert_eq!(got.len(), lines.len() + 3_000_000);
    server.end();
}

#[test]
fn half_closed_connections_are_not_all_looked_at_in_each_round() {
    let server = Server::start();
    let mut client = server.client();
    client.write_all(b"hold\n").unwrap();
    expect(&mut client, "held\n");
    let mut others: Vec<TcpStream> = (0..300).map(|_| server.client()).collect();
    for other in &mut others {
        other.write_all(b"one\n").unwrap();
        expect(other, "one\n");
        other.shutdown(Shutdown::Write).unwrap();
    }
    for _ in 0..300 {
        client.write_all(b"two\n").unwrap();
        expect(&mut client, "two\n");
    }
    client.write_all(b"looks\n").unwrap();
    let mut most = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(&client), &mut most).unwrap();
    let most: usize = most.trim().parse().unwrap();
    assert!((1..100).contains(&most), "{most} in a round");
    client.write_all(b"release\n").unwrap();
    for other in &mut others {
        assert!(rest(other).is_empty(), "closed without further events");
    }
    server.end();
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let server = Server::start();
    let (mut slow, mut quick) = (server.client(), server.client());
    slow.write_all(b"big 40000000\nbig 9\nend\n").unwrap();
    for _ in 0..100 {
        quick.write_all(b"ping\n").unwrap();
        expect(&mut quick, "ping\n");
    }
    slow.shutdown(Shutdown::Write).unwrap();
    let got = rest(&mut slow);
    assert_eq!(got.len(), 40_000_000 + 9 + 4);
    assert!(got.ends_with(b"xend\n"));
    server.end();
}

#[test]
fn a_closed_client_gets_its_last_reply() {
    let server = Server::start();
    let mut client = server.client();
    // The server never reads the bytes after it.
    client.write_all(b"bye\n").unwrap();
    let _ = client.write_all(&[b'y'; 100_000]);
    assert_eq!(rest(&mut client), b"bye\n");
    let mut other = server.client();
    other.write_all(b"full\necho\n").unwrap();
    expect(&mut other, "echo\n");
    assert_eq!(rest(&mut server.client()), b"full\n");
    other.write_all(b"quit\n").unwrap();
    assert_eq!(server.thread.join().unwrap(), 7);
}

#[test]
fn a_connection_that_breaks_is_reported_once() {
    let server = Server::start();
    for _ in 0..20 {
        let mut client = server.client();
        client.write_all(b"big 1000000\n").unwrap();
        // Closing with unread bytes resets the connection.
        drop(client);
    }
    let mut watcher = server.client();
    loop {
        watcher.write_all(b"closed\n").unwrap();
        let mut answer = [0; 3];
        let read = watcher.read(&mut answer).unwrap();
        match std::str::from_utf8(&answer[..read]).unwrap().trim().parse::<usize>().unwrap() {
            20 => break,
            n => assert!(n < 20),
        }
    }
    server.end();
}

#[test]
fn outgoing_connections_work() {
    let server = Server::start();
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = there.local_addr().unwrap().port();
    let mut client = server.client();
    client.write_all(format!("connect {port}\n").as_bytes()).unwrap();
    let mut link = there.accept().unwrap().0;
    expect(&mut link, "hello\n");
    link.write_all(b"echo\n").unwrap();
    expect(&mut link, "echo\n");
    server.end();
}

#[test]
fn a_blocked_disk_delays_only_the_requesting_client() {
    let dir = crate::testing::directory("slow-rewrite");
    let (conf, other) = (dir.path().join("russet.conf"), dir.path().join("dump.rdb"));
    // Reading a FIFO blocks until somebody writes to it.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &conf, kind, mode, 0).unwrap();
    std::fs::write(&other, "data").unwrap();
    let server = Server::start();
    let (mut requester, mut quick) = (server.client(), server.client());
    requester.write_all(format!("rewrite {}\n", conf.display()).as_bytes()).unwrap();
    requester.write_all(format!("remove {}\n", other.display()).as_bytes()).unwrap();
    for _ in 0..100 {
        quick.write_all(b"ping\n").unwrap();
        expect(&mut quick, "ping\n");
    }
    assert!(other.exists());
    std::fs::write(&conf, "port 7000\n# mine\n").unwrap();
    expect(&mut requester, "done\ndone\n");
    assert!(contents(&conf).starts_with("port 6379\n# mine\n"));
    assert!(!other.exists());
    server.end();
}

/// Writes a script and returns its path behind that of the shell: executing a file that was just written fails while a process
/// that another test starts still has it open.
fn script(dir: &Path, text: &str) -> String {
    let path = dir.join("script.sh");
    std::fs::write(&path, format!("{text}\n")).unwrap();
    format!("/bin/sh {}", path.display())
}

#[test]
fn scripts_have_arguments_the_environment_and_no_input() {
    let dir = crate::testing::directory("script-runs");
    let path =
        script(dir.path(), "read line && exit 9\ntest -n \"$PATH\" && exit \"$(($1 + $2))\"");
    let server = Server::start();
    let mut client = server.client();
    client.write_all(format!("run {path} 40 2\n").as_bytes()).unwrap();
    expect(&mut client, "Exited(42)\n");
    // Killing one that has ended, or that is not known, does nothing.
    client.write_all(b"kill\necho\n").unwrap();
    expect(&mut client, "echo\n");
    client.write_all(b"run sh -c true\n").unwrap();
    expect(&mut client, "NotStarted(\"No such file or directory\")\n");
    server.end();
}

#[test]
fn a_script_that_hangs_delays_nobody_and_can_be_killed() {
    let dir = crate::testing::directory("script-hangs");
    let fifo = dir.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    // It tells its process id, then waits for input that never comes.
    let path = script(dir.path(), "echo $$ > $1\nread line < $1\nread line < $1");
    let server = Server::start();
    let mut client = server.client();
    client.write_all(format!("run {path} {}\necho\n", fifo.display()).as_bytes()).unwrap();
    expect(&mut client, "echo\n");
    let pid = contents(&fifo).trim().to_owned();
    let process = Path::new("/proc").join(&pid);
    assert!(process.exists());
    client.write_all(b"kill\n").unwrap();
    expect(&mut client, "Killed(9)\n");
    assert!(!process.exists(), "process {pid} is not reaped");
    // At once, whether it has started or not.
    for _ in 0..20 {
        client.write_all(format!("run {path} {}\nkill\n", fifo.display()).as_bytes()).unwrap();
        expect(&mut client, "Killed(9)\n");
    }
    server.end();
}

#[test]
fn an_exit_waits_for_appended_bytes() {
    let dir = crate::testing::directory("append-exit");
    let path = dir.path().join("folder/file");
    let server = Server::start();
    let text = format!("append {}\nquit\n", path.display());
    server.client().write_all(text.as_bytes()).unwrap();
    assert_eq!(server.thread.join().unwrap(), 7);
    assert_eq!(contents(&path), "appended");
}

fn contents(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
