//! `cargo xtask …`: the project's own tools. Nothing here is part of what users run.
#![allow(
    clippy::disallowed_methods,
    reason = "tools start processes, read files and measure time; the product is elsewhere"
)]

mod bench;
mod circles;
mod compat;
mod docs;
mod fuzz;
mod imports;
mod modules;
mod peers;
mod sh;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use sh::Result;

/// One tool: its name, how it is typed, what it does, the function.
struct Tool {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "test",
        usage: "test [words for the test runner]",
        about: "installs what tests need where it can, and runs all tests",
        run: test::run,
    },
    Tool {
        name: "sim",
        usage: "sim [--seeds N] [--from S] […]",
        about: "runs the simulator (release build); words go to it as they are",
        run: sim::run,
    },
    Tool {
        name: "fuzz",
        usage: "fuzz [--seconds N] [TARGET…]",
        about: "runs every fuzz target, or those named, for N seconds each (60)",
        run: fuzz::run,
    },
    Tool {
        name: "bench",
        usage: "bench [--only NAME,…] [--quick] [--rounds N] [--json FILE] [--server CMD] [--peer CMD]",
        about: "measures Russet and the installed redis-server side by side",
        run: bench::run,
    },
    Tool {
        name: "compat",
        usage: "compat --suite PATH [--update] [--server BINARY] [--omit DIRECTIVE,…] [unit/…]",
        about: "runs units of a Valkey checkout's Tcl suite against our binary",
        run: compat::run,
    },
    Tool {
        name: "docs",
        usage: "docs",
        about: "refreshes the generated pages of docs/",
        run: docs::run,
    },
    Tool {
        name: "tidy",
        usage: "tidy [--circles]",
        about: "checks what no lint checks: file openings, lengths, who imports whom, circles among files \
                (with the option: shows them and what to cut)",
        run: tidy::run,
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = words.split_first() else { return help(ExitCode::FAILURE) };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        return help(ExitCode::SUCCESS);
    }
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        return help(ExitCode::FAILURE);
    };
    match (tool.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn help(code: ExitCode) -> ExitCode {
    println!("The project's own tools:\n");
    for tool in TOOLS {
        println!("  cargo xtask {}\n      {}", tool.usage, tool.about);
    }
    code
}
