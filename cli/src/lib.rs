//! The `coble` command, for the binary and for the Python package's console script: docker's verbs and flags over the engine.
//! It converts arguments, calls the engine and prints. Data goes to standard output, everything else to standard error.
//!
//! It is for programs, not for embedding: [`main`] installs signal handlers while a container runs in the foreground.

#![forbid(unsafe_code)]
// Printing is what this crate is for; the two functions in `output` are still the only ones that do.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod absent;
mod args;
mod attach;
mod containers;
mod cp;
mod events;
mod image_store;
mod images;
mod lifecycle;
mod login;
mod output;
mod progress;
mod prompt;
mod pull;
mod push;
mod reach;
mod registry;
mod run;
mod signals;
mod system;
mod terminal;
mod time;
mod volume;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use clap::Parser;
use coble::{Engine, EngineOptions, Error, ErrorKind};

use args::{Cli, Command, ContainerCommand, Global, ImageCommand};
use output::{Failure, Outcome};

/// Runs the command line, program name first, and returns the exit status: docker's 125, 126 and 127, the status of the
/// container's program, or 0.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(why) = absent::explain(&error) {
                output::note(why);
                return 125;
            }
            // Help and version are data, and not an error.
            let status = if error.use_stderr() { 125 } else { 0 };
            let _ = error.print();
            return status;
        }
    };
    match dispatch(cli) {
        Ok(status) => status,
        Err(Failure::Engine(error)) => {
            output::error(&error);
            error.kind().exit_status()
        }
        // As the shell says it of a program that a signal has ended.
        Err(Failure::Signal(signal)) => u8::try_from(128 + signal.number()).unwrap_or(125),
        // The reader of our output went away: it has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(Failure::Output(error)) => {
            output::error(&Error::io("write", "standard output", &error));
            125
        }
    }
}

/// The command tree, for the parity test and for shell completion.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

fn dispatch(cli: Cli) -> Outcome {
    let global = &cli.global;
    match cli.command {
        Command::Attach(args) => attach::attach(global, args),
        Command::Run(args) => run::run(global, args),
        Command::Create(args) => run::create(global, args),
        Command::Exec(args) => run::exec(global, args),
        Command::Start(args) => run::start(global, args),
        Command::Container { command } => container(global, command),
        Command::Image { command } => image(global, command),
        Command::Stop(args) => containers::stop(global, args),
        Command::Kill(args) => containers::kill(global, args),
        Command::Rm(args) => containers::remove(global, args),
        Command::Ps(args) => containers::list(global, args),
        Command::Pause(args) => lifecycle::pause(global, args),
        Command::Unpause(args) => lifecycle::unpause(global, args),
        Command::Restart(args) => lifecycle::restart(global, args),
        Command::Rename(args) => lifecycle::rename(global, args),
        Command::Update(args) => lifecycle::update(global, args),
        Command::Top(args) => lifecycle::top(global, args),
        Command::Stats(args) => lifecycle::stats(global, args),
        Command::Events(args) => events::events(global, args),
        Command::Wait(args) => lifecycle::wait(global, args),
        Command::Logs(args) => containers::logs(global, args),
        Command::Inspect(args) => system::inspect(global, args),
        Command::Images(args) => images::list(global, args),
        Command::Pull(args) => pull::pull(global, args),
        Command::Push(args) => push::push(global, args),
        Command::Search(args) => registry::search(global, args),
        Command::Login(args) => login::login(global, args),
        Command::Logout(args) => login::logout(global, args),
        Command::Registry { command } => registry::registry(global, command),
        Command::Load(args) => images::load(global, args),
        Command::Save(args) => image_store::save(global, args),
        Command::Import(args) => images::import(global, args),
        Command::Export(args) => image_store::export(global, args),
        Command::Cp(args) => cp::cp(global, args),
        Command::Commit(args) => image_store::commit(global, args),
        Command::Diff(args) => image_store::diff(global, args),
        Command::Tag(args) => images::tag(global, args),
        Command::Untag(args) => images::untag(global, args),
        Command::Rmi(args) => images::remove(global, args),
        Command::History(args) => images::history(global, args),
        Command::Info(args) => system::info(global, args),
        Command::Version(args) => system::version(args),
        Command::Doctor(args) => system::doctor(global, args),
        Command::Verify(args) => image_store::verify(global, args),
        Command::System { command } => image_store::manage(global, command),
        Command::Volume { command } => volume::volume(global, command),
    }
}

