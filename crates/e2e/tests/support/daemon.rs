//! A server started as in the README: with an example file, `daemonize yes`, found by its port.

use std::fs;
use std::process::Command;

use russet_e2e::server::{Folder, answers, free_port};
use russet_e2e::{Client, Program, process, program, redis_cli, tools, wait_for};
use rustix::process::Signal;

/// A server in the background.
pub struct Daemon {
    program: Program,
    folder: Folder,
    /// Its port.
    pub port: u16,
    pid: u32,
}

impl Daemon {
    /// Starts `program` with `examples/replication/NAME`, changed to a free port and to the port of
    /// `master`.
    pub fn start(program: &Program, name: &str, master: Option<u16>) -> Daemon {
        let folder = Folder::new();
        let port = free_port();
        let example = program::workspace().join("examples/replication").join(name);
        let text = fs::read_to_string(example).expect("the example is there");
        let own = if name == "replica.conf" { "port 6380" } else { "port 6379" };
        assert!(text.contains(own), "{name} has its port");
        let text = text.replace(own, &format!("port {port}"));
        let text = match master {
            Some(master) => {
                assert!(text.contains("slaveof 127.0.0.1 6379"));
                text.replace("slaveof 127.0.0.1 6379", &format!("slaveof 127.0.0.1 {master}"))
            }
            None => text,
        };
        fs::write(folder.path().join(name), text).expect("the folder is ours");
        let mut daemon = Daemon { program: program.clone(), folder, port, pid: 0 };
        daemon.launch(name);
        daemon
    }

    /// Restarts it.
    pub fn start_again(&mut self) {
        let name = if self.folder.path().join("master.conf").exists() {
            "master.conf"
        } else {
            "replica.conf"
        };
        self.launch(name);
    }

    /// Returns the output of redis-cli for a command, as in a terminal.
    pub fn cli(&self, words: &str) -> String {
        let mut arguments = vec!["--no-raw"];
        if words.starts_with("info") {
            arguments.clear(); // a terminal gets INFO as text too
        }
        arguments.extend(words.split(' '));
        let text = redis_cli(self.port, &arguments);
        let text = text.trim_end();
        let unquoted = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        let integer = text.strip_prefix("(integer) ");
        match (unquoted, integer) {
            (Some(text), _) | (None, Some(text)) => text.to_owned(),
            (None, None) if words == "time" => first_of_list(text),
            (None, None) => text.to_owned(),
        }
    }

    /// Kills it with SIGKILL and waits until it has exited.
    pub fn kill(&mut self) {
        process::signal(self.pid, Signal::KILL);
        process::wait_for_end(self.pid);
        self.pid = 0;
    }

    /// Shuts it down by redis-cli and waits until it has exited.
    pub fn shut_down(mut self) {
        let answer = redis_cli(self.port, &["shutdown", "nosave"]);
        assert_eq!(answer.trim(), "");
        process::wait_for_end(self.pid);
        self.pid = 0;
    }

    fn launch(&mut self, name: &str) {
        let mut command: Command = self.program.command();
        // Only to be faster: by default a master waits 5 seconds for more replicas before it sends
        // a snapshot.
        command.args([name, "--repl-diskless-sync-delay", "0"]).current_dir(self.folder.path());
        let output = tools::run(command, b"");
        assert_eq!(output.code, Some(0), "the foreground process ends well: {output:?}");
        let address = (std::net::Ipv4Addr::LOCALHOST, self.port).into();
        self.pid = wait_for("the daemon names its process", || {
            let mut client = Client::connect(address).ok()?;
            let reply = client.try_command(&["INFO", "server"]).ok()?.text();
            let id = reply.lines().find_map(|l| l.strip_prefix("process_id:"))?;
            id.trim().parse().ok()
        });
        wait_for("the daemon answers", || answers(address, self.pid).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.pid != 0 {
            process::signal(self.pid, Signal::KILL);
        }
    }
}

/// Returns the first element of a list as printed by redis-cli: `1) "1700000000"`.
fn first_of_list(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches("1) ").trim_matches('"').to_owned()
}
