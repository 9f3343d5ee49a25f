//! Runs a program in a container and prints what it says.
//!
//!     cargo run -p coble --example hello [-- DATA_ROOT RUN_ROOT]

use std::io::Write;
use std::time::Duration;

use coble::{CancelToken, ContainerSpec, Engine, EngineOptions, RunOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut roots = std::env::args_os().skip(1);
    let mut options = EngineOptions::default();
    options.data_root = roots.next().map(Into::into);
    options.run_root = roots.next().map(Into::into);
    let engine = Engine::open(options)?;
    let never = CancelToken::never();

    // An image made of two programs of this machine and the libraries that they need: no registry is asked.
    engine.images().from_host(
        &["sh".into(), "cat".into()],
        "hello-rust",
        Default::default(),
        &|_| {},
        &never,
    )?;

    let mut options = RunOptions::default();
    options.input = Some(b"and what it read\n".to_vec());
    options.timeout = Some(Duration::from_secs(10));
    let mut spec =
        ContainerSpec::new("hello-rust").command(["sh", "-c", "echo hello from $HOSTNAME; cat; exit 3"]);
    spec.pids_limit = Some(16);
    let done = engine.run(spec, options, &never)?;

    let mut out = std::io::stdout();
    out.write_all(&done.stdout)?;
    writeln!(out, "exit code {}", done.exit_code)?;
    engine.images().remove("hello-rust", false)?;
    Ok(())
}