fn container(global: &Global, command: ContainerCommand) -> Outcome {
    match command {
        ContainerCommand::Attach(args) => attach::attach(global, args),
        ContainerCommand::Run(args) => run::run(global, args),
        ContainerCommand::Create(args) => run::create(global, args),
        ContainerCommand::Exec(args) => run::exec(global, args),
        ContainerCommand::Start(args) => run::start(global, args),
        ContainerCommand::Stop(args) => containers::stop(global, args),
        ContainerCommand::Kill(args) => containers::kill(global, args),
        ContainerCommand::Rm(args) => containers::remove(global, args),
        ContainerCommand::Ls(args) => containers::list(global, args),
        ContainerCommand::Pause(args) => lifecycle::pause(global, args),
        ContainerCommand::Unpause(args) => lifecycle::unpause(global, args),
        ContainerCommand::Restart(args) => lifecycle::restart(global, args),
        ContainerCommand::Rename(args) => lifecycle::rename(global, args),
        ContainerCommand::Update(args) => lifecycle::update(global, args),
        ContainerCommand::Top(args) => lifecycle::top(global, args),
        ContainerCommand::Stats(args) => lifecycle::stats(global, args),
        ContainerCommand::Wait(args) => lifecycle::wait(global, args),
        ContainerCommand::Prune(args) => lifecycle::prune(global, args),
        ContainerCommand::Logs(args) => containers::logs(global, args),
        ContainerCommand::Inspect(args) => containers::inspect(global, args),
        ContainerCommand::Export(args) => image_store::export(global, args),
        ContainerCommand::Cp(args) => cp::cp(global, args),
        ContainerCommand::Clone(args) => cp::clone(global, args),
        ContainerCommand::Commit(args) => image_store::commit(global, args),
        ContainerCommand::Diff(args) => image_store::diff(global, args),
    }
}

fn image(global: &Global, command: ImageCommand) -> Outcome {
    match command {
        ImageCommand::FromHost(args) => images::from_host(global, args),
        ImageCommand::Ls(args) => images::list(global, args),
        ImageCommand::Pull(args) => pull::pull(global, args),
        ImageCommand::Push(args) => push::push(global, args),
        ImageCommand::Copy(args) => push::copy(global, args),
        ImageCommand::Lock(args) => pull::lock(global, args),
        ImageCommand::Load(args) => images::load(global, args),
        ImageCommand::Import(args) => images::import(global, args),
        ImageCommand::Inspect(args) => images::inspect(global, args),
        ImageCommand::History(args) => images::history(global, args),
        ImageCommand::Tag(args) => images::tag(global, args),
        ImageCommand::Untag(args) => images::untag(global, args),
        ImageCommand::Rm(args) => images::remove(global, args),
        ImageCommand::Save(args) => image_store::save(global, args),
        ImageCommand::Diff(args) => image_store::image_diff(global, args),
        ImageCommand::Mount(args) => image_store::mount(global, args),
        ImageCommand::Prune(args) => image_store::prune(global, args),
    }
}

/// The engine that the global options name.
fn open(global: &Global) -> Result<Engine, Error> {
    Engine::open(engine_options(global))
}

fn engine_options(global: &Global) -> EngineOptions {
    let mut options = EngineOptions::default();
    options.data_root = global.data_root.clone();
    options.run_root = global.run_root.clone();
    options.rootless = global.rootless;
    options.lock_file = global.lock_file.clone();
    options.offline = global.offline;
    options.connections = global.connections;
    options.connections_per_host = global.connections_per_host;
    // What is no time is none that the engine takes.
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    options.registry.connect_timeout = global.connect_timeout.map(time);
    options.registry.idle_timeout = global.idle_timeout.map(time);
    options.registry.mirrors.clone_from(&global.registry_mirror);
    options.registry.registries_conf.clone_from(&global.registries_conf);
    options.registry.hosts_dir.clone_from(&global.hosts_dir);
    options
}

/// Something the command line cannot do, said in the engine's own form.
fn refuse(message: impl Into<String>, hint: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).with_hint(hint)
}

/// How many operations are at work at once.
const AT_ONCE: usize = 50;

/// Applies an operation to all names at once, as docker does it, and says what came of it in the order of the names. One that fails is reported, and the others are still done.
fn all_at_once<T: Send>(
    names: &[String],
    operation: impl Fn(&str) -> Result<T, coble::Error> + Sync,
    mut say: impl FnMut(&str, T) -> Result<(), Failure>,
) -> Outcome {
    let (next, (sender, receiver)) = (AtomicUsize::new(0), mpsc::channel());
    std::thread::scope(|scope| {
        for _ in 0..names.len().min(AT_ONCE) {
            let (sender, next, operation) = (sender.clone(), &next, &operation);
            let work = move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = names.get(n) else { return };
                    // Nobody listens any more when nothing can be printed.
                    if sender.send((n, operation(name))).is_err() {
                        return;
                    }
                }
            };
            // Where there can be no thread, the others do its work, or this one.
            if std::thread::Builder::new().spawn_scoped(scope, work.clone()).is_err() {
                work();
                break;
            }
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut turn = 0;
        let mut status = 0;
        for (n, done) in receiver {
            early.insert(n, done);
            while let Some(done) = early.remove(&turn) {
                let name = names.get(turn).map_or("", String::as_str);
                turn += 1;
                match done {
                    Ok(done) => say(name, done)?,
                    Err(error) => {
                        output::error(&error);
                        status = error.kind().exit_status();
                    }
                }
            }
        }
        Ok(status)
    })
}

/// Applies an operation to each name, one after the other. One that fails is reported, and the others are still done, as docker does it.
fn each(names: &[String], mut operation: impl FnMut(&str) -> Result<(), Failure>) -> Outcome {
    let mut status = 0;
    for name in names {
        match operation(name) {
            Ok(()) => {}
            Err(Failure::Engine(error)) => {
                output::error(&error);
                status = error.kind().exit_status();
            }
            Err(other) => return Err(other),
        }
    }
    Ok(status)
}
